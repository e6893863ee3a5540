
namespace QuantBuild.Runtime.Tests.Generation;

public sealed class LanguageModelTests : IClassFixture<LanguageModelTests.Quantized>
{
    private const string Prompt = "To Sherlock Holmes she is always";

    private readonly Quantized sample;

    public LanguageModelTests(Quantized sample) => this.sample = sample;

    private LanguageModel Model => sample.Model;

    [Fact]
    public void Greedy_text_is_the_arg_max_of_full_forward_passes()
    {
        List<int> tokens = [.. Model.Tokenizer.Encode(Prompt)];
        int prompt = tokens.Count;
        for (int i = 0; i < 24; i++)
        {
            float[] last = Model.Logits(tokens.ToArray())[^Model.Config.VocabularySize..];
            tokens.Add(Array.IndexOf(last, last.Max()));
        }

        Assert.Equal(Model.Tokenizer.Decode(tokens.Skip(prompt)), Model.Generate(Prompt, new() { MaxTokens = 24, Temperature = 0 }));
    }

    [Fact]
    public void Steps_are_timed_from_the_prompt_to_the_end_of_the_context_and_no_further()
    {
        int[] prompt = [.. Model.Tokenizer.Encode(Prompt)];
        // One for the prompt, and one for each token of the context that is left.
        double[] seconds = [.. Model.StepSeconds(prompt)];
        Assert.Equal(1 + Model.Config.ContextLength - prompt.Length, seconds.Length);
        Assert.All(seconds, step => Assert.True(step > 0));
    }

    [Fact]
    public async Task A_stream_gives_the_text_of_generate_in_pieces()
    {
        GenerationOptions options = new() { MaxTokens = 60, Seed = 11, StopStrings = ["zzzz"] };
        string whole = Model.Generate(Prompt, options);
        List<string> pieces = [];
        await foreach (string piece in Model.StreamAsync(Prompt, options)) pieces.Add(piece);
        Assert.True(pieces.Count > 20);
        Assert.DoesNotContain("", pieces);
        Assert.Equal(whole, string.Concat(pieces));
        Assert.Equal(whole, await Model.GenerateAsync(Prompt, options));
    }

    [Fact]
    public void A_seed_fixes_the_text_and_the_models_defaults_sample()
    {
        // generation_config.json of the sample says do_sample.
        string first = Model.Generate(Prompt, new() { MaxTokens = 40, Seed = 1 });
        Assert.Equal(first, Model.Generate(Prompt, new() { MaxTokens = 40, Seed = 1 }));
        Assert.Equal(first, Model.Generate(Prompt, new() { MaxTokens = 40, Seed = 1, Temperature = 0.8, TopP = 0.95, TopK = 0, MinP = 0 }));
        Assert.NotEqual(first, Model.Generate(Prompt, new() { MaxTokens = 40, Seed = 2 }));
        Assert.NotEqual(Model.Generate(Prompt, new() { MaxTokens = 40 }), Model.Generate(Prompt, new() { MaxTokens = 40 }));
    }

    [Fact]
    public void Penalties_and_bias_reach_the_text()
    {
        GenerationOptions greedy = new() { MaxTokens = 40, Temperature = 0 };
        int[] likeliest = [.. Model.Tokenizer.Encode(Prompt + Model.Generate(Prompt, greedy)).Skip(Model.Tokenizer.Encode(Prompt).Count)];
        // What the prompt has and what was generated becomes impossible, and so no token comes twice.
        string once = Model.Generate(Prompt, greedy with { RepetitionPenalty = 1e6, PresencePenalty = 1e6 });
        Assert.NotEqual(Model.Generate(Prompt, greedy), once);
        Assert.DoesNotContain("Holmes", once, StringComparison.Ordinal);
        string word = Model.Tokenizer.Decode([likeliest[0]]);
        Assert.StartsWith(word, Model.Generate(Prompt, greedy), StringComparison.Ordinal);
        string without = Model.Generate(Prompt, greedy with { LogitBias = new Dictionary<int, float> { [likeliest[0]] = float.NegativeInfinity } });
        Assert.DoesNotContain(word, Model.Tokenizer.Encode(without, addSpecialTokens: false).Select(id => Model.Tokenizer.Decode([id])));
    }

    [Fact]
    public void A_stop_string_ends_the_text_before_it()
    {
        string whole = Model.Generate(Prompt, new() { MaxTokens = 80, Temperature = 0 });
        // Chosen to span tokens: it begins in the middle of one word and ends in another.
        string stop = whole.Substring(whole.Length / 2, 7);
        string cut = Model.Generate(Prompt, new() { MaxTokens = 80, Temperature = 0, StopStrings = ["not in the text", stop] });
        Assert.Equal(whole[..whole.IndexOf(stop, StringComparison.Ordinal)], cut);
    }

    [Fact]
    public void Text_ends_where_the_model_ends_it_or_at_the_context()
    {
        string whole = Model.Generate(Prompt, new() { MaxTokens = 10_000, Temperature = 0 });
        Assert.InRange(Model.Tokenizer.Encode(Prompt + whole).Count, 1, Model.Config.ContextLength + 1);

        // A model whose every token but one is far less likely ends at once.
        using TemporaryFolder folder = new();
        string config = TestArtifact.Config(tied: false);
        Dictionary<string, float[]> weights = TestArtifact.RandomWeights(config, 3);
        weights["model.norm.weight"] = new float[48];
        weights["lm_head.weight"].AsSpan().Clear();
        using LanguageModel silent = LanguageModel.Load(TestArtifact.Write(folder.File("m"), config, weights, generationConfig: """{"eos_token_id":[7,0]}"""));
        // All logits are zero: greedy takes token 0, which generation_config.json says is an end.
        Assert.Equal("", silent.Generate(Prompt, new() { Temperature = 0 }));
    }

    [Fact]
    public async Task Cancellation_ends_the_text_within_a_token()
    {
        using CancellationTokenSource source = new();
        int pieces = 0;
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (string _ in Model.StreamAsync(Prompt, new() { MaxTokens = 400, Seed = 1 }, source.Token))
            {
                if (++pieces == 3) await source.CancelAsync();
            }
        });
        Assert.Equal(3, pieces);
        Assert.ThrowsAny<OperationCanceledException>(() => Model.Generate(Prompt, null, source.Token));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Model.GenerateAsync(Prompt, null, source.Token));
    }

    [Fact]
    public void A_prompt_that_fills_the_context_is_an_error()
    {
        string longText = Sample.EvaluationText[..5000];
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => Model.Generate(longText));
        Assert.Equal("QB4005", error.Id);
        Assert.Contains(Model.Tokenizer.Encode(longText).Count.ToString(), error.Message, StringComparison.Ordinal);
        Assert.Contains("511", error.Message, StringComparison.Ordinal);
        Assert.Equal("QB4005", Assert.Throws<QuantBuildException>(() => Model.Logits(new int[513])).Id);
        Assert.Equal(512 * 4096, Model.Logits(new int[512]).Length);
    }

    [Fact]
    public async Task A_text_may_have_as_many_tokens_as_the_model_is_loaded_for()
    {
        using LanguageModel model = LanguageModel.Load(sample.Path, new LoadOptions { ContextLength = 40 });
        Assert.Equal((40, 512), (model.ContextLength, model.Config.ContextLength));
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => model.Generate(Sample.EvaluationText[..400]));
        Assert.Equal("QB4005", error.Id);
        Assert.Contains("at most 39. Shorten the text, or load the model with a larger LoadOptions.ContextLength: it has 40 tokens now, and may have 512.", error.Message, StringComparison.Ordinal);
        Assert.Equal("QB4005", Assert.Throws<QuantBuildException>(() => model.Logits(new int[41])).Id);
        GenerationResult result = await model.CompleteAsync(Prompt, new() { MaxTokens = 500, Temperature = 0 });
        Assert.Equal((FinishReason.ContextFull, 40), (result.FinishReason, result.Usage.PromptTokens + result.Usage.GeneratedTokens));
        Assert.StartsWith(result.Text, Model.Generate(Prompt, new() { MaxTokens = 60, Temperature = 0 }), StringComparison.Ordinal);
        Assert.NotEmpty(model.Generate(Sample.EvaluationText[..400], new() { MaxTokens = 60, ContextOverflow = ContextOverflow.Shift, Temperature = 0 }));
        // A draft model has no more to say than it has room for.
        Assert.Equal(
            Model.Generate(Prompt, new() { MaxTokens = 80, Temperature = 0 }),
            Model.Generate(Prompt, new() { MaxTokens = 80, Temperature = 0, Speculation = Speculation.DraftModel(model) }));
    }

    [Fact]
    public void Of_a_model_with_long_factors_a_text_usually_ends_at_the_original_context()
    {
        using TemporaryFolder folder = new();
        string config = TestArtifact.LongRopeConfig(original: 32, context: 128), path = TestArtifact.Write(folder.File("l"), config, TestArtifact.RandomWeights(config, 5));
        int[] tokens = [.. Enumerable.Range(100, 100)];
        using LanguageModel usual = LanguageModel.Load(path), shorter = LanguageModel.Load(path, new LoadOptions { ContextLength = 16 });
        using LanguageModel longer = LanguageModel.Load(path, new LoadOptions { ContextLength = 33 }), whole = LanguageModel.Load(path, new LoadOptions { ContextLength = 128 });
        Assert.Equal((32, 128), (usual.ContextLength, usual.Config.ContextLength));
        Assert.Contains("may have 128", Assert.Throws<QuantBuildException>(() => usual.Logits(tokens)).Message, StringComparison.Ordinal);
        // One choice for all texts of a model, short ones among them.
        Assert.Equal(usual.Logits(tokens.AsSpan(0, 16)), shorter.Logits(tokens.AsSpan(0, 16)));
        Assert.Equal(longer.Logits(tokens.AsSpan(0, 33)), whole.Logits(tokens)[..(33 * 4096)]);
        Assert.NotEqual(usual.Logits(tokens.AsSpan(0, 16)), whole.Logits(tokens.AsSpan(0, 16)));
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => LanguageModel.Load(path, new LoadOptions { ContextLength = 129 }));
        Assert.Equal("QB4006", error.Id);
        Assert.Contains("LoadOptions.ContextLength is 129, expected at most 128", error.Message, StringComparison.Ordinal);
    }

    public static TheoryData<string> BadOptions { get; } =
    [
        "MaxTokens", "Temperature", "TopK", "TypicalP", "TopP", "MinP", "RepetitionPenalty", "RepetitionWindow", "FrequencyPenalty", "PresencePenalty",
        "LogitBias[4096]", "LogitBias[-1]", "LogitBias[7]", "StopStrings", "StopTokens", "StopTokens is null", "ContextOverflow", "LogProbabilities",
    ];

    [Theory]
    [MemberData(nameof(BadOptions))]
    public void An_option_out_of_its_range_is_named(string name)
    {
        GenerationOptions options = name switch
        {
            "MaxTokens" => new() { MaxTokens = 0 },
            "Temperature" => new() { Temperature = double.NaN },
            "TopK" => new() { TopK = -1 },
            "TopP" => new() { TopP = 0 },
            "TypicalP" => new() { TypicalP = 1.5 },
            "MinP" => new() { MinP = 1.1 },
            "RepetitionPenalty" => new() { RepetitionPenalty = 0 },
            "RepetitionWindow" => new() { RepetitionWindow = 0 },
            "FrequencyPenalty" => new() { FrequencyPenalty = double.PositiveInfinity },
            "PresencePenalty" => new() { PresencePenalty = double.NaN },
            "LogitBias[4096]" => new() { LogitBias = new Dictionary<int, float> { [4096] = 1 } },
            "LogitBias[-1]" => new() { LogitBias = new Dictionary<int, float> { [-1] = 1 } },
            "LogitBias[7]" => new() { LogitBias = new Dictionary<int, float> { [4095] = -100, [7] = float.PositiveInfinity } },
            "LogProbabilities" => new() { LogProbabilities = -1 },
            "StopTokens" => new() { StopTokens = [4096] },
            "StopTokens is null" => new() { StopTokens = null! },
            "ContextOverflow" => new() { ContextOverflow = (ContextOverflow)2 },
            _ => new() { StopStrings = [""] },
        };
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => Model.Generate(Prompt, options));
        Assert.Equal("QB4006", error.Id);
        Assert.Contains(name, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Tokens_outside_the_vocabulary_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => Model.Logits([4096]));
        Assert.Throws<ArgumentOutOfRangeException>(() => Model.Logits([-1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => Model.Logits([]));
    }

    [Fact]
    public async Task Several_texts_at_once_are_those_of_one_after_another()
    {
        GenerationOptions[] options = [.. Enumerable.Range(0, 6).Select(i => new GenerationOptions { MaxTokens = 30, Seed = (ulong)i })];
        string[] expected = [.. options.Select(o => Model.Generate(Prompt, o))];
        string[] actual = await Task.WhenAll(options.Select(o => Model.GenerateAsync(Prompt, o)));
        Assert.Equal(expected, actual);
    }

    [Fact]
    public async Task A_model_that_is_disposed_lets_running_texts_end()
    {
        LanguageModel model = LanguageModel.Load(sample.Path);
        GenerationOptions options = new() { MaxTokens = 40, Seed = 5 };
        string expected = model.Generate(Prompt, options);
        string actual = "";
        await foreach (string piece in model.StreamAsync(Prompt, options))
        {
            model.Dispose();
            actual += piece;
        }

        Assert.Equal(expected, actual);
        Assert.Throws<ObjectDisposedException>(() => model.Generate(Prompt));
        Assert.Throws<ObjectDisposedException>(() => model.Logits([1]));
        await Assert.ThrowsAsync<ObjectDisposedException>(() => model.GenerateAsync(Prompt));
    }

    [Fact]
    public async Task A_class_loads_only_the_artifact_that_was_built_for_it()
    {
        QuantizedModelInfo info = Info("sample");
        LoadOptions options = new() { ArtifactPath = sample.Path };
        using (LanguageModel model = LanguageModel.Load(info, options)) Assert.Equal("sample", model.Manifest.Fingerprint);
        using (LanguageModel model = await LanguageModel.LoadAsync(info, options)) Assert.Equal(6, model.Config.Layers);
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => LanguageModel.Load(Info("other"), options));
        Assert.Equal("QB4003", error.Id);
        Assert.Contains("other", error.Message, StringComparison.Ordinal);
        Assert.Contains("sample", error.Message, StringComparison.Ordinal);
        Assert.Equal("QB4001", Assert.Throws<QuantBuildException>(() => LanguageModel.Load(info)).Id);
        (string Name, LoadOptions Options)[] bad =
        [
            ("Threads", options with { Threads = -1 }), ("KvCache", options with { KvCache = (KvPrecision)2 }), ("MaxConcurrentTexts", options with { MaxConcurrentTexts = 0 }),
            ("MaxConcurrentTexts", options with { MaxConcurrentTexts = 129 }), ("MaxWaitingTexts", options with { MaxWaitingTexts = -1 }),
            ("PromptCacheTokens", options with { PromptCacheTokens = -1 }), ("ContextLength", options with { ContextLength = 1 }), ("ContextLength", options with { ContextLength = 513 }),
        ];
        foreach ((string name, LoadOptions wrong) in bad)
        {
            error = Assert.Throws<QuantBuildException>(() => LanguageModel.Load(info, wrong));
            Assert.Equal("QB4006", error.Id);
            Assert.Contains("LoadOptions." + name, error.Message, StringComparison.Ordinal);
        }

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => LanguageModel.LoadAsync(info, options, new CancellationToken(canceled: true)));
    }

    [Fact]
    public async Task A_shared_model_is_loaded_once_and_tried_again_after_a_failure()
    {
        QuantizedModelInfo info = Info("sample") with { ArtifactFileName = $"shared-{Guid.NewGuid():N}.safetensors" };
        string beside = Path.Combine(AppContext.BaseDirectory, info.ArtifactFileName);
        SharedLanguageModel shared = new(info);
        Assert.Equal("QB4001", Assert.Throws<QuantBuildException>(() => shared.Value).Id);
        Assert.Equal("QB4001", (await Assert.ThrowsAsync<QuantBuildException>(() => shared.GetAsync(default))).Id);
        File.Copy(sample.Path, beside);
        try
        {
            LanguageModel[] models = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => shared.GetAsync(default)));
            Assert.All(models, model => Assert.Same(shared.Value, model));
            models[0].Dispose();
            Assert.NotSame(models[0], shared.Value);
            Assert.NotEmpty(shared.Value.Generate("Once", new() { MaxTokens = 2 }));
            Assert.Same(shared.Value, await shared.GetAsync(default));
            shared.Value.Dispose();
        }
        finally
        {
            File.Delete(beside);
        }
    }

    [Fact]
    public void An_empty_prompt_begins_a_text()
    {
        Assert.NotEmpty(Model.Generate("", new() { MaxTokens = 20, Seed = 1 }));
    }

    private static QuantizedModelInfo Info(string fingerprint) => new()
    {
        ClassName = "Gutenberg7mRtn4",
        ModelName = "gutenberg-7m",
        Architecture = "LlamaForCausalLM",
        Method = QuantizationMethod.Rtn,
        Bits = 4,
        GroupSize = 128,
        Parameters = 6_819_072,
        ContextLength = 512,
        VocabularySize = 4096,
        ArtifactFileName = "gutenberg7mrtn4.safetensors",
        Fingerprint = fingerprint,
    };

    /// <summary>The sample model, rounded to four bits.</summary>
    public sealed class Quantized : IDisposable
    {
        private readonly TemporaryFolder folder = new();

        public Quantized()
        {
            Path = TestArtifact.WriteSample(folder.File("sample"), new TestArtifact.Rounding(4, 128, Symmetric: false, Ordered: true));
            Model = LanguageModel.Load(Path);
        }

        public string Path { get; }

        public LanguageModel Model { get; }

        public void Dispose()
        {
            Model.Dispose();
            folder.Dispose();
        }
    }
}
