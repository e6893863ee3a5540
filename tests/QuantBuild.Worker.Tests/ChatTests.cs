using System.Text.Json.Nodes;

namespace QuantBuild.Worker.Tests;

[Collection(SharedArtifact.Name)]
public sealed class ChatTests(SampleArtifact sample)
{
    [Fact]
    public void Lines_of_a_pipe_are_answered_in_plain_text_and_each_answer_has_its_speed()
    {
        CommandLineRun run = Chat("It was a dark night\nAnd then?\n/stats", "--max-tokens", "12", "--temperature", "0");
        Assert.Equal(0, run.ExitCode);
        Assert.DoesNotContain('\u001b', run.Output + run.Error);
        Assert.NotEmpty(run.Output);
        string[] notes = run.Error.Split('\n');
        Assert.Matches(@"^12 tokens, [\d,.]+ tokens/s; prompt of \d+ tokens, 0 of them remembered, \d+\.\d\d s to the first token; --max-tokens ended it$", notes[0]);
        // The second turn costs only what it adds.
        Assert.Matches("prompt of [0-9]+ tokens, [1-9][0-9]* of them remembered", notes[1]);
        Assert.Matches(@"^2 answers, [\d,.]+ tokens/s; the last: 12 tokens.*tokens of the context are used", notes[2]);
    }

    [Fact]
    public void Answers_are_the_models_own_and_a_conversation_is_saved_and_gone_on_with()
    {
        string file = sample.File("talk.json");
        CommandLineRun first = Chat($"Who are you?\n/save {file}", "--max-tokens", "8", "--temperature", "0", "--system", "You are a captain.");
        JsonArray saved = JsonNode.Parse(File.ReadAllText(file))!.AsArray();
        Assert.Equal(["system", "user", "assistant"], saved.Select(message => (string)message!["role"]!));
        Assert.Equal(first.Output.TrimEnd('\n'), ((string)saved[2]!["text"]!).TrimEnd('\n'));
        using (LanguageModel model = LanguageModel.Load(sample.Path))
        {
            string answer = model.Generate("You are a captain.\n\nUser: Who are you?\nAssistant:", new() { MaxTokens = 8, Temperature = 0, StopStrings = ["\nUser:"] });
            Assert.Equal(answer.Trim(), (string)saved[2]!["text"]!);
        }

        CommandLineRun asWhole = Chat("Who are you?\nAnd where?", "--max-tokens", "8", "--temperature", "0", "--system", "You are a captain.");
        CommandLineRun goneOn = Chat("And where?", "--max-tokens", "8", "--temperature", "0", "--load", file);
        Assert.Equal(asWhole.Output, first.Output + "\n" + goneOn.Output);
    }

    [Fact]
    public void Reset_and_system_change_what_the_model_is_told()
    {
        CommandLineRun run = Chat("Hello\n/reset\n/system You are a captain.\nHello", "--max-tokens", "6", "--temperature", "0");
        CommandLineRun told = Chat("Hello", "--max-tokens", "6", "--temperature", "0", "--system", "You are a captain.");
        Assert.Equal(told.Output, run.Output[^told.Output.Length..]);
    }

    [Fact]
    public void Mistakes_are_said_and_the_conversation_goes_on_with_exit_code_1_in_the_end()
    {
        CommandLineRun run = Chat($"/load {sample.File("none.json")}\n/nonsense\n/save\n{string.Join(' ', Enumerable.Repeat("word", 600))}\nHello", "--max-tokens", "4");
        Assert.Equal(1, run.ExitCode);
        foreach (string said in new[] { "error QB1020: ", "There is no /nonsense", "/save needs the name of a file", "error QB4005: ", "4 tokens" }) Assert.Contains(said, run.Error, StringComparison.Ordinal);

        CommandLineRun narrow = Chat("one two three four five six seven eight nine ten", "--context", "12");
        Assert.Equal(1, narrow.ExitCode);
        Assert.Contains("load the model with a larger LoadOptions.ContextLength", narrow.Error, StringComparison.Ordinal);

        CommandLineRun load = Chat("", "--load", SampleFiles.Calibration);
        Assert.Equal(1, load.ExitCode);
        Assert.StartsWith("error QB1020: ", load.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Ctrl_C_ends_the_answer_and_another_one_leaves()
    {
        if (!OperatingSystem.IsLinux()) return;
        using WorkerProcess worker = new(SampleArtifact.Cache, "chat", sample.Path, "--max-tokens", "450", "--temperature", "0");
        worker.WriteLine("It was a dark night");
        Assert.NotEqual(-1, worker.Read());
        worker.Interrupt();
        // The rest of the answer that was ended, and one that is not.
        _ = worker.ReadLine();
        worker.WriteLine($"/save {sample.File("interrupted.json")}");
        Assert.True(SpinWait.SpinUntil(() => File.Exists(sample.File("interrupted.json")), TimeSpan.FromSeconds(20)));
        JsonArray saved = JsonNode.Parse(File.ReadAllText(sample.File("interrupted.json")))!.AsArray();
        Assert.Equal("assistant", (string?)saved[1]!["role"]);
        Assert.NotEmpty((string)saved[1]!["text"]!);

        worker.Interrupt();
        Assert.Equal(130, worker.Wait());
        Assert.Contains("(interrupted)", await worker.Error, StringComparison.Ordinal);
    }

    private CommandLineRun Chat(string input, params string[] options) => CommandLineRun.Of([], input, ["chat", sample.Path, .. options]);
}
