using System.Globalization;

namespace QuantBuild.EndToEnd.Tests;

/// <summary>dotnet watch. A worker's stub makes the artifacts.</summary>
[Collection(Builds.Name)]
public sealed class WatchTests(PackedFeed feed)
{
    private const string Program = """
        while (true)
        {
            System.Console.WriteLine(Text.Of());
            System.Threading.Thread.Sleep(300);
        }

        static class Text
        {
            public static string Of() => "cold, bits: " + App.Models.TinyRtn4.Info.Bits;
        }
        """;

    [Fact]
    public void A_changed_line_is_reloaded_without_quantizing_and_a_changed_item_quantizes_and_starts_the_program_anew()
    {
        // setsid is a program of Linux.
        if (!OperatingSystem.IsLinux()) return;
        UserProject project = new(feed) { Stub = "quiet" };
        project.WriteModel("tiny", new TinyModel());
        project.Write("Program.cs", Program);
        project.Declare(BuiltProject.Item);
        Assert.Equal(0, project.Run("restore").ExitCode);

        int group = 0, startsWhenReloaded = 0;
        bool isStarted = false, isReloaded = false, isStartedAnew = false;
        (int _, string output) = project.Shell(
            $"exec setsid --wait sh -c 'echo group $$; export DOTNET_WATCH_RESTART_ON_RUDE_EDIT=1; exec timeout 90 \"{DotNet.Host}\" watch --non-interactive run --no-restore'",
            line =>
            {
                const string named = "group ";
                if (line.StartsWith(named, StringComparison.Ordinal)) group = int.Parse(line[named.Length..], CultureInfo.InvariantCulture);
                // What is changed before that, nobody sees.
                if (line.Contains("Waiting for changes", StringComparison.Ordinal) && !isStarted)
                {
                    isStarted = true;
                    project.Write("Program.cs", Program.Replace("cold", "warm", StringComparison.Ordinal));
                }

                if (line.Contains("warm, bits: 4", StringComparison.Ordinal) && !isReloaded)
                {
                    isReloaded = true;
                    startsWhenReloaded = project.StubStarts;
                    project.Declare(BuiltProject.Item.Replace("Bits=\"4\"", "Bits=\"8\" ClassName=\"TinyRtn4\"", StringComparison.Ordinal));
                }

                if (line.Contains("warm, bits: 8", StringComparison.Ordinal) && !isStartedAnew)
                {
                    isStartedAnew = true;
                    Assert.Equal(0, InterruptTests.SendSignal(-group, InterruptTests.Kill));
                }
            });

        Assert.True(isReloaded && isStartedAnew, output);
        Assert.Equal(1, startsWhenReloaded);
        Assert.Equal(2, project.StubStarts);
    }
}
