using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using QuantBuild.Generation;

namespace QuantBuild.Runtime.Tests.Generation;

[Properties(Arbitrary = [typeof(SamplerProperties)], MaxTest = 500)]
public class SamplerProperties
{
    /// <summary>A text's settings, its prompt, and the logits of each step; the last token of the vocabulary always has a finite logit.</summary>
    public sealed record Text(GenerationOptions Options, int[] Prompt, float[][] Steps)
    {
        public override string ToString() => $"{Options} [{string.Join(", ", Prompt)}] {string.Join("; ", Steps.Select(s => string.Join(", ", s)))}";
    }

    public static Arbitrary<Text> Texts()
    {
        // Many ties, and tokens that a grammar has masked.
        Gen<float> logit = Gen.Frequency((8, Gen.Choose(-12, 12).Select(i => i * 0.5f)), (4, Gen.Choose(-9_000_000, 9_000_000).Select(i => i * 1e-6f)),
            (2, Gen.Constant(float.NegativeInfinity)), (1, Gen.Choose(-100, 100).Select(i => i * 10f)));
        // Not round, so that no sum of probabilities meets a limit exactly, where the last bit would decide.
        Gen<double> fraction = Gen.Choose(1, 999_999).Select(i => (i + 0.318309886) * 1e-6);
        Gen<double?> perhaps = Gen.OneOf(Gen.Constant((double?)null), fraction.Select(f => (double?)f));
        Gen<Text> texts =
            from vocabulary in Gen.Choose(1, 70)
            from temperature in Gen.OneOf(Gen.Elements(0.0, 1.0), fraction.Select(f => 3 * f))
            from topK in Gen.OneOf(Gen.Constant(0), Gen.Choose(1, vocabulary + 2))
            from typicalP in perhaps
            from topP in perhaps
            from minP in perhaps
            from repetition in perhaps
            from window in Gen.OneOf(Gen.Constant((int?)null), Gen.Choose(1, 20).Select(i => (int?)i))
            from frequency in perhaps
            from presence in perhaps
            from bias in Gen.OneOf(Gen.Constant((double?)null), fraction.Select(f => (double?)(f * 4 - 2)))
            from seed in Gen.Choose(0, int.MaxValue)
            from prompt in Gen.Choose(0, vocabulary - 1).ArrayOf()
            from steps in logit.ArrayOf(vocabulary).Select(l => (float[])[.. l[..^1], Math.Max(l[^1], -1000)]).ArrayOf(8)
            select new Text(
                new GenerationOptions
                {
                    Temperature = temperature,
                    TopK = topK,
                    TypicalP = typicalP,
                    TopP = topP,
                    MinP = minP,
                    RepetitionPenalty = repetition + 0.5,
                    RepetitionWindow = window,
                    FrequencyPenalty = frequency,
                    PresencePenalty = -presence,
                    LogitBias = bias is null ? null : new Dictionary<int, float> { [0] = (float)bias },
                    Seed = (ulong)seed,
                },
                prompt, steps);
        return texts.ToArbitrary();
    }

    [Property]
    public void A_chosen_token_is_one_of_those_that_every_stage_leaves(Text text)
    {
        SamplingSettings settings = new GenerationDefaults().Complete(text.Options, text.Steps[0].Length);
        Sampler sampler = new(settings, text.Prompt);
        List<int> generated = [];
        foreach (float[] logits in text.Steps)
        {
            double[] exact = ReferenceSampler.Distribution(logits, settings, text.Prompt, [.. generated]);
            int token = sampler.Choose([.. logits]).Token;
            Assert.True(exact[token] > 0, $"token {token}");
            Assert.NotEqual(float.NegativeInfinity, logits[token]);
            sampler.Accept(token);
            generated.Add(token);
        }
    }

    [Property]
    public void The_same_seed_makes_the_same_choices(Text text)
    {
        SamplingSettings settings = new GenerationDefaults().Complete(text.Options, text.Steps[0].Length);
        int[] Choices(Sampler sampler) => [.. text.Steps.Select(logits =>
        {
            int token = sampler.Choose([.. logits]).Token;
            sampler.Accept(token);
            return token;
        })];
        Assert.Equal(Choices(new Sampler(settings, text.Prompt)), Choices(new Sampler(settings, text.Prompt)));
    }

    [Property]
    public void Partial_selection_keeps_what_a_sort_puts_first(Text text, PositiveInt k)
    {
        float[] logits = [.. text.Steps.SelectMany(step => step)];
        Candidates candidates = new();
        candidates.TakeTop(logits, k.Get);
        Assert.Equal(
            Enumerable.Range(0, logits.Length).Where(id => logits[id] > float.NegativeInfinity).OrderByDescending(id => logits[id]).ThenBy(id => id).Take(k.Get).Order(),
            candidates.Items.ToArray().Select(item => item.Token).Order());
    }
}
