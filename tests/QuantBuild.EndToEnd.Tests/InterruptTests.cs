using System.Globalization;
using System.Runtime.InteropServices;

namespace QuantBuild.EndToEnd.Tests;

/// <summary>Ctrl+C in the terminal of a build: the terminal sends it to the build and to its worker.</summary>
[Collection(Builds.Name)]
public sealed class InterruptTests(PackedFeed feed)
{
    [Fact]
    public void A_build_that_is_interrupted_leaves_nothing_half_written_and_the_next_goes_on()
    {
        // setsid is a program of Linux.
        if (!OperatingSystem.IsLinux()) return;
        UserProject project = new(feed);
        string model = Path.Combine(PackedFeed.RepositoryRoot, "samples/models/gutenberg-7m");
        project.Declare($"""<QuantizedModel Include="{model}" ClassName="Sample" CalibrationData="calibration.txt" CalibrationSamples="32" />""");
        Assert.Equal(0, project.Run("restore").ExitCode);

        int group = 0, interrupted = 0;
        // A group of its own, as a terminal gives a command; the shell tells its number and becomes the build. Who runs the tests may ignore the signal, and the build would inherit that.
        (int _, string output) = project.Shell(
            $"exec env --default-signal=INT setsid --wait sh -c 'echo group $$; exec \"{DotNet.Host}\" build --no-restore -tl:off'",
            line =>
            {
                const string named = "group ";
                const int interrupt = 2;
                if (line.StartsWith(named, StringComparison.Ordinal)) group = int.Parse(line[named.Length..], CultureInfo.InvariantCulture);
                if (!line.Contains("layer 2 of 6", StringComparison.Ordinal) || Interlocked.Exchange(ref interrupted, 1) != 0) return;
                Assert.Equal(0, SendSignal(-group, interrupt));
            });
        Assert.Equal(1, interrupted);
        Assert.DoesNotContain("error QB", output, StringComparison.Ordinal);
        Assert.DoesNotContain("layer 6 of 6", output, StringComparison.Ordinal);
        Assert.Empty(project.Leftovers());
        Assert.False(File.Exists(Path.Combine(project.Output, "Sample.safetensors")));

        BuildResult next = project.Build();
        Assert.Contains("layer 2 of 6 (made before)", next.Output, StringComparison.Ordinal);
        Assert.True(File.Exists(Path.Combine(project.Output, "Sample.safetensors")));
        Assert.Empty(project.Leftovers());
    }

    [DllImport("libc", EntryPoint = "kill")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int SendSignal(int process, int signal);
}
