using QuantBuild.Generators.Analyzers;

namespace QuantBuild.Generators.Tests.Analyzers;

public class DraftModelUnfitTests
{
    [Fact]
    public Task Another_vocabulary_more_weights_or_the_model_itself() => Check.Reports<DraftModelUnfitAnalyzer>(Check.Method(
        """
        Large.Generate(prompt, new() { Speculation = Speculation.DraftModel([|Other.Shared|]) });
        Small.Shared.Generate(prompt, new GenerationOptions { Speculation = Speculation.DraftModel([|Large.Shared|], 3) });
        Large.Generate(prompt, new() { Speculation = Speculation.DraftModel([|Large.Shared|]) });
        using LanguageModel model = Small.Load(), draft = Large.Load();
        GenerationOptions options = new() { Speculation = Speculation.DraftModel([|draft|]) };
        model.Generate(prompt, options);
        """));

    [Fact]
    public Task A_smaller_one_with_the_same_vocabulary_fits() => Check.Reports<DraftModelUnfitAnalyzer>(Check.Method(
        """
        Large.Generate(prompt, new() { Speculation = Speculation.DraftModel(Small.Shared) });
        Large.Generate(prompt, new() { Speculation = Speculation.PromptLookup() });
        using LanguageModel model = Large.Load(), draft = Small.Load();
        GenerationOptions options = new() { Speculation = Speculation.DraftModel(draft) };
        model.Generate(prompt, options);
        Large.Generate(prompt, options);
        """));

    [Fact]
    public Task What_cannot_be_told_is_left_alone() => Check.Reports<DraftModelUnfitAnalyzer>(
        """
        class Program
        {
            void Use(string prompt, LanguageModel model, LanguageModel draft, bool big)
            {
                model.Generate(prompt, new() { Speculation = Speculation.DraftModel(Other.Shared) });
                Small.Generate(prompt, new() { Speculation = Speculation.DraftModel(draft) });
                LanguageModel either = Other.Shared;
                if (big) either = Small.Shared;
                Large.Generate(prompt, new() { Speculation = Speculation.DraftModel(either) });
                using LanguageModel file = LanguageModel.Load("draft.safetensors");
                Small.Generate(prompt, new() { Speculation = Speculation.DraftModel(file) });
                GenerationOptions given = new() { Speculation = Speculation.DraftModel(Other.Shared) };
                Answer(given);
            }

            void Answer(GenerationOptions options) { }
        }
        """);
}
