using System.Diagnostics;
using System.Globalization;
using System.Text;
using Microsoft.Extensions.AI;
using QuantBuild.Worker.Reporting;
using Spectre.Console;
using PlainText = Spectre.Console.Text;

namespace QuantBuild.Worker.Chat;

/// <summary>
/// A conversation in the terminal. Answers alone go to standard output; what the program itself says goes to standard error, so that answers can be kept in a file. Where input or output is no
/// terminal, nothing but plain text is written.
/// </summary>
internal sealed class ChatRun : IDisposable
{
    private const string Help = """
        /help           this
        /reset          forget the conversation
        /system TEXT    what the model is told before it; without TEXT, nothing
        /save FILE      write the conversation
        /load FILE      go on with one that was written
        /stats          tokens and speed so far
        /exit           leave

        A line that ends with \ goes on in the next one. Ctrl+C ends an answer; what came of it stays.
        """;

    private readonly LanguageModel model;
    private readonly IChatClient client;
    private readonly ChatOptions options;
    private readonly Conversation conversation;
    private readonly IAnsiConsole notes = Terminal.Open(Console.Error, Console.IsErrorRedirected);
    private readonly Interrupts interrupts;
    private readonly IChatInput input;
    private AnswerFigures? last;
    private int answers;
    private long tokens;
    private double seconds;
    private bool anyFailed;

    /// <summary>Loads the model.</summary>
    /// <param name="artifact">The artifact.</param>
    /// <param name="threads">Processor threads; 0 is all cores.</param>
    /// <param name="device">What runs the model, as <see cref="LoadOptions.Device"/> has it.</param>
    /// <param name="context">Tokens that the conversation may have, as <see cref="LoadOptions.ContextLength"/> has it.</param>
    /// <param name="options">How answers are generated.</param>
    /// <param name="conversation">What was said already.</param>
    /// <exception cref="QuantBuildException">QB4001, QB4002: the artifact. QB4006: threads are negative, the device is none, or the context is not the model's. QB1070 to QB1072: the GPU.</exception>
    public ChatRun(string artifact, int threads, string device, int? context, ChatOptions options, Conversation conversation)
    {
        (this.options, this.conversation) = (options, conversation);
        // A turn costs what it adds: the whole of the conversation before it is remembered.
        using (Artifact opened = Artifact.Open(artifact))
        {
            model = LanguageModel.Load(artifact, new LoadOptions { Threads = threads, Device = device, ContextLength = context, PromptCacheTokens = context ?? opened.Config.UsualContext });
        }

        client = model.AsChatClient();
        interrupts = new Interrupts(WhereNothingIsAnswered);
        bool isTerminal = !Console.IsInputRedirected && !Console.IsErrorRedirected && notes.Profile.Capabilities.Ansi;
        input = isTerminal ? new LineEditor(Console.Error, "> ", interrupts.Forget) : new PipedInput(Console.In);
    }

    private bool IsInteractive => input is LineEditor;

    /// <summary>Talks until somebody leaves.</summary>
    /// <returns>The exit code: that of failure where input came from a file or a pipe and an answer failed.</returns>
    public int Execute()
    {
        if (IsInteractive)
        {
            Note($"{model.Manifest.ModelName}, {SpecificationText.Of(model.Manifest.Spec)}, context {Number.Count(model.ContextLength)}, on {model.Placement.Device}. /help says what there is.");
            if (conversation.Turns.Count > 0) Note($"{conversation.Turns.Count} messages were loaded.");
        }

        while (input.Read() is { } line)
        {
            string text = line.Trim();
            if (text.Length == 0) continue;
            if (!text.StartsWith('/')) Answer(text);
            else if (!Obey(text)) break;
        }

        return anyFailed && !IsInteractive ? Verb.Failed : Verb.Succeeded;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        interrupts.Dispose();
        client.Dispose();
        model.Dispose();
    }

    /// <returns>Whether to go on.</returns>
    private bool Obey(string command)
    {
        string[] parts = command.Split(' ', 2, StringSplitOptions.TrimEntries);
        string argument = parts.ElementAtOrDefault(1) ?? "";
        try
        {
            switch (parts[0])
            {
                case "/help":
                    Note(Help);
                    break;
                case "/reset":
                    conversation.Turns.Clear();
                    Note("The conversation is forgotten.");
                    break;
                case "/system":
                    conversation.System = argument.Length > 0 ? argument : null;
                    Note(argument.Length > 0 ? "The model is told so from now on." : "The model is told nothing from now on.");
                    break;
                case "/save" when argument.Length > 0:
                    conversation.Save(argument);
                    Note($"{Path.GetFullPath(argument)} has {conversation.Turns.Count} messages.");
                    break;
                case "/load" when argument.Length > 0:
                    conversation.Load(argument);
                    Note($"{conversation.Turns.Count} messages were loaded.");
                    break;
                case "/save" or "/load":
                    Fail($"{parts[0]} needs the name of a file.");
                    break;
                case "/stats":
                    Note(Statistics());
                    break;
                case "/exit" or "/quit":
                    return false;
                default:
                    Fail($"There is no {parts[0]}. /help says what there is.");
                    break;
            }
        }
        catch (QuantBuildException e)
        {
            Fail($"error {e.Id}: {e.Message}");
        }

        return true;
    }

    private void Answer(string text)
    {
        conversation.Turns.Add(new ChatMessage(ChatRole.User, text));
        StringBuilder answer = new();
        CancellationTokenSource cancellation = interrupts.BeginAnswer();
        try
        {
            AnswerAsync(answer, cancellation.Token).GetAwaiter().GetResult();
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            EndLine(answer);
            Note("(interrupted)");
        }
        catch (QuantBuildException e)
        {
            // What cannot be answered is not part of the conversation: nor could anything after it be.
            conversation.Turns.RemoveAt(conversation.Turns.Count - 1);
            Fail($"error {e.Id}: {e.Message}");
            return;
        }
        finally
        {
            interrupts.EndAnswer();
        }

        conversation.Turns.Add(new ChatMessage(ChatRole.Assistant, answer.ToString()));
    }

    private async Task AnswerAsync(StringBuilder answer, CancellationToken cancellationToken)
    {
        long start = Stopwatch.GetTimestamp();
        double firstSeconds = 0;
        IAsyncEnumerable<ChatResponseUpdate> stream = client.GetStreamingResponseAsync(conversation.Messages, options, cancellationToken);
        await using IAsyncEnumerator<ChatResponseUpdate> updates = stream.GetAsyncEnumerator(cancellationToken);
        // Reading a long prompt takes a while, and something should move.
        bool any = IsInteractive
            ? await notes.Status().StartAsync("reading", async _ => await updates.MoveNextAsync().ConfigureAwait(false)).ConfigureAwait(false)
            : await updates.MoveNextAsync().ConfigureAwait(false);
        for (; any; any = await updates.MoveNextAsync().ConfigureAwait(false))
        {
            if (firstSeconds == 0) firstSeconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            ChatResponseUpdate update = updates.Current;
            answer.Append(update.Text);
            Console.Out.Write(update.Text);
            Console.Out.Flush();
            if ((update.RawRepresentation as GenerationUpdate)?.Result is not { } result) continue;
            EndLine(answer);
            last = new AnswerFigures(result, firstSeconds, Stopwatch.GetElapsedTime(start).TotalSeconds);
            (answers, tokens, seconds) = (answers + 1, tokens + last.Decoded, seconds + last.DecodeSeconds);
            Note(last.ToString());
        }
    }

    private string Statistics()
    {
        if (last is null) return "Nothing was answered yet.";
        string speed = seconds > 0 ? $", {Number.Rate(tokens / seconds)} tokens/s" : "";
        using Process process = Process.GetCurrentProcess();
        return $"{answers} {(answers == 1 ? "answer" : "answers")}{speed}; the last: {last}. {Number.Count(last.ContextTokens)} of {Number.Count(model.ContextLength)} tokens of the context are used; " +
            $"the process holds {Number.Bytes(process.WorkingSet64)}.";
    }

    private static void EndLine(StringBuilder answer)
    {
        if (answer.Length > 0 && answer[^1] == '\n') return;
        Console.Out.WriteLine();
    }

    private void WhereNothingIsAnswered()
    {
        if (!IsInteractive) Environment.Exit(Cancellation.ExitCode);
        notes.WriteLine();
        Note("Ctrl+C again leaves.");
        input.Redraw();
    }

    // What the program says is dim, so that it is not taken for an answer.
    private void Note(string text) => notes.Write(new PlainText(text + "\n", new Style(decoration: Decoration.Dim)));

    private void Fail(string text)
    {
        anyFailed = true;
        notes.Write(new PlainText(text + "\n", new Style(Color.Red)));
    }
}

/// <summary>What an answer took.</summary>
/// <param name="Result">The answer.</param>
/// <param name="FirstSeconds">Seconds to its first token: those of the prompt.</param>
/// <param name="Seconds">Seconds of the whole.</param>
internal sealed record AnswerFigures(GenerationResult Result, double FirstSeconds, double Seconds)
{
    /// <summary>Tokens after the first.</summary>
    public int Decoded => Math.Max(0, Result.Usage.GeneratedTokens - 1);

    /// <summary>Seconds that these took.</summary>
    public double DecodeSeconds => Seconds - FirstSeconds;

    /// <summary>Tokens of prompt and answer.</summary>
    public int ContextTokens => Result.Usage.PromptTokens + Result.Usage.GeneratedTokens;

    /// <inheritdoc/>
    public override string ToString()
    {
        GenerationUsage usage = Result.Usage;
        string speed = Decoded > 0 && DecodeSeconds > 0 ? $", {Number.Rate(Decoded / DecodeSeconds)} tokens/s" : "";
        string why = Result.FinishReason switch
        {
            FinishReason.MaxTokens => "; --max-tokens ended it",
            FinishReason.ContextFull => "; the context is full: /reset begins anew, and --context says how long it may be",
            _ => "",
        };
        return string.Create(
            CultureInfo.InvariantCulture,
            $"{usage.GeneratedTokens} tokens{speed}; prompt of {usage.PromptTokens} tokens, {usage.CachedPromptTokens} of them remembered, {FirstSeconds:F2} s to the first token{why}");
    }
}
