using System.Runtime.InteropServices;
using QuantBuild.Generation;

namespace QuantBuild.Worker.Synthesis;

/// <summary>
/// A weight of random values, made while it is written: no more than one piece for each thread is in memory. A value is decided by the seed, the tensor's
/// name and where it stands; pieces have one size whatever the number of threads.
/// </summary>
/// <param name="name">The tensor's name.</param>
/// <param name="outputs">N, the rows.</param>
/// <param name="inputs">K, the columns.</param>
/// <param name="deviation">Standard deviation of the values of most columns.</param>
/// <param name="type">F32, F16 or BF16.</param>
/// <param name="seed">The model's seed.</param>
internal sealed class RandomTensor(string name, int outputs, int inputs, double deviation, ElementType type, ulong seed)
{
    /// <summary>How much larger the values of a salient column are.</summary>
    public const float Salience = 4;

    /// <summary>One column in this many is salient, and at least one.</summary>
    public const int ColumnsOfASalientOne = 256;

    // Values of a piece: 1 MiB of F32.
    private const int PieceLength = 1 << 18;

    private readonly ulong tensorSeed = Seed(name, seed);

    /// <summary>Which columns are salient, as a trained weight has a few inputs that matter more than the others, [K].</summary>
    public bool[] SalientColumns()
    {
        bool[] salient = new bool[inputs];
        SplitMix random = new(tensorSeed);
        // One may be drawn twice: then it is fewer.
        for (int i = 0; i < Math.Max(1, inputs / ColumnsOfASalientOne); i++) salient[random.Next() % (ulong)inputs] = true;
        return salient;
    }

    /// <summary>The tensor for a file.</summary>
    /// <param name="threads">How many pieces to make at once.</param>
    /// <param name="written">Told how many bytes were written.</param>
    /// <param name="cancellationToken">Looked at between pieces.</param>
    public TensorSource Source(int threads, Action<long> written, CancellationToken cancellationToken)
    {
        long length = (long)outputs * inputs;
        return new TensorSource(name, type, [outputs, inputs], length * type.Size(), stream => Write(stream, length, threads, written, cancellationToken));
    }

    private void Write(Stream stream, long length, int threads, Action<long> written, CancellationToken cancellationToken)
    {
        float[] columns = [.. SalientColumns().Select(salient => (float)deviation * (salient ? Salience : 1))];
        byte[][] pieces = [.. Enumerable.Range(0, threads).Select(_ => new byte[Math.Min(length, PieceLength) * type.Size()])];
        int LengthOf(long piece) => (int)Math.Max(0, Math.Min(PieceLength, length - (piece * PieceLength)));
        for (long first = 0; first * PieceLength < length; first += threads)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Parallel.For(0, threads, i => Fill(pieces[i], first + i, LengthOf(first + i), columns));
            for (int i = 0; i < threads; i++)
            {
                int bytes = LengthOf(first + i) * type.Size();
                stream.Write(pieces[i], 0, bytes);
                written(bytes);
            }
        }
    }

    /// <summary>Makes a piece.</summary>
    private void Fill(byte[] bytes, long piece, int length, float[] columns)
    {
        NormalDistribution normal = new(new SplitMix(tensorSeed ^ (ulong)(piece + 1)).Next());
        Span<float> singles = MemoryMarshal.Cast<byte, float>(bytes.AsSpan());
        Span<ushort> halves = MemoryMarshal.Cast<byte, ushort>(bytes.AsSpan());
        int column = (int)(piece * PieceLength % columns.Length);
        for (int i = 0; i < length; i++)
        {
            float value = (float)normal.Next() * columns[column];
            switch (type)
            {
                case ElementType.F32:
                    singles[i] = value;
                    break;
                case ElementType.F16:
                    halves[i] = BitConverter.HalfToUInt16Bits((Half)value);
                    break;
                default:
                    halves[i] = BFloat16Bits(value);
                    break;
            }

            if (++column == columns.Length) column = 0;
        }
    }

    /// <summary>Bits of the BF16 that is nearest to a finite number; of two, the even one.</summary>
    internal static ushort BFloat16Bits(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    /// <summary>FNV-1a (Fowler, Noll and Vo, 1991) of the name, so that a tensor's values do not depend on which others there are.</summary>
    private static ulong Seed(string name, ulong seed)
    {
        ulong hash = 0xCBF29CE484222325;
        foreach (char letter in name) hash = (hash ^ letter) * 0x100000001B3;
        return new SplitMix(hash ^ new SplitMix(seed).Next()).Next();
    }
}
