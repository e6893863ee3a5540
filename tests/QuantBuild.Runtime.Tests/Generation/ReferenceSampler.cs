using QuantBuild.Generation;

namespace QuantBuild.Runtime.Tests.Generation;

/// <summary>
/// The distribution that a token is drawn from, in double precision, by sorting and summing as the papers describe it. Logits alone are rounded to single
/// precision after each change, for that is what they are kept in.
/// </summary>
internal static class ReferenceSampler
{
    /// <summary>[vocabulary]: the probability of each token; 0 where a token must not be chosen.</summary>
    public static double[] Distribution(ReadOnlySpan<float> logits, SamplingSettings s, int[] prompt, int[] generated)
    {
        float[] changed = Penalized(logits, s, prompt, generated);
        double[] l = [.. changed.Select(v => (double)v)];
        if (s.Temperature == 0) return [.. l.Select((_, id) => id == Array.IndexOf(l, l.Max()) ? 1.0 : 0.0)];
        double[] p = Softmax([.. l.Select(v => (v - l.Max()) / s.Temperature)]);

        // Fan et al. 2018.
        if (s.TopK > 0) foreach (int id in Order(id => -l[id], l.Length).Skip(s.TopK)) p[id] = 0;
        p = Normalize(p);

        // Meister et al. 2022: information nearest to the entropy.
        double entropy = p.Where(v => v > 0).Sum(v => -v * Math.Log(v));
        if (s.TypicalP < 1) p = Prefix(p, Order(id => Math.Abs(-Math.Log(p[id]) - entropy), p.Length), s.TypicalP);

        // Holtzman et al. 2020.
        if (s.TopP < 1) p = Prefix(p, Order(id => -p[id], p.Length), s.TopP);

        // Nguyen et al. 2024.
        return Normalize([.. p.Select(v => v >= s.MinP * p.Max() ? v : 0)]);
    }

    /// <summary>The logits after bias and penalties: Keskar et al. 2019 as Hugging Face has it, then what OpenAI's interface documents.</summary>
    public static float[] Penalized(ReadOnlySpan<float> logits, SamplingSettings s, int[] prompt, int[] generated)
    {
        float[] l = logits.ToArray();
        foreach ((int id, float bias) in s.LogitBias) l[id] = (float)((double)l[id] + bias);
        int[] context = [.. prompt, .. generated];
        foreach (int id in context.TakeLast(s.RepetitionWindow ?? context.Length).Distinct())
        {
            l[id] = (float)(l[id] > 0 ? l[id] / s.RepetitionPenalty : l[id] * s.RepetitionPenalty);
        }

        foreach (int id in generated.Distinct())
        {
            int count = generated.Count(other => other == id);
            l[id] = (float)((double)l[id] - (float)((count * s.FrequencyPenalty) + s.PresencePenalty));
        }

        return l;
    }

    public static double[] Softmax(double[] logits) => Normalize([.. logits.Select(v => Math.Exp(v - logits.Max()))]);

    /// <summary>The shortest prefix of an order whose probability reaches a sum, renormalized.</summary>
    private static double[] Prefix(double[] p, int[] order, double sum)
    {
        double[] kept = new double[p.Length];
        double reached = 0;
        foreach (int id in order.Where(id => p[id] > 0))
        {
            if (reached >= sum) break;
            kept[id] = p[id];
            reached += p[id];
        }

        return Normalize(kept);
    }

    private static int[] Order(Func<int, double> key, int count) => [.. Enumerable.Range(0, count).OrderBy(key).ThenBy(id => id)];

    private static double[] Normalize(double[] p)
    {
        double sum = p.Sum();
        return [.. p.Select(v => v / sum)];
    }
}
