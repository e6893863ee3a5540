using System.Numerics;
using System.Runtime.InteropServices;

namespace QuantBuild.Constraints;

/// <summary>The tokens that may come next: a bit for each. Immutable.</summary>
/// <param name="bits">Bit t % 64 of word t / 64 is set if token t may come.</param>
/// <param name="mostBytesToEnd">Of the states that the tokens lead to, the greatest <see cref="AutomatonState.BytesToEnd"/>.</param>
internal sealed class TokenMask(ulong[] bits, int mostBytesToEnd)
{
    private readonly ulong[] bits = bits;

    /// <summary>Of the states that the tokens lead to, the greatest <see cref="AutomatonState.BytesToEnd"/>.</summary>
    public int MostBytesToEnd => mostBytesToEnd;

    /// <summary>The memory that the bits take.</summary>
    public int SizeInBytes => bits.Length * sizeof(ulong);

    /// <summary>How many tokens may come.</summary>
    public int Count { get; } = bits.Sum(BitOperations.PopCount);

    /// <summary>Whether a token may come.</summary>
    public bool this[int token] => token >= 0 && token >> 6 < bits.Length && (bits[token >> 6] >> (token & 63) & 1) != 0;

    /// <summary>The bits of the first tokens, bit t % 32 of word t / 32 that of token t; 0 behind those of the tokenizer.</summary>
    public void CopyTo(Span<uint> words)
    {
        ReadOnlySpan<uint> all = MemoryMarshal.Cast<ulong, uint>(bits);
        int count = Math.Min(all.Length, words.Length);
        all[..count].CopyTo(words);
        words[count..].Clear();
    }

    /// <summary>Sets the logits of tokens that may not come to minus infinity.</summary>
    /// <param name="logits">[vocabulary]; may be longer or shorter than the tokenizer's.</param>
    public void Apply(Span<float> logits)
    {
        for (int word = 0; word << 6 < logits.Length; word++)
        {
            Span<float> part = logits.Slice(word << 6, Math.Min(64, logits.Length - (word << 6)));
            ulong excluded = word < bits.Length ? ~bits[word] : ulong.MaxValue;
            if (excluded == ulong.MaxValue)
            {
                part.Fill(float.NegativeInfinity);
                continue;
            }

            for (; excluded != 0; excluded &= excluded - 1)
            {
                int bit = BitOperations.TrailingZeroCount(excluded);
                if (bit >= part.Length) break;
                part[bit] = float.NegativeInfinity;
            }
        }
    }
}
