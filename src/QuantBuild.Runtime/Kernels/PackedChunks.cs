using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace QuantBuild.Kernels;

/// <summary>How a chunk of <see cref="PackedTiles"/> becomes eight vectors of bytes: V[j] holds inputs 4 j to 4 j + 3 of eight rows.</summary>
internal unsafe interface IPackedChunk
{
    /// <summary>Bytes of a chunk.</summary>
    static abstract int Bytes { get; }

    /// <summary>Whether the bytes are signed; else they are 0 to 15.</summary>
    static abstract bool IsSigned { get; }

    /// <summary>The number that an unpacked byte stands for, before zero point and scale; exactly, where the byte is rounded.</summary>
    float Number(byte unpacked);

    /// <summary>Unpacks a chunk.</summary>
    void Unpack(
        byte* chunk, out Vector256<byte> v0, out Vector256<byte> v1, out Vector256<byte> v2, out Vector256<byte> v3,
        out Vector256<byte> v4, out Vector256<byte> v5, out Vector256<byte> v6, out Vector256<byte> v7);
}

/// <summary>Two bits: four to a byte.</summary>
internal readonly unsafe struct TwoBits : IPackedChunk
{
    public static int Bytes => PackedTiles.ChunkInputs * 2;

    public static bool IsSigned => false;

    public float Number(byte unpacked) => unpacked;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Unpack(
        byte* chunk, out Vector256<byte> v0, out Vector256<byte> v1, out Vector256<byte> v2, out Vector256<byte> v3,
        out Vector256<byte> v4, out Vector256<byte> v5, out Vector256<byte> v6, out Vector256<byte> v7)
    {
        // Shifts are of words: what comes from the neighbour is masked away.
        Vector256<ushort> first = Vector256.Load((ushort*)chunk), second = Vector256.Load((ushort*)(chunk + 32)), mask = Vector256.Create((ushort)0x0303);
        v0 = (first & mask).AsByte();
        v1 = ((first >>> 2) & mask).AsByte();
        v2 = ((first >>> 4) & mask).AsByte();
        v3 = ((first >>> 6) & mask).AsByte();
        v4 = (second & mask).AsByte();
        v5 = ((second >>> 2) & mask).AsByte();
        v6 = ((second >>> 4) & mask).AsByte();
        v7 = ((second >>> 6) & mask).AsByte();
    }
}

/// <summary>Three bits: the low two as in <see cref="TwoBits"/>, then a vector of the third bits.</summary>
internal readonly unsafe struct ThreeBits : IPackedChunk
{
    public static int Bytes => PackedTiles.ChunkInputs * 3;

    public static bool IsSigned => false;

    public float Number(byte unpacked) => unpacked;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Unpack(
        byte* chunk, out Vector256<byte> v0, out Vector256<byte> v1, out Vector256<byte> v2, out Vector256<byte> v3,
        out Vector256<byte> v4, out Vector256<byte> v5, out Vector256<byte> v6, out Vector256<byte> v7)
    {
        default(TwoBits).Unpack(chunk, out v0, out v1, out v2, out v3, out v4, out v5, out v6, out v7);
        Vector256<ushort> high = Vector256.Load((ushort*)(chunk + 64)), mask = Vector256.Create((ushort)0x0404);
        v0 |= ((high << 2) & mask).AsByte();
        v1 |= ((high << 1) & mask).AsByte();
        v2 |= (high & mask).AsByte();
        v3 |= ((high >>> 1) & mask).AsByte();
        v4 |= ((high >>> 2) & mask).AsByte();
        v5 |= ((high >>> 3) & mask).AsByte();
        v6 |= ((high >>> 4) & mask).AsByte();
        v7 |= ((high >>> 5) & mask).AsByte();
    }
}

/// <summary>Four bits: two to a byte.</summary>
internal readonly unsafe struct FourBits : IPackedChunk
{
    public static int Bytes => PackedTiles.ChunkInputs * 4;

    public static bool IsSigned => false;

    public float Number(byte unpacked) => unpacked;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Unpack(
        byte* chunk, out Vector256<byte> v0, out Vector256<byte> v1, out Vector256<byte> v2, out Vector256<byte> v3,
        out Vector256<byte> v4, out Vector256<byte> v5, out Vector256<byte> v6, out Vector256<byte> v7)
    {
        Vector256<ushort> mask = Vector256.Create((ushort)0x0F0F);
        Vector256<ushort> first = Vector256.Load((ushort*)chunk), second = Vector256.Load((ushort*)(chunk + 32));
        Vector256<ushort> third = Vector256.Load((ushort*)(chunk + 64)), fourth = Vector256.Load((ushort*)(chunk + 96));
        v0 = (first & mask).AsByte();
        v1 = ((first >>> 4) & mask).AsByte();
        v2 = (second & mask).AsByte();
        v3 = ((second >>> 4) & mask).AsByte();
        v4 = (third & mask).AsByte();
        v5 = ((third >>> 4) & mask).AsByte();
        v6 = (fourth & mask).AsByte();
        v7 = ((fourth >>> 4) & mask).AsByte();
    }
}

/// <summary>Eight bits without a sign, made signed by taking 128 away.</summary>
internal readonly unsafe struct EightBits : IPackedChunk
{
    /// <summary>What is taken away, and so from the zero point too.</summary>
    public const int Offset = 128;

    public static int Bytes => PackedTiles.ChunkInputs * 8;

    public static bool IsSigned => true;

    public float Number(byte unpacked) => (sbyte)unpacked;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Unpack(
        byte* chunk, out Vector256<byte> v0, out Vector256<byte> v1, out Vector256<byte> v2, out Vector256<byte> v3,
        out Vector256<byte> v4, out Vector256<byte> v5, out Vector256<byte> v6, out Vector256<byte> v7)
    {
        default(SignedBytes).Unpack(chunk, out v0, out v1, out v2, out v3, out v4, out v5, out v6, out v7);
        Vector256<byte> sign = Vector256.Create((byte)Offset);
        v0 ^= sign;
        v1 ^= sign;
        v2 ^= sign;
        v3 ^= sign;
        v4 ^= sign;
        v5 ^= sign;
        v6 ^= sign;
        v7 ^= sign;
    }
}

/// <summary>Signed bytes.</summary>
internal readonly unsafe struct SignedBytes : IPackedChunk
{
    public static int Bytes => PackedTiles.ChunkInputs * 8;

    public static bool IsSigned => true;

    public float Number(byte unpacked) => (sbyte)unpacked;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Unpack(
        byte* chunk, out Vector256<byte> v0, out Vector256<byte> v1, out Vector256<byte> v2, out Vector256<byte> v3,
        out Vector256<byte> v4, out Vector256<byte> v5, out Vector256<byte> v6, out Vector256<byte> v7)
    {
        v0 = Vector256.Load(chunk);
        v1 = Vector256.Load(chunk + 32);
        v2 = Vector256.Load(chunk + 64);
        v3 = Vector256.Load(chunk + 96);
        v4 = Vector256.Load(chunk + 128);
        v5 = Vector256.Load(chunk + 160);
        v6 = Vector256.Load(chunk + 192);
        v7 = Vector256.Load(chunk + 224);
    }
}

/// <summary>Indices of four bits into a table of 16 values, made bytes: the values times 127, rounded.</summary>
internal readonly unsafe struct TableEntries : IPackedChunk
{
    /// <summary>What a value of 1 becomes.</summary>
    public const int Largest = 127;

    private readonly Vector256<byte> table;
    private readonly float[] exact = new float[256];

    public TableEntries(ReadOnlySpan<float> values)
    {
        Span<byte> bytes = stackalloc byte[32];
        for (int i = 0; i < bytes.Length; i++)
        {
            // A lookup sees 16 bytes at a time: both halves have the table.
            bytes[i] = (byte)(sbyte)MathF.Round(values[i % 16] * Largest);
            exact[bytes[i]] = values[i % 16] * Largest;
        }

        table = Vector256.Create<byte>(bytes);
    }

    public static int Bytes => PackedTiles.ChunkInputs * 4;

    public static bool IsSigned => true;

    public float Number(byte unpacked) => exact[unpacked];

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Unpack(
        byte* chunk, out Vector256<byte> v0, out Vector256<byte> v1, out Vector256<byte> v2, out Vector256<byte> v3,
        out Vector256<byte> v4, out Vector256<byte> v5, out Vector256<byte> v6, out Vector256<byte> v7)
    {
        default(FourBits).Unpack(chunk, out v0, out v1, out v2, out v3, out v4, out v5, out v6, out v7);
        v0 = Lookup(v0);
        v1 = Lookup(v1);
        v2 = Lookup(v2);
        v3 = Lookup(v3);
        v4 = Lookup(v4);
        v5 = Lookup(v5);
        v6 = Lookup(v6);
        v7 = Lookup(v7);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Vector256<byte> Lookup(Vector256<byte> index)
    {
        if (Avx2.IsSupported) return Avx2.Shuffle(table, index);
        Vector128<byte> half = table.GetLower();
        return Vector256.Create(Vector128.Shuffle(half, index.GetLower()), Vector128.Shuffle(half, index.GetUpper()));
    }
}
