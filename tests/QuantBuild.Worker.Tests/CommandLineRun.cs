using System.Text.Json.Nodes;

namespace QuantBuild.Worker.Tests;

/// <summary>A command line that was run to its end.</summary>
/// <param name="ExitCode">The exit code.</param>
/// <param name="Output">All of standard output.</param>
/// <param name="Error">All of standard error.</param>
internal sealed record CommandLineRun(int ExitCode, string Output, string Error)
{
    public JsonNode Json => JsonNode.Parse(Output)!;

    public static CommandLineRun Of(params string[] arguments) => Of([], "", arguments);

    /// <param name="environment">What is added to the environment.</param>
    /// <param name="input">Standard input.</param>
    /// <param name="arguments">The command line.</param>
    public static CommandLineRun Of(IEnumerable<(string Name, string Value)> environment, string input, params string[] arguments)
    {
        using WorkerProcess worker = new(SampleArtifact.Cache, environment, arguments);
        foreach (string line in input.Split('\n', StringSplitOptions.RemoveEmptyEntries)) worker.WriteLine(line);
        worker.CloseInput();
        string output = string.Join('\n', worker.ReadToEnd());
        return new CommandLineRun(worker.Wait(), output, worker.Error.Result);
    }
}
