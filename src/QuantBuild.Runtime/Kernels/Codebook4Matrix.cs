using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace QuantBuild.Kernels;

/// <summary>The bytes of a weight of table entries, as <see cref="Codebook4"/> describes them.</summary>
/// <param name="Weight">[outputs, row bytes].</param>
/// <param name="Absmax">[blocks], F32, or U8 where double-quantized.</param>
/// <param name="NestedAbsmax">[nested blocks], or <see langword="null"/>.</param>
/// <param name="Offset">[1], or <see langword="null"/>.</param>
internal readonly record struct Codebook4Parts(IntPtr Weight, IntPtr Absmax, IntPtr NestedAbsmax, IntPtr Offset);

/// <summary>A weight of table entries. Unpacking, the table and the product are one pass over the packed bytes.</summary>
internal sealed unsafe class Codebook4Matrix : WeightMatrix
{
    private const int BlockBytes = IntAffine.BlockInputs * Codebook4.Bits / 8;

    // Memory that does not move: a block's scale is one read away.
    private static readonly float[] Map = PinnedMap();

    private readonly byte* weight;
    private readonly byte* absmax;
    private readonly float* nested;
    private readonly float offset;
    private readonly Codebook codebook;
    private readonly Table table;
    private readonly int rowBytes;
    private readonly int blockShift;
    private readonly long lastBlock;

    public Codebook4Matrix(int outputs, int inputs, Codebook4Format format, Codebook4Parts parts)
        : base(outputs, inputs)
    {
        weight = (byte*)parts.Weight;
        absmax = (byte*)parts.Absmax;
        nested = (float*)parts.NestedAbsmax;
        offset = format.DoubleQuantized ? *(float*)parts.Offset : 0;
        codebook = format.Codebook;
        table = new Table(codebook);
        rowBytes = IntAffine.RowBytes(inputs, Codebook4.Bits);
        blockShift = BitOperations.Log2((uint)format.BlockSize);
        lastBlock = Codebook4.Blocks(outputs, inputs, format.BlockSize) - 1;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void ReadRow(int row, float* weights)
    {
        byte* packed = weight + ((long)row * rowBytes);
        long flat = (long)row * Inputs;
        Table values = table;
        for (int start = 0; start < PaddedInputs; start += IntAffine.BlockInputs, packed += BlockBytes)
        {
            Scales(flat + start, out Vector256<float> a0, out Vector256<float> a1, out Vector256<float> a2, out Vector256<float> a3);
            FourBits.Unpack(packed, out Vector256<int> v0, out Vector256<int> v1, out Vector256<int> v2, out Vector256<int> v3);
            (values.At(v0) * a0).Store(weights + start);
            (values.At(v1) * a1).Store(weights + start + 8);
            (values.At(v2) * a2).Store(weights + start + 16);
            (values.At(v3) * a3).Store(weights + start + 24);
        }

        for (int k = Inputs; k < PaddedInputs; k++) weights[k] = 0;
    }

    protected override void MultiplyVector(int from, int to, float* x, float* y)
    {
        if (!Vector128.IsHardwareAccelerated)
        {
            MultiplyVectorScalar(from, to, x, y);
            return;
        }

        // Where rows are whole runs of 32, so are the parts of a row that share a scale.
        bool wholeRuns = Inputs % IntAffine.BlockInputs == 0;
        for (int row = from; row < to; row++) y[row] = wholeRuns ? DotWholeRuns(row, x) : DotAnywhere(row, x);
    }

    /// <summary>The same product without vectors: for processors that have none, and to test the others against.</summary>
    internal void MultiplyVectorScalar(int from, int to, float* x, float* y)
    {
        ReadOnlySpan<float> values = Codebook4.Values(codebook);
        for (int row = from; row < to; row++)
        {
            byte* packed = weight + ((long)row * rowBytes);
            float sum = 0;
            for (int k = 0; k < Inputs; k++)
            {
                int index = IntAffine.Value(new ReadOnlySpan<byte>(packed + (k / IntAffine.BlockInputs * BlockBytes), BlockBytes), k % IntAffine.BlockInputs, Codebook4.Bits);
                sum += values[index] * Absmax((((long)row * Inputs) + k) >> blockShift) * x[k];
            }

            y[row] = sum;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private float DotWholeRuns(int row, float* x)
    {
        byte* packed = weight + ((long)row * rowBytes);
        long flat = (long)row * Inputs;
        Table values = table;
        Vector256<float> total = default;
        for (int k = 0; k < Inputs;)
        {
            long block = (flat + k) >> blockShift;
            int end = (int)Math.Min(Inputs, ((block + 1) << blockShift) - flat);
            Vector256<float> s0 = default, s1 = default, s2 = default, s3 = default;
            for (; k < end; k += IntAffine.BlockInputs, packed += BlockBytes)
            {
                FourBits.Unpack(packed, out Vector256<int> v0, out Vector256<int> v1, out Vector256<int> v2, out Vector256<int> v3);
                s0 = Vector256.MultiplyAddEstimate(values.At(v0), Vector256.Load(x + k), s0);
                s1 = Vector256.MultiplyAddEstimate(values.At(v1), Vector256.Load(x + k + 8), s1);
                s2 = Vector256.MultiplyAddEstimate(values.At(v2), Vector256.Load(x + k + 16), s2);
                s3 = Vector256.MultiplyAddEstimate(values.At(v3), Vector256.Load(x + k + 24), s3);
            }

            total = Vector256.MultiplyAddEstimate(Vector256.Create(Absmax(block)), (s0 + s1) + (s2 + s3), total);
        }

        return Vector256.Sum(total);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private float DotAnywhere(int row, float* x)
    {
        byte* packed = weight + ((long)row * rowBytes);
        long flat = (long)row * Inputs;
        Table values = table;
        Vector256<float> s0 = default, s1 = default, s2 = default, s3 = default;
        for (int k = 0; k < PaddedInputs; k += IntAffine.BlockInputs, packed += BlockBytes)
        {
            Scales(flat + k, out Vector256<float> a0, out Vector256<float> a1, out Vector256<float> a2, out Vector256<float> a3);
            FourBits.Unpack(packed, out Vector256<int> v0, out Vector256<int> v1, out Vector256<int> v2, out Vector256<int> v3);
            s0 = Vector256.MultiplyAddEstimate(values.At(v0) * a0, Vector256.Load(x + k), s0);
            s1 = Vector256.MultiplyAddEstimate(values.At(v1) * a1, Vector256.Load(x + k + 8), s1);
            s2 = Vector256.MultiplyAddEstimate(values.At(v2) * a2, Vector256.Load(x + k + 16), s2);
            s3 = Vector256.MultiplyAddEstimate(values.At(v3) * a3, Vector256.Load(x + k + 24), s3);
        }

        return Vector256.Sum((s0 + s1) + (s2 + s3));
    }

    /// <summary>The scales of 32 consecutive weights.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Scales(long flat, out Vector256<float> a0, out Vector256<float> a1, out Vector256<float> a2, out Vector256<float> a3)
    {
        long block = flat >> blockShift;
        // Padding after the last row may lie past the last block.
        a0 = Vector256.Create(Absmax(Math.Min(block, lastBlock)));
        (a1, a2, a3) = (a0, a0, a0);
        // A block is no smaller than the 32, so at most one more begins within them.
        int first = (int)(((block + 1) << blockShift) - flat);
        if (first >= IntAffine.BlockInputs || block >= lastBlock) return;
        Vector256<float> next = Vector256.Create(Absmax(block + 1));
        Vector256<int> lane = Vector256.Create(0, 1, 2, 3, 4, 5, 6, 7);
        a3 = Vector256.ConditionalSelect(Vector256.LessThan(lane + Vector256.Create(24), Vector256.Create(first)).AsSingle(), a0, next);
        a2 = Vector256.ConditionalSelect(Vector256.LessThan(lane + Vector256.Create(16), Vector256.Create(first)).AsSingle(), a0, next);
        a1 = Vector256.ConditionalSelect(Vector256.LessThan(lane + Vector256.Create(8), Vector256.Create(first)).AsSingle(), a0, next);
        a0 = Vector256.ConditionalSelect(Vector256.LessThan(lane, Vector256.Create(first)).AsSingle(), a0, next);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private float Absmax(long block) => nested is null
        ? ((float*)absmax)[block]
        : (Map[absmax[block]] * nested[block / Codebook4.NestedBlockSize]) + offset;

    private static float[] PinnedMap()
    {
        float[] map = GC.AllocateUninitializedArray<float>(Codebook4.DynamicMap.Length, pinned: true);
        Codebook4.DynamicMap.CopyTo(map);
        return map;
    }

    /// <summary>The 16 values in two vectors.</summary>
    private readonly struct Table(Codebook codebook)
    {
        private readonly Vector256<float> low = Vector256.Create(Codebook4.Values(codebook)[..8]);
        private readonly Vector256<float> high = Vector256.Create(Codebook4.Values(codebook)[8..]);

        /// <summary>The values at eight indices of 0 to 15.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Vector256<float> At(Vector256<int> index)
        {
            if (Avx512F.VL.IsSupported) return Avx512F.VL.PermuteVar8x32x2(low, index, high);
            if (Avx2.IsSupported)
            {
                // A permute looks at three bits of an index; the fourth, moved to the sign, chooses between the halves.
                return Avx.BlendVariable(
                    Avx2.PermuteVar8x32(low, index), Avx2.PermuteVar8x32(high, index), (index << 28).AsSingle());
            }

            Vector256<int> within = index & Vector256.Create(7);
            return Vector256.ConditionalSelect(
                Vector256.GreaterThan(index, Vector256.Create(7)).AsSingle(), Vector256.Shuffle(high, within), Vector256.Shuffle(low, within));
        }
    }
}
