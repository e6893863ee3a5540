using Models;
using QuantBuild;

string prompt = args.Length > 0 ? string.Join(' ', args) : "Once upon a time";

using CancellationTokenSource cancellation = new();
Console.CancelKeyPress += (_, e) =>
{
    e.Cancel = true;
    cancellation.Cancel();
};

try
{
    using LanguageModel model = Model.Load();
    Console.Write(prompt);
    await foreach (string piece in model.StreamAsync(prompt, new() { MaxTokens = 100 }, cancellation.Token)) Console.Write(piece);
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
