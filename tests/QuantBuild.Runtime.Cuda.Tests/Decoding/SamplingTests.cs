using QuantBuild.Runtime.Tests;

namespace QuantBuild.Cuda.Tests.Decoding;

/// <summary>Texts whose tokens are chosen by what the device lists are those whose tokens are chosen by all logits. Those that report log-probabilities take all.</summary>
public sealed class SamplingTests : IDisposable
{
    private const int Vocabulary = 4096, Tokens = 8, ListBytes = 12 + (1024 * 8), RowBytes = Vocabulary * sizeof(float);

    private readonly TemporaryFolder folder = new();
    private readonly string path;

    public SamplingTests() => path = TestModel.Write(folder.File("m"), TestArtifact.Config(layers: 1, vocabulary: Vocabulary, context: 256), _ => null, seed: 3);

    public void Dispose() => folder.Dispose();

    private static readonly GenerationOptions Drawn = new() { MaxTokens = Tokens, Temperature = 0.7 };

    /// <summary>Options, and of how many tokens, as a part of all, the lists are enough at least.</summary>
    public static TheoryData<string, GenerationOptions, double> Options { get; } = new()
    {
        { "top-k", Drawn with { TopK = 40 }, 1 },
        { "top-k, top-p, min-p", Drawn with { TopK = 50, TopP = 0.95, MinP = 0.05 }, 1 },
        { "top-k, typical-p", Drawn with { TopK = 300, TypicalP = 0.8 }, 1 },
        { "top-p", Drawn with { TopP = 0.6, Temperature = 0.3 }, 0.9 },
        { "min-p", Drawn with { MinP = 0.2 }, 1 },
        { "temperature", Drawn with { Temperature = 0.3 }, 0.5 },
        { "penalties", Drawn with { Temperature = 0, RepetitionPenalty = 1.2, FrequencyPenalty = 0.4, PresencePenalty = 0.3 }, 1 },
        { "window", Drawn with { TopK = 5, RepetitionPenalty = 1.5, RepetitionWindow = 4 }, 1 },
        { "bias", Drawn with { TopK = 40, LogitBias = new Dictionary<int, float> { [17] = 5, [400] = float.NegativeInfinity, [3000] = 4 } }, 1 },
        { "grammar", Drawn with { Temperature = 0, Format = OutputFormat.Grammar("root ::= [0-9]+ (\",\" [0-9]+)*") }, 1 },
        { "grammar, drawn", Drawn with { TopP = 0.6, Temperature = 0.3, Format = OutputFormat.Grammar("root ::= [a-z ]+") }, 0.9 },
    };

    [Theory]
    [MemberData(nameof(Options))]
    public async Task Tokens_are_those_that_all_logits_give_and_few_bytes_cross_the_bus(string what, GenerationOptions options, double least)
    {
        using TestGpu gpu = new();
        using LanguageModel model = Load(gpu);
        int tokens = 0;
        long rows = 0;
        for (ulong seed = 0; seed < 5; seed++)
        {
            long before = gpu.Machine.BytesToHost;
            GenerationResult listed = await model.CompleteAsync("One day", options with { Seed = seed });
            long bytes = gpu.Machine.BytesToHost - before;
            before = gpu.Machine.BytesToHost;
            GenerationResult all = await model.CompleteAsync("One day", options with { Seed = seed, LogProbabilities = 0 });
            Assert.Equal(all.Text, listed.Text);
            Assert.Equal(all.Usage.GeneratedTokens, listed.Usage.GeneratedTokens);
            Assert.Equal(all.Usage.GeneratedTokens * (long)RowBytes, gpu.Machine.BytesToHost - before);
            tokens += listed.Usage.GeneratedTokens;
            rows += (bytes - (listed.Usage.GeneratedTokens * (long)ListBytes)) / RowBytes;
            Assert.Equal(0, (bytes - (listed.Usage.GeneratedTokens * (long)ListBytes)) % RowBytes);
        }

        Assert.True(rows <= (1 - least) * tokens, $"{what}: {rows} of {tokens} tokens took all logits");
        Assert.Empty(gpu.Violations);
    }

    [Fact]
    public async Task Texts_that_are_computed_together_have_each_its_own_options()
    {
        using TestGpu gpu = new();
        using LanguageModel model = Load(gpu);
        GenerationOptions[] options =
        [
            Drawn with { Seed = 1, TopK = 40 },
            Drawn with { Temperature = 0 },
            Drawn with { Seed = 2, TopP = 0.9, LogProbabilities = 2 },
            Drawn with { Temperature = 0, RepetitionPenalty = 1.3 },
            Drawn with { Seed = 3, TypicalP = 0.9 },
            Drawn with { Seed = 4, MinP = 0.1, Format = OutputFormat.Grammar("root ::= [0-9]+") },
        ];
        string[] alone = [.. options.Select(each => model.Generate("One day", each))];
        Assert.Equal(alone, await Task.WhenAll(options.Select(each => model.GenerateAsync("One day", each))));
        Assert.Empty(gpu.Violations);
    }

    [Fact]
    public async Task A_text_for_which_no_token_is_left_ends_alone()
    {
        using TestGpu gpu = new();
        using LanguageModel model = Load(gpu);
        Dictionary<int, float> nothing = Enumerable.Range(0, Vocabulary).ToDictionary(token => token, _ => float.NegativeInfinity);
        GenerationOptions drawn = Drawn with { Seed = 1, TopK = 40 };
        string expected = model.Generate("One day", drawn);
        Task<string> other = model.GenerateAsync("One day", drawn);
        QuantBuildException error = await Assert.ThrowsAsync<QuantBuildException>(() => model.GenerateAsync("One day", drawn with { LogitBias = nothing }));
        Assert.Equal(DiagnosticIds.OptionInvalid, error.Id);
        Assert.Equal(expected, await other);
    }

    private LanguageModel Load(TestGpu gpu) => LanguageModel.Load(path, new LoadOptions { Device = "cuda", Backend = gpu.Backend });
}
