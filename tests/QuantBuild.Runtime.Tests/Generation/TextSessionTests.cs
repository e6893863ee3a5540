namespace QuantBuild.Runtime.Tests.Generation;

public sealed class TextSessionTests : IDisposable
{
    private static readonly GenerationOptions Greedy = new() { MaxTokens = 20, Temperature = 0 };

    private readonly TemporaryFolder folder = new();
    private readonly string path;
    private readonly LanguageModel model;

    public TextSessionTests()
    {
        path = TestArtifact.WriteSample(folder.File("m"), new TestArtifact.Rounding(4, 128, false, false));
        model = LanguageModel.Load(path, new LoadOptions { PromptCacheTokens = 0 });
    }

    public void Dispose()
    {
        model.Dispose();
        folder.Dispose();
    }

    [Fact]
    public async Task A_turn_continues_all_that_came_before()
    {
        using TextSession session = model.CreateSession();
        session.Append("It was a dark and stormy night.");
        string first = session.Generate(" The old man", Greedy);
        Assert.Equal(model.Generate("It was a dark and stormy night. The old man", Greedy), first);
        GenerationResult second = await session.CompleteAsync(" She said", Greedy);
        // All but the last token of the turn before was there.
        Assert.InRange(second.Usage.CachedPromptTokens, 20, second.Usage.PromptTokens - 2);
        Assert.Equal(session.TokenCount, second.Usage.PromptTokens + second.Usage.GeneratedTokens);
        string streamed = "";
        await foreach (string piece in session.StreamAsync(" And", Greedy)) streamed += piece;
        Assert.NotEmpty(streamed);
    }

    [Fact]
    public void Forks_and_saved_sessions_go_on_as_the_session_does()
    {
        using TextSession session = model.CreateSession();
        session.Generate(Sample.EvaluationText[..500], Greedy);
        using TextSession fork = session.Fork(), other = session.Fork();
        using MemoryStream saved = new();
        session.Save(saved);
        string expected = session.Generate(" The", Greedy);
        other.Generate(" A different story", Greedy);
        Assert.Equal(expected, fork.Generate(" The", Greedy));

        saved.Position = 0;
        using LanguageModel again = LanguageModel.Load(path);
        using TextSession loaded = again.LoadSession(saved);
        Assert.Equal(expected, loaded.Generate(" The", Greedy));
        Assert.Equal(session.TokenCount, loaded.TokenCount);
    }

    [Fact]
    public void A_saved_session_that_is_not_one_of_this_model_is_QB4011()
    {
        using TextSession session = model.CreateSession();
        session.Generate("It was", Greedy);
        using MemoryStream saved = new();
        session.Save(saved);
        byte[] bytes = saved.ToArray();
        AssertUnusable(model, bytes[..^1], "ends too soon");
        AssertUnusable(model, bytes[..30], "ends too soon");
        AssertUnusable(model, [.. "QBSESSN1"u8, .. bytes[8..]], "letters");
        AssertUnusable(model, [.. bytes[..8], (byte)'x', .. bytes[9..]], "fingerprint");
        AssertUnusable(model, [.. bytes[..80], 0xFF, 0xFF, 0xFF, 0x7F, .. bytes[84..]], "tokens are computed");
        AssertUnusable(model, [.. bytes[..84], bytes[80], .. bytes[85..]], "tokens are computed");
        AssertUnusable(model, [.. bytes[..88], 0xFF, 0xFF, 0xFF, 0x7F, .. bytes[92..]], "its token 0");
        using LanguageModel inBytes = LanguageModel.Load(path, new LoadOptions { KvCache = KvPrecision.Int8 });
        AssertUnusable(inBytes, bytes, "Float16");
        using LanguageModel shorter = LanguageModel.Load(path, new LoadOptions { ContextLength = 10 });
        AssertUnusable(shorter, bytes, "at most 10");
        Assert.Equal(1, model.PagesInUse);
    }

    [Fact]
    public void A_session_with_keys_for_texts_of_another_length_is_QB4011()
    {
        string config = TestArtifact.LongRopeConfig(original: 32, context: 128);
        string longRope = TestArtifact.Write(folder.File("l"), config, TestArtifact.RandomWeights(config, 5));
        using LanguageModel usual = LanguageModel.Load(longRope), shorter = LanguageModel.Load(longRope, new LoadOptions { ContextLength = 20 });
        using LanguageModel longer = LanguageModel.Load(longRope, new LoadOptions { ContextLength = 33 }), whole = LanguageModel.Load(longRope, new LoadOptions { ContextLength = 128 });
        GenerationOptions few = Greedy with { MaxTokens = 3 };
        byte[] Saved(LanguageModel of)
        {
            using TextSession session = of.CreateSession();
            session.Generate("It was", few);
            using MemoryStream saved = new();
            session.Save(saved);
            return saved.ToArray();
        }

        AssertUnusable(longer, Saved(usual), "the factors for texts of at most 32 tokens");
        AssertUnusable(shorter, Saved(whole), "the factors for texts of more than 32 tokens");
        foreach ((LanguageModel from, LanguageModel to) in new[] { (shorter, usual), (longer, whole) })
        {
            using TextSession session = to.LoadSession(new MemoryStream(Saved(from)));
            using TextSession own = to.CreateSession();
            own.Generate("It was", few);
            Assert.Equal(own.Generate(" The", few), session.Generate(" The", few));
        }
    }

    [Fact]
    public async Task One_turn_at_a_time()
    {
        using TextSession session = model.CreateSession();
        await using IAsyncEnumerator<string> turn = session.StreamAsync("It was", new() { MaxTokens = 300, Temperature = 0 }).GetAsyncEnumerator();
        Assert.True(await turn.MoveNextAsync());
        Assert.Throws<InvalidOperationException>(() => session.Generate(" The", Greedy));
        Assert.Throws<InvalidOperationException>(session.Dispose);
        await turn.DisposeAsync();
        Assert.NotEmpty(session.Generate(" The", Greedy));
        session.Dispose();
        Assert.Throws<ObjectDisposedException>(() => session.Generate(" The", Greedy));
        Assert.Throws<ObjectDisposedException>(session.Fork);
    }

    [Fact]
    public void A_turn_that_fails_leaves_a_session_that_goes_on()
    {
        using TextSession session = model.CreateSession();
        GenerationOptions forbidding = Greedy with { LogitBias = Enumerable.Range(0, 4096).ToDictionary(id => id, _ => float.NegativeInfinity) };
        Assert.Equal("QB4006", Assert.Throws<QuantBuildException>(() => session.Generate("It was a dark", forbidding)).Id);
        Assert.Equal(model.Generate("It was a dark", Greedy), session.Generate("", Greedy));
    }

    [Fact]
    public async Task A_cancelled_turn_leaves_what_was_generated()
    {
        using TextSession session = model.CreateSession();
        using CancellationTokenSource source = new();
        string text = "";
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (string piece in session.StreamAsync("It was", new() { MaxTokens = 300, Temperature = 0 }, source.Token))
            {
                text += piece;
                if (text.Length > 30) await source.CancelAsync();
            }
        });
        Assert.InRange(session.TokenCount, 5, 290);
        Assert.NotEmpty(session.Generate(" The", Greedy));
    }

    [Fact]
    public void A_text_that_does_not_fit_leaves_the_session_as_it_was()
    {
        using TextSession session = model.CreateSession();
        session.Append("It was");
        int tokens = session.TokenCount;
        Assert.Equal("QB4005", Assert.Throws<QuantBuildException>(() => session.Append(Sample.EvaluationText[..5000])).Id);
        Assert.Equal("QB4005", Assert.Throws<QuantBuildException>(() => session.Generate(Sample.EvaluationText[..5000])).Id);
        Assert.Equal(tokens, session.TokenCount);
    }

    [Fact]
    public async Task With_shift_a_text_goes_beyond_the_context_as_if_it_had_begun_later()
    {
        string prompt = Sample.EvaluationText[..1500];
        GenerationOptions options = new() { MaxTokens = 300, Temperature = 0, ContextOverflow = ContextOverflow.Shift };
        GenerationResult shifted = await model.CompleteAsync(prompt, options), stopped = await model.CompleteAsync(prompt, options with { ContextOverflow = ContextOverflow.Stop });
        Assert.Equal(FinishReason.ContextFull, stopped.FinishReason);
        Assert.True(shifted.Usage.GeneratedTokens == 300 || shifted.FinishReason == FinishReason.EndOfText);
        Assert.StartsWith(stopped.Text, shifted.Text, StringComparison.Ordinal);

        // What comes after is what the model says to the last half of the context.
        int[] tokens = [.. model.Tokenizer.Encode(prompt), .. model.Tokenizer.Encode(stopped.Text, addSpecialTokens: false)];
        string half = model.Tokenizer.Decode(tokens[^256..]);
        if (!model.Tokenizer.Encode(half).SequenceEqual(tokens[^256..])) return;
        Assert.StartsWith(model.Generate(half, options with { MaxTokens = 10 }), shifted.Text[stopped.Text.Length..], StringComparison.Ordinal);
    }

    [Fact]
    public void With_shift_a_prompt_that_is_too_long_is_continued_from_its_end()
    {
        GenerationOptions options = new() { MaxTokens = 10, Temperature = 0, ContextOverflow = ContextOverflow.Shift };
        string longText = Sample.EvaluationText[..6000];
        Assert.NotEmpty(model.Generate(longText, options));
        Assert.Equal("QB4005", Assert.Throws<QuantBuildException>(() => model.Generate(longText)).Id);
    }

    private static void AssertUnusable(LanguageModel model, byte[] bytes, string said)
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => model.LoadSession(new MemoryStream(bytes)));
        Assert.Equal("QB4011", error.Id);
        Assert.Contains(said, error.Message, StringComparison.Ordinal);
    }
}
