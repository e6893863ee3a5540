using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace QuantBuild.Kernels;

/// <summary>
/// A weight in <see cref="PackedTiles"/>: <c>W[n, k] = scale * (v - zero)</c>. Activations are bytes, <c>x = a * q</c>, and a segment of inputs that has one scale and
/// one zero point adds <c>scale * a * (sum v q - zero * sum q)</c> to a row: integers, exact, but for one float32 product and sum.
/// </summary>
/// <remarks>Each product sums in the same order whatever is computed beside it: one token or many, one thread or several.</remarks>
/// <typeparam name="TChunk">How integers are unpacked.</typeparam>
/// <typeparam name="TScales">Where scales and zero points are.</typeparam>
/// <typeparam name="TDot">The instructions.</typeparam>
internal sealed unsafe class PackedMatrix<TChunk, TScales, TDot>(int outputs, int inputs, IntPtr weight, TChunk chunks, TScales scales, InputForm form)
    : WeightMatrix(outputs, inputs)
    where TChunk : struct, IPackedChunk
    where TScales : struct, ITileScales
    where TDot : struct, IDotProduct<TDot>
{
    private const int ChunkInputs = PackedTiles.ChunkInputs;
    private const int HalfChunk = ChunkInputs / 2;

    // How far ahead of the multiplication weights are asked for.
    private const int Ahead = 1024;

    public override InputForm Form => form;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void ReadRows(int first, int count, float* weights)
    {
        int tile = first / RowsAtOnce;
        byte* chunk = Tile(tile);
        byte* vectors = stackalloc byte[PackedTiles.ChunkInputs * RowsAtOnce];
        // Inputs with one scale are whole chunks, or halves; or there are as many scales as inputs, where blocks begin anywhere.
        int step = form.SegmentInputs == 0 ? 1 : Math.Min(form.SegmentInputs, ChunkInputs);
        for (int start = 0; start < PaddedInputs; start += ChunkInputs, chunk += TChunk.Bytes)
        {
            UnpackTo(chunk, vectors);
            for (int from = start; from < Math.Min(start + ChunkInputs, Inputs); from += step)
            {
                int segment = from / Math.Max(1, form.SegmentInputs);
                Vector256<float> scale = scales.At(scales.First(tile), segment);
                Vector256<int> zeros = scales.Zeros(scales.First(tile), segment);
                for (int r = 0; r < count; r++)
                {
                    int row = (first % RowsAtOnce) + r;
                    float s = scale[row], zero = zeros[row];
                    byte* source = vectors + (row * 4);
                    float* target = weights + ((long)r * PaddedInputs);
                    for (int k = from; k < from + step; k++) target[k] = s * (chunks.Number(source[((k - start) / 4 * 4 * RowsAtOnce) + (k % 4)]) - zero);
                }
            }
        }

        for (int r = 0; r < count; r++) new Span<float>(weights + ((long)r * PaddedInputs) + Inputs, PaddedInputs - Inputs).Clear();
    }

    protected override void MultiplyBytes(LinearInput x, int from, int to, float* y, long yStride)
    {
        int tiles = PackedTiles.Count(to);
        for (int tile = from / RowsAtOnce; tile < tiles; tile++)
        {
            for (int first = 0; first < x.Tokens; first += LinearInput.BlockTokens)
            {
                int count = Math.Min(LinearInput.BlockTokens, x.Tokens - first);
                float* target = y + (first * yStride) + (tile * RowsAtOnce);
                if (form.SegmentInputs == HalfChunk) HalfChunks(tile, x, first, count, target, yStride);
                else if (count == 1) One(tile, x, first, target);
                else Block(tile, x, first, count, target, yStride);
            }
        }
    }

    /// <summary>A tile times one token.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void One(int tile, LinearInput x, int token, float* y)
    {
        byte* chunk = Tile(tile);
        sbyte* q = x.Bytes(token);
        float* a = x.Scales(token);
        int* sums = x.Sums(token);
        long at = scales.First(tile);
        int chunksOfSegment = form.SegmentInputs / ChunkInputs;
        Vector256<float> total = default;
        int left = PaddedInputs / ChunkInputs;
        for (int segment = 0; left > 0; segment++, left -= chunksOfSegment)
        {
            Vector256<int> sum = default;
            for (int c = Math.Min(left, chunksOfSegment); c > 0; c--, chunk += TChunk.Bytes, q += ChunkInputs)
            {
                chunks.Unpack(chunk, out var v0, out var v1, out var v2, out var v3, out var v4, out var v5, out var v6, out var v7);
                sum = Dot(sum, v0, v1, v2, v3, v4, v5, v6, v7, q);
            }

            if (scales.HasZeros) sum -= TimesWord(scales.Zeros(at, segment), sums[segment]);
            total = Vector256.MultiplyAddEstimate(Vector256.ConvertToSingle(sum), scales.At(at, segment) * a[segment], total);
        }

        if (form.Outliers > 0 && x.Outliers(token) is { Length: > 0 } outliers) total = AddOutliers(total, tile, outliers);
        Store(total, tile, y);
    }

    /// <summary>A tile times several tokens: a chunk is unpacked once for all of them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Block(int tile, LinearInput x, int first, int count, float* y, long yStride)
    {
        byte* chunk = Tile(tile);
        sbyte* q = x.Bytes(first);
        float* a = x.Scales(first);
        int* sums = x.Sums(first);
        long at = scales.First(tile);
        int chunksOfSegment = form.SegmentInputs / ChunkInputs;
        Vector256<int>* dots = stackalloc Vector256<int>[LinearInput.BlockTokens];
        Vector256<float>* totals = stackalloc Vector256<float>[LinearInput.BlockTokens];
        for (int t = 0; t < count; t++) totals[t] = default;
        int left = PaddedInputs / ChunkInputs;
        for (int segment = 0; left > 0; segment++, left -= chunksOfSegment, a += count, sums += count)
        {
            for (int t = 0; t < count; t++) dots[t] = default;
            for (int c = Math.Min(left, chunksOfSegment); c > 0; c--, chunk += TChunk.Bytes)
            {
                Prefetch(chunk + Ahead);
                chunks.Unpack(chunk, out var v0, out var v1, out var v2, out var v3, out var v4, out var v5, out var v6, out var v7);
                // Variables of this loop alone, which stay in registers: one that lives on is written to memory and read back each time.
                sbyte* next = q;
                for (Vector256<int>* dot = dots; dot < dots + count; dot++, next += ChunkInputs) *dot = Dot(*dot, v0, v1, v2, v3, v4, v5, v6, v7, next);
                q += count * ChunkInputs;
            }

            AddSegment(totals, at, segment, dots, a, sums, count);
        }

        Store(totals, tile, x, first, count, y, yStride);
    }

    /// <summary>The same for one token or several where a segment is half a chunk.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void HalfChunks(int tile, LinearInput x, int first, int count, float* y, long yStride)
    {
        byte* chunk = Tile(tile);
        sbyte* q = x.Bytes(first);
        float* a = x.Scales(first);
        int* sums = x.Sums(first);
        long at = scales.First(tile);
        Vector256<int>* dots = stackalloc Vector256<int>[2 * LinearInput.BlockTokens];
        Vector256<float>* totals = stackalloc Vector256<float>[LinearInput.BlockTokens];
        for (int t = 0; t < count; t++) totals[t] = default;
        for (int k = 0; k < Inputs; k += ChunkInputs, chunk += TChunk.Bytes, a += 2 * count, sums += 2 * count)
        {
            chunks.Unpack(chunk, out var v0, out var v1, out var v2, out var v3, out var v4, out var v5, out var v6, out var v7);
            for (int t = 0; t < count; t++, q += ChunkInputs)
            {
                dots[t] = Dot(default, v0, v1, v2, v3, q);
                dots[count + t] = Dot(default, v4, v5, v6, v7, q + HalfChunk);
            }

            AddSegment(totals, at, k / HalfChunk, dots, a, sums, count);
            if (k + HalfChunk < Inputs) AddSegment(totals, at, (k / HalfChunk) + 1, dots + count, a + count, sums + count, count);
        }

        Store(totals, tile, x, first, count, y, yStride);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void AddSegment(Vector256<float>* totals, long at, int segment, Vector256<int>* dots, float* a, int* sums, int count)
    {
        Vector256<float> scale = scales.At(at, segment);
        Vector256<int> zeros = scales.HasZeros ? scales.Zeros(at, segment) : default;
        for (int t = 0; t < count; t++)
        {
            Vector256<int> dot = dots[t];
            if (scales.HasZeros) dot -= TimesWord(zeros, sums[t]);
            totals[t] = Vector256.MultiplyAddEstimate(Vector256.ConvertToSingle(dot), scale * a[t], totals[t]);
        }
    }

    private void Store(Vector256<float>* totals, int tile, LinearInput x, int first, int count, float* y, long yStride)
    {
        for (int t = 0; t < count; t++)
        {
            if (form.Outliers > 0 && x.Outliers(first + t) is { Length: > 0 } outliers) totals[t] = AddOutliers(totals[t], tile, outliers);
            Store(totals[t], tile, y + (t * yStride));
        }
    }

    /// <summary>Adds what inputs in floating point give: <c>scale * v * x</c>.</summary>
    private Vector256<float> AddOutliers(Vector256<float> total, int tile, ReadOnlySpan<(int Input, float Value)> outliers)
    {
        ReadOnlySpan<byte> packed = new(Tile(tile), PaddedInputs * RowsAtOnce);
        // One scale a row.
        Vector256<float> scale = scales.At(scales.First(tile), 0);
        foreach ((int input, float value) in outliers)
        {
            Vector256<float> weights = default;
            for (int r = 0; r < RowsAtOnce; r++) weights = weights.WithElement(r, (sbyte)PackedTiles.Value(packed, r, input, 8));
            total = Vector256.MultiplyAddEstimate(weights * Vector256.Create(value), scale, total);
        }

        return total;
    }

    /// <summary>Each lane, which fits a word with a sign, times a word in the lower half of an integer.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> TimesWord(Vector256<int> lanes, int word) => Avx2.IsSupported
        // Half the cost of a product of 32 bits: the upper word of a lane is its sign, and meets a zero.
        ? Avx2.MultiplyAddAdjacent(lanes.AsInt16(), Vector256.Create(word).AsInt16())
        : lanes * (short)word;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Dot(Vector256<int> sum, Vector256<byte> v0, Vector256<byte> v1, Vector256<byte> v2, Vector256<byte> v3, sbyte* x)
    {
        if (!TChunk.IsSigned) return TDot.AddUnsigned(sum, v0, v1, v2, v3, x);
        sum = TDot.AddSigned(sum, v0.AsSByte(), x);
        sum = TDot.AddSigned(sum, v1.AsSByte(), x + 4);
        sum = TDot.AddSigned(sum, v2.AsSByte(), x + 8);
        return TDot.AddSigned(sum, v3.AsSByte(), x + 12);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Dot(
        Vector256<int> sum, Vector256<byte> v0, Vector256<byte> v1, Vector256<byte> v2, Vector256<byte> v3,
        Vector256<byte> v4, Vector256<byte> v5, Vector256<byte> v6, Vector256<byte> v7, sbyte* x) => TChunk.IsSigned
        ? Dot(Dot(sum, v0, v1, v2, v3, x), v4, v5, v6, v7, x + 16)
        : TDot.AddUnsigned(sum, v0, v1, v2, v3, v4, v5, v6, v7, x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Store(Vector256<float> total, int tile, float* y)
    {
        int rows = Outputs - (tile * RowsAtOnce);
        if (rows >= RowsAtOnce)
        {
            total.Store(y);
            return;
        }

        for (int r = 0; r < rows; r++) y[r] = total[r];
    }

    private void UnpackTo(byte* chunk, byte* vectors)
    {
        chunks.Unpack(chunk, out var v0, out var v1, out var v2, out var v3, out var v4, out var v5, out var v6, out var v7);
        v0.Store(vectors);
        v1.Store(vectors + 32);
        v2.Store(vectors + 64);
        v3.Store(vectors + 96);
        v4.Store(vectors + 128);
        v5.Store(vectors + 160);
        v6.Store(vectors + 192);
        v7.Store(vectors + 224);
    }

    /// <summary>Begins to read a chunk. The processor foresees it too, but not beyond a page of memory, and several tokens leave time to ask for it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(byte* chunk)
    {
        if (!Sse.IsSupported) return;
        for (int line = 0; line < TChunk.Bytes; line += 64) Sse.Prefetch0(chunk + line);
    }

    private byte* Tile(int tile) => (byte*)weight + ((long)tile * PaddedInputs / ChunkInputs * TChunk.Bytes);
}
