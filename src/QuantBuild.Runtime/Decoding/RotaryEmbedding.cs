namespace QuantBuild.Decoding;

/// <summary>
/// Rotary position embedding (Su et al., 2021) in the half-split form of the published checkpoints: element i of a head turns with element
/// i + headDim/2 by the angle position * theta^(-2i/headDim).
/// </summary>
internal sealed class RotaryEmbedding
{
    private readonly int half;
    private readonly float[] frequencies;
    private float[] cosines = [];
    private float[] sines = [];

    public RotaryEmbedding(DecoderConfig config)
    {
        half = config.HeadDim / 2;
        // Frequencies and angles are rounded to float32, as the reference computes them: at far positions that is what the model was trained with.
        frequencies = [.. Enumerable.Range(0, half).Select(i => (float)(1 / Math.Pow(config.RopeTheta, 2.0 * i / config.HeadDim)))];
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
                cosines[(position * half) + i] = (float)cosine;
                sines[(position * half) + i] = (float)sine;
            }
        }
    }

    /// <summary>Turns one head's query or key in place.</summary>
    public void Rotate(Span<float> head, int position)
    {
        ReadOnlySpan<float> cosine = cosines.AsSpan(position * half, half);
        ReadOnlySpan<float> sine = sines.AsSpan(position * half, half);
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
