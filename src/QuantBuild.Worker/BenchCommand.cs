using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using QuantBuild.Worker.Reporting;

namespace QuantBuild.Worker;

/// <summary>The verb <c>bench</c>: how fast an artifact runs on this machine.</summary>
internal static class BenchCommand
{
    /// <summary>The command.</summary>
    public static Command Create()
    {
        Argument<string> artifact = CommandLine.ArtifactArgument();
        Option<int> threads = CommandLine.ThreadsOption();
        Option<string> device = CommandLine.DeviceOption();
        Option<int?> context = CommandLine.ContextOption();
        Option<int[]> contexts = new("--contexts")
        {
            Description = $"Tokens before those that are decoded. Left out, {string.Join(", ", Bench.Contexts)}, as far as the model has them.",
            AllowMultipleArgumentsPerToken = true,
        };
        Option<double> seconds = new("--seconds") { Description = "How long to measure at each context.", DefaultValueFactory = _ => 2 };
        Option<bool> json = CommandLine.JsonOption();
        Command command = new("bench", "Measures how fast an artifact runs: prompt, decoding at several contexts, loading, memory.") { artifact, threads, device, context, contexts, seconds, json };
        command.SetAction(result =>
        {
            bool isJson = result.GetValue(json);
            int[]? asked = result.GetValue(contexts);
            using IReport report = JsonReport.OrPerson(isJson);
            return Verb.Run(report, cancelAtEndOfInput: false, cancellation =>
            {
                Bench bench = Bench.Run(result.GetValue(artifact)!, result.GetValue(threads), result.GetValue(device)!, result.GetValue(context), asked is { Length: > 0 } ? asked : null, result.GetValue(seconds), cancellation.Token);
                return isJson ? JsonSerializer.Serialize(bench, CommandJson.Readable.Bench) : Text(bench);
            });
        });
        return command;
    }

    private static string Text(Bench bench)
    {
        string about = TextTable.List(
            [
                ["processor", $"{bench.Processor}, {bench.Threads} {(bench.Threads == 1 ? "thread" : "threads")}, {bench.Instructions}"],
                ["device", bench.Placement.Reason],
                ["loading", $"{Number.Fixed(1000 * bench.LoadSeconds, 0)} ms, and {Number.Fixed(1000 * bench.FirstTokenSeconds, 0)} ms to the first token"],
                ["memory", $"{Number.Bytes(bench.ResidentBytes)}, {Number.Bytes(bench.BaseBytes)} of it before the model was loaded"],
            ],
            Terminal.Width);
        string speed = TextTable.Of(
            [">context", ">prompt, tokens/s", ">decoding, tokens/s"],
            bench.Rows.Select(row => new[]
            {
                row.Context.ToString(CultureInfo.InvariantCulture), Number.Rate(row.PromptTokensPerSecond), Number.Rate(row.DecodeTokensPerSecond),
            }));
        return about + Environment.NewLine + Environment.NewLine + speed;
    }
}
