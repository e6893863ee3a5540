using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace QuantBuild.Kernels;

/// <summary>How 32 packed integers of one width become four vectors of eight: see <see cref="IntAffine"/> for the layout.</summary>
internal unsafe interface IPackedBlock
{
    /// <summary>Bits of an integer.</summary>
    static abstract int Bits { get; }

    /// <summary>Unpacks values 0 to 7, 8 to 15, 16 to 23 and 24 to 31.</summary>
    static abstract void Unpack(byte* block, out Vector256<int> v0, out Vector256<int> v1, out Vector256<int> v2, out Vector256<int> v3);
}

/// <summary>Two bits: four to a byte.</summary>
internal readonly unsafe struct TwoBits : IPackedBlock
{
    public static int Bits => 2;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, out Vector256<int> v0, out Vector256<int> v1, out Vector256<int> v2, out Vector256<int> v3)
    {
        Vector256<int> mask = Vector256.Create(3);
        Vector256<int> bytes = Widen.Bytes(block);
        v0 = bytes & mask;
        v1 = (bytes >>> 2) & mask;
        v2 = (bytes >>> 4) & mask;
        v3 = bytes >>> 6;
    }
}

/// <summary>Three bits: the low two as in <see cref="TwoBits"/>, then a word of the third.</summary>
internal readonly unsafe struct ThreeBits : IPackedBlock
{
    public static int Bits => 3;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, out Vector256<int> v0, out Vector256<int> v1, out Vector256<int> v2, out Vector256<int> v3)
    {
        TwoBits.Unpack(block, out v0, out v1, out v2, out v3);
        Vector256<int> high = Vector256.Create(*(int*)(block + 8));
        v0 |= Third(high);
        v1 |= Third(high >>> 8);
        v2 |= Third(high >>> 16);
        v3 |= Third(high >>> 24);
    }

    /// <summary>4 in lane i where bit i is set.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Third(Vector256<int> bits)
    {
        Vector256<int> lane = Vector256.Create(1, 2, 4, 8, 16, 32, 64, 128);
        return Vector256.Equals(bits & lane, lane) & Vector256.Create(4);
    }
}

/// <summary>Four bits: two to a byte.</summary>
internal readonly unsafe struct FourBits : IPackedBlock
{
    public static int Bits => 4;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, out Vector256<int> v0, out Vector256<int> v1, out Vector256<int> v2, out Vector256<int> v3)
    {
        Vector256<int> mask = Vector256.Create(15);
        Vector256<int> first = Widen.Bytes(block);
        Vector256<int> second = Widen.Bytes(block + 8);
        v0 = first & mask;
        v1 = second & mask;
        v2 = first >>> 4;
        v3 = second >>> 4;
    }
}

/// <summary>Eight bits: bytes.</summary>
internal readonly unsafe struct EightBits : IPackedBlock
{
    public static int Bits => 8;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, out Vector256<int> v0, out Vector256<int> v1, out Vector256<int> v2, out Vector256<int> v3)
    {
        v0 = Widen.Bytes(block);
        v1 = Widen.Bytes(block + 8);
        v2 = Widen.Bytes(block + 16);
        v3 = Widen.Bytes(block + 24);
    }
}

/// <summary>Eight narrow integers from memory as 32-bit ones.</summary>
internal static unsafe class Widen
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Bytes(byte* source)
    {
        if (Avx2.IsSupported) return Avx2.ConvertToVector256Int32(source);
        return Pair(Vector128.WidenLower(Vector128.CreateScalar(*(ulong*)source).AsByte()));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> UShorts(ushort* source)
    {
        if (Avx2.IsSupported) return Avx2.ConvertToVector256Int32(source);
        return Pair(Vector128.Load(source));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Pair(Vector128<ushort> values) =>
        Vector256.Create(Vector128.WidenLower(values), Vector128.WidenUpper(values)).AsInt32();
}
