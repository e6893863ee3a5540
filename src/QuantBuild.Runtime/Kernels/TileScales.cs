using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace QuantBuild.Kernels;

/// <summary>What the integers of a tile's eight rows are multiplied by, and what is taken from them first: the same for all inputs of a segment.</summary>
internal interface ITileScales
{
    /// <summary>Whether there are zero points.</summary>
    bool HasZeros { get; }

    /// <summary>Where a tile's scales begin.</summary>
    long First(int tile);

    /// <summary>The scales of eight rows.</summary>
    /// <param name="first">Where the tile's scales begin.</param>
    /// <param name="segment">The segment.</param>
    Vector256<float> At(long first, int segment);

    /// <summary>The zero points of eight rows, each from -128 to 255, as 32-bit integers.</summary>
    Vector256<int> Zeros(long first, int segment);
}

/// <summary>Scales in half precision, [tiles, groups, 8], and zero points, of the same shape, or one for all.</summary>
/// <param name="scales">The scales.</param>
/// <param name="zeros">The zero points, or 0 where all are <paramref name="zero"/>.</param>
/// <param name="zero">What every zero point is, where they are not stored.</param>
/// <param name="offset">What is taken from each stored zero point, because it was taken from the integers.</param>
/// <param name="groups">Groups of a row.</param>
/// <param name="segmentsPerGroup">Segments of a group.</param>
internal readonly unsafe struct GroupScales(IntPtr scales, IntPtr zeros, int zero, int offset, int groups, int segmentsPerGroup) : ITileScales
{
    public bool HasZeros => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public long First(int tile) => (long)tile * groups * PackedTiles.Rows;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector256<float> At(long first, int segment) => Halves.Load((ushort*)scales + Place(first, segment));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector256<int> Zeros(long first, int segment) => zeros == 0
        ? Vector256.Create(zero - offset)
        : Widen.Bytes((byte*)zeros + Place(first, segment)) - Vector256.Create(offset);

    // A division costs as much as all else that is done for a segment.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private long Place(long first, int segment) =>
        first + ((groups == 1 ? 0 : segmentsPerGroup == 1 ? segment : segment / segmentsPerGroup) * (long)PackedTiles.Rows);
}

/// <summary>The absolute maxima of blocks that run over the flattened weight, over what a table of bytes was multiplied by.</summary>
internal readonly unsafe struct BlockScales : ITileScales
{
    // Memory that does not move: a block's scale is one read away.
    private static readonly float[] Map = Pinned(Codebook4.DynamicMap);
    private static readonly float[] Powers = Pinned(KernelPowers);

    private readonly byte* absmax;
    private readonly float* nested;
    private readonly float* map;
    private readonly float offset;
    private readonly int inputs;
    private readonly int segmentInputs;
    private readonly int shift;
    private readonly long last;

    /// <param name="absmax">[blocks], F32, or U8 where double-quantized or powers of two.</param>
    /// <param name="arePowers">Whether they are exponents of two.</param>
    /// <param name="nested">[blocks / 256], or 0.</param>
    /// <param name="offset">Added to each double-quantized maximum.</param>
    /// <param name="linear">The weight.</param>
    /// <param name="blockSize">Weights of a block.</param>
    /// <param name="segmentInputs">Inputs of a segment.</param>
    public BlockScales(IntPtr absmax, bool arePowers, IntPtr nested, float offset, LinearShape linear, int blockSize, int segmentInputs)
    {
        this.absmax = (byte*)absmax;
        this.nested = (float*)nested;
        (this.offset, inputs, this.segmentInputs) = (offset, linear.Inputs, segmentInputs);
        map = arePowers || nested != 0 ? (float*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(arePowers ? Powers : Map)) : null;
        shift = BitOperations.Log2((uint)blockSize);
        last = Codebook4.Blocks(linear.Outputs, linear.Inputs, blockSize) - 1;
    }

    /// <summary>What the table is multiplied by for each exponent of MXFP4, as kernels have it.</summary>
    public static float[] KernelPowers => [.. Enumerable.Range(0, 256).Select(exponent => Codebook4.Power((byte)exponent) / Codebook4.KernelFactor(Codebook.Mxfp4))];

    public bool HasZeros => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public long First(int tile) => (long)tile * PackedTiles.Rows * inputs;

    // A call of its own: in line, it would crowd the products out of the registers.
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    public Vector256<float> At(long first, int segment)
    {
        long flat = first + ((long)segment * segmentInputs);
        return Vector256.Create(
            One(flat), One(flat + inputs), One(flat + (2L * inputs)), One(flat + (3L * inputs)),
            One(flat + (4L * inputs)), One(flat + (5L * inputs)), One(flat + (6L * inputs)), One(flat + (7L * inputs))) * (1f / TableEntries.Largest);
    }

    public Vector256<int> Zeros(long first, int segment) => default;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private float One(long flat)
    {
        // Rows that only fill a tile lie past the last block.
        long block = Math.Min(flat >> shift, last);
        if (map is null) return ((float*)absmax)[block];
        return nested is null ? map[absmax[block]] : (map[absmax[block]] * nested[block / Codebook4.NestedBlockSize]) + offset;
    }

    private static float[] Pinned(ReadOnlySpan<float> values)
    {
        float[] map = GC.AllocateUninitializedArray<float>(values.Length, pinned: true);
        values.CopyTo(map);
        return map;
    }
}

/// <summary>One scale a row: its absolute maximum, [tiles, 8] in F32, over 127.</summary>
internal readonly unsafe struct RowScales(IntPtr absmax) : ITileScales
{
    public bool HasZeros => false;

    public long First(int tile) => (long)tile * PackedTiles.Rows;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector256<float> At(long first, int segment) => Vector256.Load((float*)absmax + first) * (1f / Int8RowOutlier.Largest);

    public Vector256<int> Zeros(long first, int segment) => default;
}

/// <summary>Eight numbers of half precision as float32. Exact for every finite number.</summary>
internal static unsafe class Halves
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load(ushort* source)
    {
        // Exponent and fraction moved into place make a float that is 2^112 too small, subnormal ones included. The sign comes with them, and its copies are masked away.
        Vector256<int> bits = (Widen.Shorts((short*)source) << 13) & Vector256.Create(unchecked((int)0x8FFFE000));
        return bits.AsSingle() * Vector256.Create(5.192296858534828e33f);
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
    public static Vector256<int> SBytes(sbyte* source)
    {
        if (Avx2.IsSupported) return Avx2.ConvertToVector256Int32(source);
        Vector128<short> values = Vector128.WidenLower(Vector128.CreateScalar(*(ulong*)source).AsSByte());
        return Vector256.Create(Vector128.WidenLower(values), Vector128.WidenUpper(values));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Shorts(short* source)
    {
        if (Avx2.IsSupported) return Avx2.ConvertToVector256Int32(source);
        Vector128<short> values = Vector128.Load(source);
        return Vector256.Create(Vector128.WidenLower(values), Vector128.WidenUpper(values));
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
