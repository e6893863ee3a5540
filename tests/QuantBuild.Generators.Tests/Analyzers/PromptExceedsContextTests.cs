using QuantBuild.Generators.Analyzers;

namespace QuantBuild.Generators.Tests.Analyzers;

/// <summary><c>Small</c> has a context of 16 tokens, which leaves room for 15.</summary>
public class PromptExceedsContextTests
{
    private const string Fifteen = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen";

    [Fact]
    public Task A_prompt_with_more_words_than_there_is_room_for_tokens() => Check.Reports<PromptExceedsContextAnalyzer>(Check.Method(
        $$"""
        const string Long = "{{Fifteen}}";
        Small.Generate([|"{{Fifteen}} sixteen"|]);
        Small.Generate([|Long + ", and more"|], new GenerationOptions { MaxTokens = 3 });
        Small.Shared.Embed([|Long + " sixteen"|]);
        using LanguageModel model = Small.Load(), other = LanguageModel.Load(Small.Info);
        model.CompleteAsync([|Long + " sixteen"|], null);
        other.Generate([|Long + " sixteen"|], cancellationToken: default);
        """));

    [Fact]
    public Task One_that_may_fit_or_may_be_shifted_is_left_alone() => Check.Reports<PromptExceedsContextAnalyzer>(Check.Method(
        $$"""
        const string Long = "{{Fifteen}}";
        Small.Generate(Long);
        Small.Generate("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 ! ? ! ? ! ?");
        Small.Generate("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v");
        Small.Generate(Long + " sixteen", new() { ContextOverflow = ContextOverflow.Shift });
        GenerationOptions options = new() { ContextOverflow = ContextOverflow.Shift };
        Small.Generate(Long + " sixteen", options);
        """));

    [Fact]
    public Task A_model_with_room_another_tokenizer_or_unknown_is_left_alone() => Check.Reports<PromptExceedsContextAnalyzer>(
        $$"""
        class Program
        {
            const string Long = "{{Fifteen}} {{Fifteen}}";

            void Use(LanguageModel given, string prompt, bool large)
            {
                Large.Generate(Long);
                Tiny.Generate(Long);
                given.Generate(Long);
                Small.Generate(Long + prompt);
                LanguageModel either = Small.Shared;
                if (large) either = Large.Shared;
                either.Generate(Long);
            }
        }
        """);
}
