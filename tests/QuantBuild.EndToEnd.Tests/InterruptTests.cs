using System.Globalization;
using System.Runtime.InteropServices;

namespace QuantBuild.EndToEnd.Tests;

/// <summary>Ctrl+C in the terminal of a build, which the terminal sends to the build and to its worker; and the sudden end of MSBuild.</summary>
[Collection(Builds.Name)]
public sealed class InterruptTests(PackedFeed feed)
{
    internal const int Interrupt = 2;
    internal const int Kill = 9;

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
                if (line.StartsWith(named, StringComparison.Ordinal)) group = int.Parse(line[named.Length..], CultureInfo.InvariantCulture);
                if (!line.Contains("layer 2 of 6", StringComparison.Ordinal) || Interlocked.Exchange(ref interrupted, 1) != 0) return;
                Assert.Equal(0, SendSignal(-group, Interrupt));
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

    [Theory]
    [InlineData(Interrupt, false)]
    [InlineData(Kill, false)]
    [InlineData(Kill, true)]
    public async Task Neither_Ctrl_C_nor_the_sudden_end_of_MSBuild_leaves_a_worker_or_a_process_that_it_started(int signal, bool isBuiltByANode)
    {
        if (!OperatingSystem.IsLinux()) return;
        UserProject project = new(feed);
        string model = Path.Combine(PackedFeed.RepositoryRoot, "samples/models/gutenberg-7m");
        project.Declare($"""<QuantizedModel Include="{model}" ClassName="Sample" CalibrationData="calibration.txt" CalibrationSamples="32" />""");
        Assert.Equal(0, project.Run("restore").ExitCode);

        int build = 0;
        Task<int[]>? signalled = null;
        // A comparison quantizes each row in a process of its own, which the worker starts. Of a build of several processes it is a node that started the worker, and it outlives the one that is
        // killed by a moment.
        (int _, string output) = project.Shell(
            $"exec env --default-signal=INT setsid --wait sh -c 'echo group $$; {(isBuiltByANode ? "export MSBUILDNOINPROCNODE=1; " : "")}exec \"{DotNet.Host}\" build --no-restore -tl:off -t:QuantBuildCompare'",
            line =>
            {
                const string named = "group ";
                if (line.StartsWith(named, StringComparison.Ordinal)) build = int.Parse(line[named.Length..], CultureInfo.InvariantCulture);
                if (!line.Contains("Sample: row 1 of", StringComparison.Ordinal) || signalled is not null) return;
                signalled = Task.Run(async () =>
                {
                    int[] running;
                    while ((running = Workers(project)).Length < 2) await Task.Delay(50);
                    // Ctrl+C reaches all of the terminal's processes; kill -9 the one that it names.
                    Assert.Equal(0, SendSignal(signal == Interrupt ? -build : build, signal));
                    return running;
                });
            });

        Assert.True(signalled is not null, output);
        Assert.Equal(2, (await signalled).Length);
        // The worker gives what it is at a second and a half to end, and what it started as long.
        Assert.True(SpinWait.SpinUntil(() => Workers(project).Length == 0, TimeSpan.FromSeconds(5)), "A process of the worker is left.");
        Assert.False(File.Exists(Path.Combine(project.Intermediate, "quantbuild", "Sample.compare.html")));
    }

    /// <summary>The processes of the worker that work for a project.</summary>
    private static int[] Workers(UserProject project)
    {
        List<int> found = [];
        foreach (string folder in Directory.GetDirectories("/proc").Where(folder => char.IsDigit(Path.GetFileName(folder)[0])))
        {
            try
            {
                string command = File.ReadAllText(Path.Combine(folder, "cmdline"));
                bool isWorker = command.Contains("QuantBuild.Worker.dll", StringComparison.Ordinal) && command.Contains(Path.GetDirectoryName(project.Folder)!, StringComparison.Ordinal);
                if (isWorker) found.Add(int.Parse(Path.GetFileName(folder), CultureInfo.InvariantCulture));
            }
            catch (IOException)
            {
                // It ended meanwhile.
            }
        }

        return [.. found];
    }

    [DllImport("libc", EntryPoint = "kill")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    internal static extern int SendSignal(int process, int signal);
}
