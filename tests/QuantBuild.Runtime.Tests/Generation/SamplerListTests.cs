using FsCheck.Xunit;
using QuantBuild.Decoding;
using QuantBuild.Generation;

namespace QuantBuild.Runtime.Tests.Generation;

/// <summary>What is chosen by the largest logits is what is chosen by all.</summary>
[Properties(Arbitrary = [typeof(SamplerProperties)], MaxTest = 500)]
public class SamplerListTests
{
    [Property]
    public void A_text_is_the_same_with_lists_of_any_length(SamplerProperties.Text text)
    {
        SamplingSettings settings = new GenerationDefaults().Complete(text.Options, text.Steps[0].Length);
        Sampler expected = new(settings, text.Prompt), actual = new(settings, text.Prompt);
        Random random = new((int)settings.Seed);
        foreach (float[] logits in text.Steps)
        {
            float[] all = [.. logits], changed = Changed(logits, actual.Changes(null));
            int right = expected.Choose(all).Token;
            Assert.Equal(all, changed);
            int token = actual.TakesLists && TryChoose(actual, changed, random.Next(1, logits.Length + 1), settings.Temperature, random, out TokenChoice choice)
                ? choice.Token
                : actual.ChooseChanged(changed).Token;
            Assert.Equal(right, token);
            expected.Accept(right);
            actual.Accept(right);
        }
    }

    public static TheoryData<GenerationOptions, int> Options { get; } = new()
    {
        { new() { Temperature = 0, RepetitionPenalty = 1.2 }, 200 },
        { new() { Temperature = 0.8, TopK = 40 }, 200 },
        { new() { Temperature = 0.8, TopK = 700 }, 200 },
        { new() { Temperature = 0.8, TopK = 40, TopP = 0.9, MinP = 0.05 }, 200 },
        { new() { Temperature = 1.5, TopK = 600, TypicalP = 0.9 }, 200 },
        { new() { Temperature = 0.6, TopP = 0.9 }, 195 },
        { new() { Temperature = 0.6, TopP = 0.9, MinP = 0.01 }, 195 },
        { new() { Temperature = 0.9, MinP = 0.02 }, 200 },
        { new() { Temperature = 0.5 }, 150 },
        { new() { Temperature = 0.6, TypicalP = 0.9 }, 0 },
    };

    [Theory]
    [MemberData(nameof(Options))]
    public void Lists_are_mostly_enough_and_then_right(GenerationOptions options, int least)
    {
        const int vocabulary = 30_011;
        int decided = 0;
        Random random = new(1);
        for (int seed = 0; seed < 200; seed++)
        {
            SamplingSettings settings = new GenerationDefaults().Complete(options with { Seed = (ulong)seed }, vocabulary);
            Sampler expected = new(settings, [1, 2, 3]), actual = new(settings, [1, 2, 3]);
            // As likely as tokens of a text: the n-th about 1 / n as likely as the first.
            float[] logits = [.. Enumerable.Range(0, vocabulary).Select(i => (float)((2 * random.NextDouble()) - (1.2 * Math.Log(1 + i))))];
            random.Shuffle(logits);
            float[] changed = Changed(logits, actual.Changes(null));
            int right = expected.Choose([.. logits]).Token;
            if (actual.TakesLists && TryChoose(actual, changed, 700, settings.Temperature, random, out TokenChoice choice))
            {
                decided++;
                Assert.Equal(right, choice.Token);
            }
            else
            {
                Assert.Equal(right, actual.ChooseChanged(changed).Token);
            }
        }

        Assert.InRange(decided, least, least == 0 ? 0 : 200);
    }

    [Fact]
    public void Where_a_cut_hangs_on_the_precision_of_the_rest_all_logits_decide()
    {
        // Two tokens as likely as all others together: a quarter of the probability is the first alone.
        LogitEntry[] two = [new(5, 10), new(5, 20)];
        SamplingSettings settings = new GenerationDefaults().Complete(new() { Temperature = 1, TopP = 0.25, Seed = 3 }, 100);
        Assert.False(new Sampler(settings, []).TryChoose(new LargestLogits(two, 1, 2), out _));
        Assert.True(new Sampler(settings, []).TryChoose(new LargestLogits(two, 1, 1.999f), out TokenChoice one));
        Assert.Equal(10, one.Token);
        // And what two tokens do not reach may be elsewhere.
        Assert.False(new Sampler(settings with { TopP = 0.6 }, []).TryChoose(new LargestLogits(two, 1, 2), out _));
        Assert.True(new Sampler(settings with { TopP = 0.6 }, []).TryChoose(new LargestLogits(two, float.NegativeInfinity, 0), out _));
    }

    [Theory]
    [InlineData(float.NaN, 1f)]
    [InlineData(float.PositiveInfinity, 1f)]
    [InlineData(5f, float.NaN)]
    [InlineData(5f, float.PositiveInfinity)]
    public void What_is_no_number_is_left_to_all_logits(float largest, float rest)
    {
        SamplingSettings settings = new GenerationDefaults().Complete(new() { Temperature = 0, PresencePenalty = 1 }, 100);
        Assert.False(new Sampler(settings, []).TryChoose(new LargestLogits([new(largest, 10), new(4, 20)], 1, rest), out _));
        Assert.False(new Sampler(settings, []).TryChoose(new LargestLogits([], 1, 1), out _));
    }

    private static bool TryChoose(Sampler sampler, float[] logits, int length, double temperature, Random random, out TokenChoice choice)
    {
        LogitEntry[] order = [.. logits.Select((logit, token) => new LogitEntry(logit, token)).OrderByDescending(entry => entry.Logit).ThenBy(entry => entry.Token)];
        float bound = length < order.Length ? order[length].Logit : float.NegativeInfinity;
        LogitEntry[] entries = [.. order.TakeWhile(entry => entry.Logit > bound)];
        double rest = order.Skip(entries.Length).Sum(entry => Math.Exp((entry.Logit - (double)order[0].Logit) / (temperature == 0 ? 1 : temperature)));
        // As far off as it may be.
        rest *= 1 + (((2 * random.NextDouble()) - 1) / LargestLogits.RestPrecision);
        return sampler.TryChoose(new LargestLogits(entries, bound, (float)rest), out choice);
    }

    private static float[] Changed(float[] logits, LogitChanges changes)
    {
        float[] changed = [.. logits];
        foreach ((int token, float bias) in changes.Bias) changed[token] += bias;
        foreach (int token in changes.Repeated) changed[token] = (float)(changed[token] < 0 ? changed[token] * changes.RepetitionPenalty : changed[token] / changes.RepetitionPenalty);
        foreach ((int token, float less) in changes.Lowered) changed[token] -= less;
        return changed;
    }
}
