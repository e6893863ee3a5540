using System.Text.Json.Nodes;

namespace QuantBuild.Worker.Tests;

public sealed class DoctorTests
{
    [Fact]
    public void A_machine_that_runs_these_tests_is_healthy_and_torch_computes()
    {
        CommandLineRun run = CommandLineRun.Of("doctor", "--device", "cpu", "--json");
        Assert.True(run.ExitCode == 0, run.Output + run.Error);
        Assert.True((bool?)run.Json["isHealthy"]);
        JsonNode torch = Check(run, "torch");
        Assert.Equal("Ok", (string?)torch["status"]);
        Assert.StartsWith("computes on cpu", (string?)torch["found"], StringComparison.Ordinal);
        Assert.Contains(Path.GetFullPath(SampleArtifact.Cache), (string?)Check(run, "cache")["found"], StringComparison.Ordinal);
        Assert.Equal(
            [".NET", "SDK", "processor", "memory", "driver", "device", "torch", "disk of the cache", "disk of temporary files", "cache"],
            run.Json["checks"]!.AsArray().Select(check => (string)check!["name"]!));
    }

    [Fact]
    public void A_libtorch_that_is_not_there_and_a_cache_that_cannot_be_written_are_problems_with_exit_code_1()
    {
        string file = Path.GetTempFileName();
        try
        {
            (string, string)[] environment = [("QUANTBUILD_LIBTORCH", Path.GetTempPath()), (ModelCache.RootVariable, Path.Combine(file, "cache"))];
            CommandLineRun run = CommandLineRun.Of(environment, "", "doctor", "--json");
            Assert.Equal(1, run.ExitCode);
            Assert.False((bool?)run.Json["isHealthy"]);
            Assert.Equal("Problem", (string?)Check(run, "torch")["status"]);
            Assert.StartsWith("QB1002: ", (string?)Check(run, "torch")["found"], StringComparison.Ordinal);
            Assert.Equal(DiagnosticIds.HelpLink("QB1002"), (string?)Check(run, "torch")["advice"]);
            Assert.Equal("Problem", (string?)Check(run, "cache")["status"]);

            CommandLineRun text = CommandLineRun.Of(environment, "", "doctor");
            Assert.Equal(1, text.ExitCode);
            Assert.Matches(@"(?m)^problem +torch +QB1002: ", text.Output);
            Assert.Matches(@"(?m)^OK +processor ", text.Output);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public void A_libtorch_that_is_damaged_is_a_problem_and_does_not_end_the_doctor()
    {
        if (!OperatingSystem.IsLinux()) return;
        string folder = Directory.CreateTempSubdirectory("quantbuild-").FullName;
        try
        {
            foreach (string name in new[] { "libtorch_cpu.so", "libc10.so", "libtorch.so" }) File.WriteAllBytes(Path.Combine(folder, name), [0x7f, 0x45, 0x4c, 0x46]);
            CommandLineRun run = CommandLineRun.Of([("QUANTBUILD_LIBTORCH", folder)], "", "doctor", "--json");
            Assert.Equal(1, run.ExitCode);
            Assert.Contains(folder, (string?)Check(run, "torch")["found"], StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Theory]
    [InlineData(10, "Ok")]
    [InlineData(9, "Warning")]
    [InlineData(4, "Problem")]
    [InlineData(null, "Ok")]
    public void Too_little_is_a_problem_little_a_warning_and_what_the_system_does_not_say_is_neither(int? bytes, string expected)
    {
        Check check = Worker.Check.Enough("disk", bytes, few: 10, tooFew: 5, "found", "advice");
        Assert.Equal(expected, check.Status.ToString());
        Assert.Equal(expected == "Ok" ? null : "advice", check.Advice);
    }

    private static JsonNode Check(CommandLineRun run, string name) => run.Json["checks"]!.AsArray().Single(check => (string)check!["name"]! == name)!;
}
