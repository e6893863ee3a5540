using QuantBuild.CodeFixes;
using QuantBuild.Generators.Analyzers;

namespace QuantBuild.Generators.Tests.Analyzers;

public class ConstantOutOfRangeTests
{
    [Fact]
    public Task An_option_out_of_its_range_is_set_to_the_nearest_value_or_left_out() => Check.Fixes<ConstantOutOfRangeAnalyzer, CorrectConstantFix>(
        Options(
            "[|MaxTokens = 0|]", "[|Temperature = -0.5|]", "[|TopK = -1|]", "[|TopP = 95|]", "[|TopP = 1.5|]", "[|MinP = -0.1|]", "[|RepetitionWindow = 0|]", "[|LogProbabilities = -2|]",
            "Seed = 1, [|TypicalP = 0|]", "Seed = 1, [|RepetitionPenalty = 0|]", "[|FrequencyPenalty = double.NaN|], Seed = 1", "Seed = 1, [|PresencePenalty = double.PositiveInfinity|]"),
        Options(
            "MaxTokens = 1", "Temperature = 0", "TopK = 0", "TopP = 0.95", "TopP = 1", "MinP = 0", "RepetitionWindow = 1", "LogProbabilities = 0",
            "Seed = 1", "Seed = 1", "Seed = 1", "Seed = 1"));

    [Fact]
    public Task A_load_option_out_of_its_range_too() => Check.Fixes<ConstantOutOfRangeAnalyzer, CorrectConstantFix>(
        "class A { LoadOptions b = new() { [|Threads = -1|], [|MaxConcurrentTexts = 1000|], [|MaxWaitingTexts = -1|], [|PromptCacheTokens = -5|], [|ContextLength = 1|] }; }",
        "class A { LoadOptions b = new() { Threads = 0, MaxConcurrentTexts = 128, MaxWaitingTexts = 0, PromptCacheTokens = 0, ContextLength = 2 }; }");

    [Fact]
    public Task The_tokens_that_are_guessed_at_a_time_too() => Check.Fixes<ConstantOutOfRangeAnalyzer, CorrectConstantFix>(
        Options("Speculation = Speculation.PromptLookup([|0|])", "Speculation = Speculation.DraftModel(Small.Shared, [|maxTokens: -1|])"),
        Options("Speculation = Speculation.PromptLookup(1)", "Speculation = Speculation.DraftModel(Small.Shared, maxTokens: 1)"));

    [Fact]
    public Task An_empty_stop_string_ends_every_text() => Check.Reports<ConstantOutOfRangeAnalyzer>(Options(
        """StopStrings = ["\n", [|""|]]""", """StopStrings = new[] { [|""|] }""", """StopStrings = ["\n"]""", "StopStrings = []", "StopStrings = [prompt]"));

    [Fact]
    public Task Named_constants_and_with_expressions_count() => Check.Fixes<ConstantOutOfRangeAnalyzer, CorrectConstantFix>(
        """
        class Program
        {
            const double Warm = -1;
            GenerationOptions Change(GenerationOptions options) => options with { [|Temperature = Warm|], [|TopK = -3|], Seed = 2 };
        }
        """,
        """
        class Program
        {
            const double Warm = -1;
            GenerationOptions Change(GenerationOptions options) => options with { Temperature = 0, TopK = 0, Seed = 2 };
        }
        """);

    [Fact]
    public Task Values_in_range_unset_or_unknown_are_left_alone() => Check.Reports<ConstantOutOfRangeAnalyzer>(Options(
        "Temperature = 0, TopP = 1, MinP = 1, TopK = 0, RepetitionPenalty = 0.5, FrequencyPenalty = -2, LogProbabilities = 0, MaxTokens = 1",
        "Temperature = null, TopP = null, MaxTokens = null",
        "Temperature = prompt.Length - 1000, MaxTokens = int.Parse(prompt)",
        "Speculation = Speculation.PromptLookup()",
        "Speculation = Speculation.PromptLookup(prompt.Length)"));

    [Fact]
    public Task A_property_of_that_name_in_another_type_is_left_alone() => Check.Reports<ConstantOutOfRangeAnalyzer>(
        """
        record Oven { public double Temperature { get; init; } }
        class Program { Oven oven = new() { Temperature = -20 }; }
        """);

    private static string Options(params string[] options) => Check.Method(string.Join('\n', options.Select(option => $"Large.Generate(prompt, new GenerationOptions {{ {option} }});")));
}
