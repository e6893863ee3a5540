using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace QuantBuild.Kernels;

/// <summary>The bytes of an integer-quantized weight, as <see cref="IntAffine"/> describes them.</summary>
/// <param name="Weight">[outputs, row bytes].</param>
/// <param name="Scales">[outputs, groups].</param>
/// <param name="Zeros">[outputs, groups], or <see langword="null"/> where symmetric.</param>
/// <param name="Order">[inputs], or <see langword="null"/> where the columns are in order.</param>
internal readonly unsafe record struct IntAffineParts(IntPtr Weight, IntPtr Scales, IntPtr Zeros, IntPtr Order);

/// <summary>An integer-quantized weight of one width. Unpacking, the zero point and the product are one pass over the packed bytes.</summary>
internal sealed unsafe class IntAffineMatrix<TBlock> : WeightMatrix
    where TBlock : struct, IPackedBlock
{
    private const int HalfBlock = IntAffine.BlockInputs / 2;

    private readonly byte* weight;
    private readonly Half* scales;
    private readonly byte* zeros;
    private readonly int* order;
    private readonly int groupSize;
    private readonly int groups;
    private readonly int rowBytes;

    public IntAffineMatrix(int outputs, int inputs, int groupSize, IntAffineParts parts)
        : base(outputs, inputs)
    {
        weight = (byte*)parts.Weight;
        scales = (Half*)parts.Scales;
        zeros = (byte*)parts.Zeros;
        order = (int*)parts.Order;
        this.groupSize = groupSize;
        groups = inputs / groupSize;
        rowBytes = IntAffine.RowBytes(inputs, TBlock.Bits);
    }

    private static int BlockBytes => IntAffine.BlockInputs * TBlock.Bits / 8;

    protected override bool PreparesActivations => order is not null;

    // A group covers whole blocks, or is the whole row; else it begins or ends at half a block.
    private bool GroupsAreWholeBlocks => groups == 1 || groupSize % IntAffine.BlockInputs == 0;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void ReadRow(int row, float* weights)
    {
        byte* block = weight + ((long)row * rowBytes);
        for (int start = 0; start < PaddedInputs; start += IntAffine.BlockInputs, block += BlockBytes)
        {
            int first = Group(start);
            int second = Group(start + HalfBlock);
            Vector256<float> scale0 = Vector256.Create(Scale(row, first));
            Vector256<float> scale1 = Vector256.Create(Scale(row, second));
            Vector256<int> zero0 = Vector256.Create(Zero(row, first));
            Vector256<int> zero1 = Vector256.Create(Zero(row, second));
            TBlock.Unpack(block, out Vector256<int> v0, out Vector256<int> v1, out Vector256<int> v2, out Vector256<int> v3);
            (scale0 * Vector256.ConvertToSingle(v0 - zero0)).Store(weights + start);
            (scale0 * Vector256.ConvertToSingle(v1 - zero0)).Store(weights + start + 8);
            (scale1 * Vector256.ConvertToSingle(v2 - zero1)).Store(weights + start + 16);
            (scale1 * Vector256.ConvertToSingle(v3 - zero1)).Store(weights + start + 24);
        }

        for (int k = Inputs; k < PaddedInputs; k++) weights[k] = 0;
    }

    protected override void Prepare(float* x, float* prepared)
    {
        for (int j = 0; j < Inputs; j++) prepared[j] = x[order[j]];
        for (int j = Inputs; j < PaddedInputs; j++) prepared[j] = 0;
    }

    protected override void MultiplyVector(int from, int to, float* x, float* y)
    {
        if (!Vector128.IsHardwareAccelerated)
        {
            MultiplyVectorScalar(from, to, x, y);
            return;
        }

        for (int row = from; row < to; row++) y[row] = GroupsAreWholeBlocks ? DotWholeBlocks(row, x) : DotHalfBlocks(row, x);
    }

    /// <summary>The same product without vectors: for processors that have none, and to test the others against.</summary>
    internal void MultiplyVectorScalar(int from, int to, float* x, float* y)
    {
        for (int row = from; row < to; row++)
        {
            byte* packed = weight + ((long)row * rowBytes);
            float total = 0;
            for (int group = 0; group < groups; group++)
            {
                int zero = Zero(row, group);
                float sum = 0;
                for (int k = group * groupSize; k < (group + 1) * groupSize; k++)
                {
                    ReadOnlySpan<byte> block = new(packed + (k / IntAffine.BlockInputs * BlockBytes), BlockBytes);
                    sum += (IntAffine.Value(block, k % IntAffine.BlockInputs, TBlock.Bits) - zero) * x[k];
                }

                total += Scale(row, group) * sum;
            }

            y[row] = total;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private float DotWholeBlocks(int row, float* x)
    {
        byte* block = weight + ((long)row * rowBytes);
        int blocks = groups == 1 ? PaddedInputs / IntAffine.BlockInputs : groupSize / IntAffine.BlockInputs;
        Vector256<float> total = default;
        for (int group = 0; group < groups; group++)
        {
            Vector256<int> zero = Vector256.Create(Zero(row, group));
            Vector256<float> s0 = default, s1 = default, s2 = default, s3 = default;
            for (int b = 0; b < blocks; b++, block += BlockBytes, x += IntAffine.BlockInputs)
            {
                TBlock.Unpack(block, out Vector256<int> v0, out Vector256<int> v1, out Vector256<int> v2, out Vector256<int> v3);
                s0 = MultiplyAdd(v0 - zero, x, s0);
                s1 = MultiplyAdd(v1 - zero, x + 8, s1);
                s2 = MultiplyAdd(v2 - zero, x + 16, s2);
                s3 = MultiplyAdd(v3 - zero, x + 24, s3);
            }

            total = Vector256.MultiplyAddEstimate(Vector256.Create(Scale(row, group)), (s0 + s1) + (s2 + s3), total);
        }

        return Vector256.Sum(total);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private float DotHalfBlocks(int row, float* x)
    {
        byte* block = weight + ((long)row * rowBytes);
        Vector256<float> total = default;
        for (int start = 0; start < PaddedInputs; start += IntAffine.BlockInputs, block += BlockBytes, x += IntAffine.BlockInputs)
        {
            int first = Group(start);
            int second = Group(start + HalfBlock);
            Vector256<int> zero0 = Vector256.Create(Zero(row, first));
            Vector256<int> zero1 = Vector256.Create(Zero(row, second));
            TBlock.Unpack(block, out Vector256<int> v0, out Vector256<int> v1, out Vector256<int> v2, out Vector256<int> v3);
            Vector256<float> half0 = MultiplyAdd(v1 - zero0, x + 8, MultiplyAdd(v0 - zero0, x, default));
            Vector256<float> half1 = MultiplyAdd(v3 - zero1, x + 24, MultiplyAdd(v2 - zero1, x + 16, default));
            total = Vector256.MultiplyAddEstimate(Vector256.Create(Scale(row, first)), half0, total);
            total = Vector256.MultiplyAddEstimate(Vector256.Create(Scale(row, second)), half1, total);
        }

        return Vector256.Sum(total);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> MultiplyAdd(Vector256<int> values, float* x, Vector256<float> sum) =>
        Vector256.MultiplyAddEstimate(Vector256.ConvertToSingle(values), Vector256.Load(x), sum);

    // Padding belongs to the last group; its activations are zero.
    private int Group(int column) => Math.Min(column / groupSize, groups - 1);

    private float Scale(int row, int group) => (float)scales[((long)row * groups) + group];

    private int Zero(int row, int group) => zeros is null ? 1 << (TBlock.Bits - 1) : zeros[((long)row * groups) + group];
}
