namespace QuantBuild.Runtime.Tests.Generation;

public sealed class SpeculationTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly LanguageModel model, small;

    public SpeculationTests()
    {
        model = LanguageModel.Load(TestArtifact.WriteSample(folder.File("m"), new TestArtifact.Rounding(4, 128, false, false)));
        // A worse version of the same model: often right, not always.
        small = LanguageModel.Load(TestArtifact.WriteSample(folder.File("s"), new TestArtifact.Rounding(2, 128, false, false)));
    }

    public void Dispose()
    {
        model.Dispose();
        small.Dispose();
        folder.Dispose();
    }

    [Theory]
    [InlineData(0.0)]
    [InlineData(0.9)]
    public async Task A_text_is_the_same_with_guesses_and_without(double temperature)
    {
        string repeating = string.Concat(Enumerable.Repeat("The cat sat on the mat and the dog sat on the log. ", 6));
        foreach (string prompt in new[] { repeating, "It was a dark and stormy night", Sample.EvaluationText[..700] })
        {
            GenerationOptions options = new() { MaxTokens = 60, Temperature = temperature, Seed = 3, RepetitionPenalty = 1 };
            GenerationResult plain = await model.CompleteAsync(prompt, options);
            foreach (Speculation speculation in new[] { Speculation.PromptLookup(), Speculation.DraftModel(small), Speculation.DraftModel(small, 9) })
            {
                GenerationResult result = await model.CompleteAsync(prompt, options with { Speculation = speculation });
                Assert.Equal(plain.Text, result.Text);
                Assert.Equal(plain.FinishReason, result.FinishReason);
                Assert.Equal(plain.Usage.GeneratedTokens, result.Usage.GeneratedTokens);
                Assert.InRange(result.Usage.AcceptedTokens, 0, result.Usage.DraftedTokens);
            }
        }
    }

    [Fact]
    public async Task Guesses_are_often_right_where_the_text_repeats_itself_or_the_draft_model_is_alike()
    {
        string repeating = string.Concat(Enumerable.Repeat("The cat sat on the mat and the dog sat on the log. ", 6));
        GenerationOptions options = new() { MaxTokens = 120, Temperature = 0, Speculation = Speculation.PromptLookup() };
        GenerationUsage lookup = (await model.CompleteAsync(repeating, options)).Usage;
        Assert.InRange(lookup.AcceptedTokens, 10, 120);
        GenerationUsage draft = (await model.CompleteAsync("It was a dark and stormy night", options with { Speculation = Speculation.DraftModel(small) })).Usage;
        Assert.InRange((double)draft.AcceptedTokens / draft.DraftedTokens, 0.3, 1);
        Assert.Equal(0, (await model.CompleteAsync("It was", options with { Speculation = null })).Usage.DraftedTokens);
    }

    [Fact]
    public void A_draft_model_that_cannot_guess_is_QB4006()
    {
        Assert.Equal("QB4006", Assert.Throws<QuantBuildException>(() => model.Generate("It was", new() { Speculation = Speculation.DraftModel(model) })).Id);
        string config = TestArtifact.Config(vocabulary: 4100);
        using LanguageModel other = LanguageModel.Load(TestArtifact.Write(folder.File("o"), config, TestArtifact.RandomWeights(config, 1)));
        Assert.Equal("QB4006", Assert.Throws<QuantBuildException>(() => model.Generate("It was", new() { Speculation = Speculation.DraftModel(other) })).Id);
        Assert.Throws<ArgumentOutOfRangeException>(() => Speculation.PromptLookup(0));
    }
}
