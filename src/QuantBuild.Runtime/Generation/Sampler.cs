using System.Numerics.Tensors;

namespace QuantBuild.Generation;

/// <summary>
/// Chooses the next token from logits: temperature, then top-k, then top-p on what is left, then min-p. Ties go to the smaller id, so that a seed fixes the text.
/// </summary>
internal sealed class Sampler(SamplingSettings settings)
{
    private SplitMix random = new(settings.Seed);
    private double[] weights = [];
    private int[] heap = [];

    /// <summary>The next token.</summary>
    public int Choose(ReadOnlySpan<float> logits)
    {
        int best = TensorPrimitives.IndexOfMax(logits);
        if (settings.Temperature == 0) return best;

        // Probabilities but for their sum; the most probable token has 1.
        if (weights.Length < logits.Length) weights = new double[logits.Length];
        Span<double> weight = weights.AsSpan(0, logits.Length);
        double total = 0;
        for (int id = 0; id < weight.Length; id++) total += weight[id] = Math.Exp((logits[id] - logits[best]) / settings.Temperature);

        bool all = settings.TopK == 0 && settings.TopP == 1 && settings.MinP == 0;
        return all ? Draw(weight, total) : DrawAmongTop(weight, total);
    }

    private int Draw(ReadOnlySpan<double> weight, double total)
    {
        double target = random.NextDouble() * total;
        int last = 0;
        for (int id = 0; id < weight.Length; id++)
        {
            if (weight[id] == 0) continue;
            last = id;
            target -= weight[id];
            if (target < 0) return id;
        }

        // Rounding left a remainder of the sum.
        return last;
    }

    /// <summary>Takes tokens from a heap, the most probable first, for as long as they belong to the choice: far cheaper than to sort a vocabulary.</summary>
    private int DrawAmongTop(ReadOnlySpan<double> weight, double total)
    {
        if (heap.Length < weight.Length) heap = new int[weight.Length];
        int count = weight.Length;
        for (int i = 0; i < count; i++) heap[i] = i;
        for (int i = (count / 2) - 1; i >= 0; i--) SiftDown(weight, i, count);

        // Taken tokens gather behind the heap, the most probable at the very end.
        int limit = settings.TopK == 0 ? count : Math.Min(settings.TopK, count);
        // Top-p counts in the probabilities that top-k leaves; to know their sum, all k must be taken first.
        bool takeFirst = limit < weight.Length;
        double sum = takeFirst ? 0 : total;
        int taken = 0;
        while (takeFirst && taken < limit) sum += weight[Take(weight, ref count, ref taken)];

        double kept = 0;
        int choices = 0;
        while (choices < limit)
        {
            // The token that crosses top-p is kept; the most probable always is.
            if (choices > 0 && kept >= settings.TopP * sum) break;
            int id = takeFirst ? heap[weight.Length - 1 - choices] : Take(weight, ref count, ref taken);
            if (weight[id] < settings.MinP) break;
            kept += weight[id];
            choices++;
        }

        double target = random.NextDouble() * kept;
        for (int i = 0; i < choices; i++)
        {
            int id = heap[weight.Length - 1 - i];
            target -= weight[id];
            if (target < 0) return id;
        }

        return heap[weight.Length - choices];
    }

    private int Take(ReadOnlySpan<double> weight, ref int count, ref int taken)
    {
        int id = heap[0];
        count--;
        taken++;
        (heap[0], heap[count]) = (heap[count], id);
        SiftDown(weight, 0, count);
        return id;
    }

    private void SiftDown(ReadOnlySpan<double> weight, int i, int count)
    {
        while (true)
        {
            int child = (2 * i) + 1;
            if (child >= count) return;
            if (child + 1 < count && Before(weight, heap[child + 1], heap[child])) child++;
            if (!Before(weight, heap[child], heap[i])) return;
            (heap[i], heap[child]) = (heap[child], heap[i]);
            i = child;
        }
    }

    private static bool Before(ReadOnlySpan<double> weight, int a, int b) => weight[a] > weight[b] || (weight[a] == weight[b] && a < b);
}
