using System.CommandLine;
using Microsoft.Extensions.AI;

namespace QuantBuild.Worker.Chat;

/// <summary>The verb <c>chat</c>: a conversation with a model in the terminal.</summary>
internal static class ChatCommand
{
    private const int LongestAnswer = 1024;

    /// <summary>The command.</summary>
    public static Command Create()
    {
        Argument<string> artifact = CommandLine.ArtifactArgument();
        Option<string?> system = new("--system") { Description = "What the model is told before the conversation." };
        Option<string?> load = new("--load") { Description = "A conversation that /save wrote, to go on with." };
        Option<int> maxTokens = new("--max-tokens") { Description = "The most tokens of an answer.", DefaultValueFactory = _ => LongestAnswer };
        Option<double?> temperature = new("--temperature") { Description = "0 takes the likeliest token each time, 1 draws as the model weighs them. Left out, what the model's own settings say." };
        Option<double?> topP = new("--top-p") { Description = "Draw among the likeliest tokens that together have this probability." };
        Option<int?> topK = new("--top-k") { Description = "Draw among so many of the likeliest tokens." };
        Option<long?> seed = new("--seed") { Description = "The same seed gives the same answers." };
        Option<int> threads = CommandLine.ThreadsOption();
        Option<string> device = CommandLine.DeviceOption();
        Option<int?> context = CommandLine.ContextOption();

        Command command = new("chat", "Talks with a model in the terminal.") { artifact, system, load, maxTokens, temperature, topP, topK, seed, threads, device, context };
        command.SetAction(result =>
        {
            using PersonReport report = new();
            try
            {
                Conversation conversation = new() { System = result.GetValue(system) };
                if (result.GetValue(load) is { } file) conversation.Load(file);
                ChatOptions options = new()
                {
                    MaxOutputTokens = result.GetValue(maxTokens),
                    Temperature = (float?)result.GetValue(temperature),
                    TopP = (float?)result.GetValue(topP),
                    TopK = result.GetValue(topK),
                    Seed = result.GetValue(seed),
                };
                using ChatRun run = new(result.GetValue(artifact)!, result.GetValue(threads), result.GetValue(device)!, result.GetValue(context), options, conversation);
                return run.Execute();
            }
            catch (Exception e)
            {
                return Verb.Fail(report, e);
            }
        });
        return command;
    }
}
