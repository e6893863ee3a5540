namespace QuantBuild.Decoding;

/// <summary>
/// Rotary position embedding (Su et al., 2021): of the first dimensions of a head, element i turns with element i + half of them, or 2i with 2i + 1, by an angle that
/// is the position times the i-th frequency.
/// </summary>
internal sealed class RotaryEmbedding
{
    private readonly int half;
    private readonly bool interleaved;
    private readonly double scale;
    private readonly float[] frequencies;
    private float[] cosines = [];
    private float[] sines = [];

    /// <param name="config">The decoder.</param>
    /// <param name="context">Tokens that a text may have.</param>
    /// <param name="local">Whether the frequencies are those of layers with a base of their own.</param>
    public RotaryEmbedding(DecoderConfig config, int context, bool local = false)
    {
        (half, interleaved, scale) = (config.TurnedDimensions / 2, config.RopeInterleaved, config.RotaryScale(local, context));
        // Frequencies and angles are rounded to float32, as the reference computes them: at far positions that is what the model was trained with.
        frequencies = [.. config.RotaryFrequencies(local, context).Select(frequency => (float)frequency)];
    }

    /// <summary>Fills the tables for positions below <paramref name="positions"/>; not safe against <see cref="Rotate"/> on other threads.</summary>
    public void Prepare(int positions)
    {
        int known = cosines.Length / half;
        if (positions <= known) return;
        positions = Math.Max(positions, 2 * known);
        Array.Resize(ref cosines, positions * half);
        Array.Resize(ref sines, positions * half);
        for (int position = known; position < positions; position++)
        {
            for (int i = 0; i < half; i++)
            {
                float angle = position * frequencies[i];
                (double sine, double cosine) = Math.SinCos(angle);
                cosines[(position * half) + i] = (float)(cosine * scale);
                sines[(position * half) + i] = (float)(sine * scale);
            }
        }
    }

    /// <summary>Pairs of a head that are turned.</summary>
    public int Pairs => half;

    /// <summary>What the pairs of a head are turned by at a position: the cosines.</summary>
    public ReadOnlySpan<float> Cosines(int position) => cosines.AsSpan(position * half, half);

    /// <summary>And the sines.</summary>
    public ReadOnlySpan<float> Sines(int position) => sines.AsSpan(position * half, half);

    /// <summary>Turns one head's query or key in place.</summary>
    public void Rotate(Span<float> head, int position)
    {
        ReadOnlySpan<float> cosine = Cosines(position), sine = Sines(position);
        if (interleaved)
        {
            for (int i = 0; i < half; i++)
            {
                (float a, float b) = (head[2 * i], head[(2 * i) + 1]);
                head[2 * i] = (a * cosine[i]) - (b * sine[i]);
                head[(2 * i) + 1] = (b * cosine[i]) + (a * sine[i]);
            }

            return;
        }

        Span<float> first = head[..half];
        Span<float> second = head.Slice(half, half);
        for (int i = 0; i < half; i++)
        {
            (float a, float b) = (first[i], second[i]);
            first[i] = (a * cosine[i]) - (b * sine[i]);
            second[i] = (b * cosine[i]) + (a * sine[i]);
        }
    }
}
