using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace QuantBuild.Kernels;

/// <summary>
/// Sums of products of weights and activations in bytes: in lane r, a row's 4 consecutive weights times 4 activations. All give the same integers; which one is used
/// depends on the processor alone.
/// </summary>
/// <typeparam name="TSelf">The instructions.</typeparam>
internal unsafe interface IDotProduct<TSelf>
    where TSelf : struct, IDotProduct<TSelf>
{
    /// <summary>Whether this processor has what it needs.</summary>
    static abstract bool IsSupported { get; }

    /// <summary>sum + the products of 4 weights a row, -128 to 127 each, with 4 activations, -127 to 127.</summary>
    static abstract Vector256<int> AddSigned(Vector256<int> sum, Vector256<sbyte> v, sbyte* x);

    /// <summary>sum + the products of 16 weights a row, 0 to 15 each, with 16 activations, -127 to 127.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static virtual Vector256<int> AddUnsigned(Vector256<int> sum, Vector256<byte> v0, Vector256<byte> v1, Vector256<byte> v2, Vector256<byte> v3, sbyte* x)
    {
        // Values up to 15 are the same with a sign.
        sum = TSelf.AddSigned(sum, v0.AsSByte(), x);
        sum = TSelf.AddSigned(sum, v1.AsSByte(), x + 4);
        sum = TSelf.AddSigned(sum, v2.AsSByte(), x + 8);
        return TSelf.AddSigned(sum, v3.AsSByte(), x + 12);
    }

    /// <summary>sum + the products of 32 weights a row, 0 to 15 each, with 32 activations, -127 to 127.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static virtual Vector256<int> AddUnsigned(
        Vector256<int> sum, Vector256<byte> v0, Vector256<byte> v1, Vector256<byte> v2, Vector256<byte> v3,
        Vector256<byte> v4, Vector256<byte> v5, Vector256<byte> v6, Vector256<byte> v7, sbyte* x) =>
        TSelf.AddUnsigned(TSelf.AddUnsigned(sum, v0, v1, v2, v3, x), v4, v5, v6, v7, x + 16);
}

/// <summary>Four activations in each lane.</summary>
internal static unsafe class Broadcast
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<sbyte> Four(sbyte* x) => Vector256.Create(*(int*)x).AsSByte();
}

/// <summary>AVX2: products of bytes are added in words first; with weights up to 15, eight pairs stay below 2^15.</summary>
internal readonly unsafe struct Avx2DotProduct : IDotProduct<Avx2DotProduct>
{
    public static bool IsSupported => Avx2.IsSupported;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> AddUnsigned(Vector256<int> sum, Vector256<byte> v0, Vector256<byte> v1, Vector256<byte> v2, Vector256<byte> v3, sbyte* x) =>
        sum + Avx2.MultiplyAddAdjacent(Words(v0, v1, v2, v3, x), Vector256.Create((short)1));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> AddUnsigned(
        Vector256<int> sum, Vector256<byte> v0, Vector256<byte> v1, Vector256<byte> v2, Vector256<byte> v3,
        Vector256<byte> v4, Vector256<byte> v5, Vector256<byte> v6, Vector256<byte> v7, sbyte* x) =>
        sum + Avx2.MultiplyAddAdjacent(Words(v0, v1, v2, v3, x) + Words(v4, v5, v6, v7, x + 16), Vector256.Create((short)1));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> AddSigned(Vector256<int> sum, Vector256<sbyte> v, sbyte* x)
    {
        // The instruction takes one side without a sign: the weights' signs go to the activations. -128 has the magnitude 128 without a sign.
        Vector256<short> words = Avx2.MultiplyAddAdjacent(Avx2.Abs(v), Avx2.Sign(Broadcast.Four(x), v));
        return sum + Avx2.MultiplyAddAdjacent(words, Vector256.Create((short)1));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<short> Words(Vector256<byte> v0, Vector256<byte> v1, Vector256<byte> v2, Vector256<byte> v3, sbyte* x) =>
        (Avx2.MultiplyAddAdjacent(v0, Broadcast.Four(x)) + Avx2.MultiplyAddAdjacent(v1, Broadcast.Four(x + 4)))
        + (Avx2.MultiplyAddAdjacent(v2, Broadcast.Four(x + 8)) + Avx2.MultiplyAddAdjacent(v3, Broadcast.Four(x + 12)));
}

/// <summary>AVX-VNNI: one instruction multiplies and adds four bytes of each lane.</summary>
internal readonly unsafe struct AvxVnniDotProduct : IDotProduct<AvxVnniDotProduct>
{
    public static bool IsSupported => AvxVnni.IsSupported;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> AddUnsigned(Vector256<int> sum, Vector256<byte> v0, Vector256<byte> v1, Vector256<byte> v2, Vector256<byte> v3, sbyte* x)
    {
        sum = AvxVnni.MultiplyWideningAndAdd(sum, v0, Broadcast.Four(x));
        sum = AvxVnni.MultiplyWideningAndAdd(sum, v1, Broadcast.Four(x + 4));
        sum = AvxVnni.MultiplyWideningAndAdd(sum, v2, Broadcast.Four(x + 8));
        return AvxVnni.MultiplyWideningAndAdd(sum, v3, Broadcast.Four(x + 12));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> AddSigned(Vector256<int> sum, Vector256<sbyte> v, sbyte* x) =>
        AvxVnni.MultiplyWideningAndAdd(sum, Avx2.Abs(v), Avx2.Sign(Broadcast.Four(x), v));
}

/// <summary>Arm64 with the dot-product instructions.</summary>
internal readonly unsafe struct ArmDotProduct : IDotProduct<ArmDotProduct>
{
    public static bool IsSupported => Dp.IsSupported;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> AddSigned(Vector256<int> sum, Vector256<sbyte> v, sbyte* x)
    {
        Vector128<sbyte> four = Vector128.Create(*(int*)x).AsSByte();
        return Vector256.Create(Dp.DotProduct(sum.GetLower(), v.GetLower(), four), Dp.DotProduct(sum.GetUpper(), v.GetUpper(), four));
    }
}

/// <summary>Any processor, and what the others are tested against: each lane of 32 bits is taken apart into its four bytes.</summary>
internal readonly unsafe struct PortableDotProduct : IDotProduct<PortableDotProduct>
{
    public static bool IsSupported => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> AddSigned(Vector256<int> sum, Vector256<sbyte> v, sbyte* x)
    {
        Vector256<int> lanes = v.AsInt32();
        return sum + (((lanes << 24) >> 24) * x[0]) + (((lanes << 16) >> 24) * x[1]) + (((lanes << 8) >> 24) * x[2]) + ((lanes >> 24) * x[3]);
    }
}
