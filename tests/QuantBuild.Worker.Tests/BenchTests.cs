using System.Text.Json.Nodes;

namespace QuantBuild.Worker.Tests;

[Collection(SharedArtifact.Name)]
public sealed class BenchTests(SampleArtifact sample)
{
    [Fact]
    public void Speed_is_measured_at_each_context_that_the_model_has()
    {
        CommandLineRun run = CommandLineRun.Of("bench", sample.Path, "--seconds", "0.05", "--threads", "1", "--json");
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        JsonNode json = run.Json;
        Assert.Equal(1, (int?)json["threads"]);
        Assert.True((double)json["loadSeconds"]! > 0 && (double)json["firstTokenSeconds"]! > 0);
        // The weights were touched: they are in memory, and count.
        Assert.True((long)json["residentBytes"]! - (long)json["baseBytes"]! > new FileInfo(sample.Path).Length / 2);
        // The model has a context of 512, and none is left after 512 tokens.
        JsonArray rows = json["rows"]!.AsArray();
        Assert.Equal([1, 128], rows.Select(row => (int)row!["context"]!));
        Assert.Null(rows[0]!["promptTokensPerSecond"]);
        Assert.True((double)rows[1]!["promptTokensPerSecond"]! > 0);
        Assert.All(rows, row => Assert.True((double)row!["decodeTokensPerSecond"]! > 0 && (int)row["steps"]! >= 16));
    }

    [Theory]
    [InlineData("--contexts", "8 510")]
    [InlineData("--contexts", "0")]
    [InlineData("--threads", "-1")]
    [InlineData("--context", "100 --contexts 85")]
    [InlineData("--context", "513")]
    public void A_context_that_the_model_has_not_and_too_few_threads_are_QB4006(string option, string values)
    {
        CommandLineRun run = CommandLineRun.Of(["bench", sample.Path, option, .. values.Split(' ')]);
        Assert.Equal(1, run.ExitCode);
        Assert.StartsWith("error QB4006: ", run.Error, StringComparison.Ordinal);
    }
}
