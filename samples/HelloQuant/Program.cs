// Prints what the build made of the model, then a continuation of a prompt, piece by piece as it is generated.
//
//   dotnet run --project samples/HelloQuant
//   dotnet run --project samples/HelloQuant -- "The old house at the end of the lane"

using HelloQuant.Models;
using QuantBuild;

string prompt = args.Length > 0 ? string.Join(' ', args) : "It was a dark and stormy night, and the old captain";

using CancellationTokenSource cancellation = new();
Console.CancelKeyPress += (_, e) =>
{
    e.Cancel = true;
    cancellation.Cancel();
};

try
{
    using LanguageModel model = Gutenberg7mGptq4.Load();
    PrintBuild(Gutenberg7mGptq4.Info, model.Manifest);

    Console.Write(prompt);
    await foreach (string piece in model.StreamAsync(prompt, new() { MaxTokens = 120, Seed = 1 }, cancellation.Token)) Console.Write(piece);
    Console.WriteLine();
    return 0;
}
catch (OperationCanceledException)
{
    Console.WriteLine();
    return 130;
}
catch (QuantBuildException e)
{
    Console.Error.WriteLine($"error {e.Id}: {e.Message}");
    return 1;
}

static void PrintBuild(QuantizedModelInfo info, ArtifactManifest manifest)
{
    string artifact = Path.Combine(AppContext.BaseDirectory, info.ArtifactFileName);
    Print("model", $"{info.ModelName}, {info.Parameters:N0} parameters, context {info.ContextLength:N0}");
    Print("method", $"{info.Method}, {info.Bits} bits, group size {info.GroupSize}");
    Print("size", $"{manifest.OriginalBytes / 1e6:F1} MB -> {new FileInfo(artifact).Length / 1e6:F1} MB");
    if (manifest.Quality is { } quality)
    {
        Print("perplexity", $"{quality.FloatPerplexity:F2} -> {quality.Perplexity:F2} on {quality.EvaluationTokens:N0} tokens");
        Print("agreement", $"KL divergence {quality.KlDivergence:F4} nats, the same likeliest token {quality.Top1Agreement:P1} of the time");
    }

    // How the artifact was made is not part of it: the record is beside it where it was built.
    if (BuildRecord.TryRead(BuildRecord.PathOf(artifact)) is { } record)
    {
        Print("quantized", $"in {record.Seconds:F1} s on {record.Device}, {record.PeakMemoryBytes / 1e6:F0} MB at the peak");
    }

    Console.WriteLine();
}

static void Print(string name, string value) => Console.WriteLine($"{name,-11} {value}");
