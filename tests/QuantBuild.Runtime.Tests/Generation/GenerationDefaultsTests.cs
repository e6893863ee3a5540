using System.Text.Json;
using QuantBuild.Generation;

namespace QuantBuild.Runtime.Tests.Generation;

public class GenerationDefaultsTests
{
    private const string Everything = """
        {
          "do_sample": true, "max_new_tokens": 77, "temperature": 0.6, "top_k": 20, "typical_p": 0.9, "top_p": 0.8, "min_p": 0.05, "repetition_penalty": 1.05,
          "eos_token_id": [1, 2], "transformers_version": "4.51.0"
        }
        """;

    [Fact]
    public void What_options_leave_open_the_model_decides()
    {
        SamplingSettings settings = Defaults(Everything).Complete(new() { Seed = 3 }, 100);
        Assert.Equal(
            (77, 0.6, 20, 0.9, 0.8, 0.05, 1.05),
            (settings.MaxTokens, settings.Temperature, settings.TopK, settings.TypicalP, settings.TopP, settings.MinP, settings.RepetitionPenalty));
        Assert.Equal([1, 2], Defaults(Everything).EosTokenIds);
    }

    [Fact]
    public void What_options_say_the_model_does_not_decide()
    {
        GenerationOptions options = new()
        {
            MaxTokens = 5, Temperature = 0, TopK = 0, TypicalP = 1, TopP = 1, MinP = 0, RepetitionPenalty = 1, RepetitionWindow = 9, FrequencyPenalty = 0.5,
            PresencePenalty = -0.5, LogitBias = new Dictionary<int, float> { [4] = 2 }, Seed = 3, StopStrings = ["x"], LogProbabilities = 0,
        };
        SamplingSettings settings = Defaults(Everything).Complete(options, 100);
        Assert.Equal(
            (5, 0.0, 0, 1.0, 1.0, 0.0, 1.0, 9, 0.5, -0.5, 3UL, 0),
            (settings.MaxTokens, settings.Temperature, settings.TopK, settings.TypicalP, settings.TopP, settings.MinP, settings.RepetitionPenalty,
                settings.RepetitionWindow!.Value, settings.FrequencyPenalty, settings.PresencePenalty, settings.Seed, settings.LogProbabilities!.Value));
        Assert.Equal([KeyValuePair.Create(4, 2f)], settings.LogitBias);
        Assert.Equal(["x"], settings.StopStrings);
    }

    [Fact]
    public void A_model_that_says_nothing_is_decoded_greedily_and_without_penalties()
    {
        SamplingSettings settings = Defaults(null).Complete(null, 100);
        Assert.Equal(
            (256, 0.0, 0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0),
            (settings.MaxTokens, settings.Temperature, settings.TopK, settings.TypicalP, settings.TopP, settings.MinP, settings.RepetitionPenalty,
                settings.FrequencyPenalty, settings.PresencePenalty));
        Assert.Null(settings.RepetitionWindow);
        Assert.Null(settings.LogProbabilities);
        Assert.Empty(settings.LogitBias);
        Assert.Empty(settings.StopStrings);
        Assert.Equal(1, Defaults("""{"do_sample": true}""").Complete(null, 100).Temperature);
    }

    [Fact]
    public void A_value_of_the_models_that_is_out_of_its_range_is_named()
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => Defaults("""{"typical_p": 0}""").Complete(null, 100));
        Assert.Equal("QB4006", error.Id);
        Assert.Contains("TypicalP is 0", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_option_is_documented_with_its_name_in_the_models_file()
    {
        string page = File.ReadAllText(Sample.GenerationPage);
        Assert.All(typeof(GenerationOptions).GetProperties(), option => Assert.Contains($"\n| `{option.Name}` |", page, StringComparison.Ordinal));
        Assert.All(typeof(LoadOptions).GetProperties(), option => Assert.Contains($"\n| `{option.Name}` |", page, StringComparison.Ordinal));
        using JsonDocument file = JsonDocument.Parse(Everything);
        Assert.All(
            file.RootElement.EnumerateObject().Select(member => member.Name).Where(name => name is not ("eos_token_id" or "transformers_version")),
            name => Assert.Contains($"`{name}`", page, StringComparison.Ordinal));
    }

    private static GenerationDefaults Defaults(string? json) => GenerationDefaults.Parse(json, "generation_config.json", DiagnosticIds.ArtifactMalformed);
}
