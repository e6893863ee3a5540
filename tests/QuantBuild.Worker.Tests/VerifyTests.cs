using System.Text.Json.Nodes;

namespace QuantBuild.Worker.Tests;

public sealed class VerifyTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("quantbuild-").FullName;
    private readonly string whole;
    private readonly string damaged;

    public VerifyTests()
    {
        whole = Path.Combine(folder, "whole.safetensors");
        damaged = Path.Combine(folder, "damaged.safetensors");
        SmallArtifact.Write(whole, _ => null).Dispose();
        byte[] bytes = File.ReadAllBytes(whole);
        // The last byte is a tensor's.
        bytes[^1] ^= 1;
        File.WriteAllBytes(damaged, bytes);
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void Whole_artifacts_are_said_to_be_with_exit_code_0()
    {
        CommandLineRun run = CommandLineRun.Of("verify", whole, whole);
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        Assert.Equal(2, run.Output.Split('\n').Count(line => line.StartsWith($"whole: {whole} (", StringComparison.Ordinal)));
    }

    [Fact]
    public void A_damaged_tensor_is_QB4004_and_the_other_files_are_verified_all_the_same()
    {
        string missing = Path.Combine(folder, "missing.safetensors");
        CommandLineRun run = CommandLineRun.Of("verify", missing, damaged, whole);
        Assert.Equal(1, run.ExitCode);
        Assert.Contains("error QB4001: ", run.Error, StringComparison.Ordinal);
        Assert.Contains($"error QB4004: {damaged}", run.Error, StringComparison.Ordinal);
        Assert.StartsWith($"whole: {whole}", run.Output, StringComparison.Ordinal);

        CommandLineRun json = CommandLineRun.Of("verify", missing, damaged, whole, "--json");
        Assert.Equal(1, json.ExitCode);
        Assert.False((bool?)json.Json["isWhole"]);
        JsonArray artifacts = json.Json["artifacts"]!.AsArray();
        Assert.Equal(["QB4001", "QB4004", null], artifacts.Select(artifact => (string?)artifact!["code"]));
        Assert.Equal(new FileInfo(whole).Length, (long?)artifacts[2]!["bytes"]);
    }
}
