// Answers one question, as a program of machine code with the model in a file beside it: no runtime to install, nothing to compile at start.
//
//   dotnet publish samples/HelloAot
//   samples/HelloAot/bin/Release/net10.0/<platform>/publish/HelloAot "Who lives in the old house?"

using HelloAot.Models;
using Microsoft.Extensions.AI;
using QuantBuild;

string question = args.Length > 0 ? string.Join(' ', args) : "Who lives in the old house at the end of the lane?";

try
{
    using LanguageModel model = Gutenberg7mGptq4.Load();
    IChatClient chat = model.AsChatClient();
    await foreach (ChatResponseUpdate update in chat.GetStreamingResponseAsync(question, new() { MaxOutputTokens = 60, Seed = 1 })) Console.Write(update.Text);
    Console.WriteLine();
    return 0;
}
catch (QuantBuildException e)
{
    Console.Error.WriteLine($"error {e.Id}: {e.Message}");
    return 1;
}
