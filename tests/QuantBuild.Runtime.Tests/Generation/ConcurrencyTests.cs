namespace QuantBuild.Runtime.Tests.Generation;

/// <summary>Texts of one model that are generated at the same time.</summary>
public sealed class ConcurrencyTests : IDisposable
{
    private static readonly string[] Prompts =
    [
        "It was a dark and stormy night", "The old man", "“You have been in Afghanistan, I perceive.”", "She opened the letter, and", "In the year 1878 I took my degree",
        "My dear fellow, said", "Of all the", "The house stood on a hill. It",
    ];

    private readonly TemporaryFolder folder = new();
    private readonly string path;

    public ConcurrencyTests() => path = TestArtifact.WriteSample(folder.File("m"), new TestArtifact.Rounding(4, 128, false, false));

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task Texts_that_are_generated_together_are_those_that_each_is_alone()
    {
        GenerationOptions[] options =
        [
            new() { MaxTokens = 40, Temperature = 0 }, new() { MaxTokens = 25, Temperature = 0.9, Seed = 1 }, new() { MaxTokens = 60, Temperature = 1.2, TopK = 40, Seed = 2 },
            new() { MaxTokens = 33, Temperature = 0, RepetitionPenalty = 1.2 },
        ];
        using LanguageModel model = LanguageModel.Load(path, new LoadOptions { PromptCacheTokens = 0 });
        string[] alone = [.. Prompts.Select((prompt, i) => model.Generate(prompt, options[i % options.Length]))];
        string[] together = await Task.WhenAll(Prompts.Select((prompt, i) => model.GenerateAsync(prompt, options[i % options.Length])));
        Assert.Equal(alone, together);
        Assert.Equal(alone.Length, alone.Distinct().Count());
    }

    [Fact]
    public async Task Texts_wait_for_their_turn_and_come_out_the_same()
    {
        using LanguageModel model = LanguageModel.Load(path, new LoadOptions { MaxConcurrentTexts = 2 });
        GenerationOptions options = new() { MaxTokens = 10, Temperature = 0 };
        string[] alone = [.. Prompts.Select(prompt => model.Generate(prompt, options))];
        Assert.Equal(alone, await Task.WhenAll(Prompts.Select(prompt => model.GenerateAsync(prompt, options))));
    }

    [Fact]
    public async Task One_text_too_many_is_QB4010_and_the_others_come()
    {
        using LanguageModel model = LanguageModel.Load(path, new LoadOptions { MaxConcurrentTexts = 1, MaxWaitingTexts = 1 });
        GenerationOptions options = new() { MaxTokens = 300, Temperature = 0 };
        Task<string>[] texts = [.. Enumerable.Range(0, 8).Select(_ => model.GenerateAsync(Prompts[0], options))];
        await Task.WhenAll(texts).ContinueWith(_ => { }, TaskScheduler.Default);
        Assert.All(texts.Where(text => text.IsFaulted), text => Assert.Equal("QB4010", Assert.IsType<QuantBuildException>(text.Exception!.InnerException).Id));
        Assert.InRange(texts.Count(text => text.IsFaulted), 1, 7);
        string[] answers = await Task.WhenAll(texts.Where(text => text.IsCompletedSuccessfully));
        Assert.All(answers, answer => Assert.Equal(answers[0], answer));
        Assert.Equal(answers[0], model.Generate(Prompts[0], options));
    }

    [Fact]
    public async Task A_reader_who_stops_reading_ends_its_text_and_a_slow_one_holds_up_nobody()
    {
        using LanguageModel model = LanguageModel.Load(path);
        GenerationOptions options = new() { MaxTokens = 400, Temperature = 0 };
        await foreach (string _ in model.StreamAsync(Prompts[0], options)) break;
        // With as much waiting to be read as may wait.
        await foreach (GenerationUpdate _ in model.StreamUpdatesAsync(Prompts[3], options))
        {
            await Task.Delay(300);
            break;
        }

        await using IAsyncEnumerator<string> slow = model.StreamAsync(Prompts[1], options).GetAsyncEnumerator();
        Assert.True(await slow.MoveNextAsync());
        string other = await model.GenerateAsync(Prompts[2], options).WaitAsync(TimeSpan.FromMinutes(1));
        string rest = slow.Current;
        while (await slow.MoveNextAsync()) rest += slow.Current;
        Assert.Equal(model.Generate(Prompts[1], options), rest);
        Assert.Equal(model.Generate(Prompts[2], options), other);
    }

    [Fact]
    public async Task A_beginning_that_was_computed_is_not_computed_again_and_changes_nothing()
    {
        string system = Sample.EvaluationText[..600];
        GenerationOptions options = new() { MaxTokens = 12, Temperature = 0 };
        using LanguageModel forgetful = LanguageModel.Load(path, new LoadOptions { PromptCacheTokens = 0 }), model = LanguageModel.Load(path);
        GenerationResult first = await model.CompleteAsync(system + Prompts[0], options);
        Assert.Equal(0, first.Usage.CachedPromptTokens);
        for (int i = 1; i < 4; i++)
        {
            GenerationResult cached = await model.CompleteAsync(system + Prompts[i], options), anew = await forgetful.CompleteAsync(system + Prompts[i], options);
            Assert.InRange(cached.Usage.CachedPromptTokens, 100, cached.Usage.PromptTokens - 1);
            Assert.Equal(0, anew.Usage.CachedPromptTokens);
            Assert.Equal(anew.Text, cached.Text);
        }

        // A conversation that goes on takes over the answer as well.
        GenerationResult next = await model.CompleteAsync(system + Prompts[0] + first.Text + " And then", options);
        Assert.InRange(next.Usage.CachedPromptTokens, first.Usage.PromptTokens, next.Usage.PromptTokens);
        Assert.Equal(forgetful.Generate(system + Prompts[0] + first.Text + " And then", options), next.Text);
    }

    [Fact]
    public async Task A_minute_of_many_clients_who_come_and_go_leaves_every_answer_right()
    {
        // A few seconds here; QUANTBUILD_SOAK_SECONDS makes it longer.
        double seconds = double.Parse(Environment.GetEnvironmentVariable("QUANTBUILD_SOAK_SECONDS") ?? "4", System.Globalization.CultureInfo.InvariantCulture);
        using LanguageModel model = LanguageModel.Load(path, new LoadOptions { MaxConcurrentTexts = 16, PromptCacheTokens = 512 });
        GenerationOptions Options(int i) => new() { MaxTokens = 5 + (i % 30), Temperature = i % 3 == 0 ? 0 : 1, Seed = (ulong)i, TopK = 50 };
        string[] expected = [.. Enumerable.Range(0, 64).Select(i => model.Generate(Prompts[i % Prompts.Length], Options(i)))];
        DateTime end = DateTime.UtcNow.AddSeconds(seconds);
        int[] finished = new int[64], cancelled = new int[64];
        await Task.WhenAll(Enumerable.Range(0, 64).Select(i => Task.Run(async () =>
        {
            Random random = new(i);
            do
            {
                using CancellationTokenSource source = new();
                if (random.Next(3) == 0) source.CancelAfter(random.Next(60));
                try
                {
                    string text = "";
                    if (random.Next(2) == 0) text = await model.GenerateAsync(Prompts[i % Prompts.Length], Options(i), source.Token);
                    else await foreach (string piece in model.StreamAsync(Prompts[i % Prompts.Length], Options(i), source.Token)) text += piece;
                    Assert.Equal(expected[i], text);
                    finished[i]++;
                }
                catch (OperationCanceledException)
                {
                    cancelled[i]++;
                }
            }
            while (DateTime.UtcNow < end);
        }))).WaitAsync(TimeSpan.FromSeconds(seconds + 120));
        Assert.All(finished.Zip(cancelled), pair => Assert.True(pair.First + pair.Second > 0));
        Assert.True(finished.Sum() > 64);
        Assert.True(cancelled.Sum() > 0);
        // Nothing is held but what is kept for texts that begin alike.
        Assert.InRange(model.PagesInUse, 0, (512 / 32) + 64);
    }
}
