using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace QuantBuild.Kernels;

/// <summary>What a linear asks of its input. Linears that ask the same share one.</summary>
/// <param name="SegmentInputs">Inputs that are rounded to bytes with one scale; 0 where the linear reads floats.</param>
/// <param name="Order">The input of each packed column, int [inputs], or 0 where they are in order.</param>
/// <param name="Outliers">Magnitudes from here on are not rounded, and the others of a token share one scale; 0 where there is no such limit.</param>
internal readonly record struct InputForm(int SegmentInputs, IntPtr Order, float Outliers);

/// <summary>
/// The input of a linear for some tokens, as its kernel reads it: floats, or bytes with a scale for each segment of inputs, <c>x = scale * q</c> with q from -127 to 127.
/// </summary>
/// <remarks>
/// Tokens are in blocks of up to <see cref="BlockTokens"/>, and the bytes of a block are [chunks of 32 inputs, tokens, 32]: a kernel that has a chunk of weights in its
/// registers reads a chunk of all tokens in a row.
/// </remarks>
internal sealed unsafe class LinearInput
{
    /// <summary>Tokens that are multiplied with a chunk of weights while it is in registers.</summary>
    public const int BlockTokens = 16;

    private readonly float[] floats;
    private readonly sbyte[] bytes;
    private readonly float[] scales;
    private readonly int[] sums;
    private readonly List<(int Input, float Value)>[] outliers;
    private float* source;
    private int inputs;

    /// <param name="tokens">Most tokens.</param>
    /// <param name="width">Most inputs.</param>
    public LinearInput(int tokens, int width)
    {
        int padded = PackedTiles.PaddedInputs(width);
        floats = GC.AllocateUninitializedArray<float>(checked(tokens * padded), pinned: true);
        bytes = GC.AllocateUninitializedArray<sbyte>(tokens * padded, pinned: true);
        // A segment has at least 16 inputs.
        scales = GC.AllocateUninitializedArray<float>(tokens * padded / 16, pinned: true);
        sums = GC.AllocateUninitializedArray<int>(tokens * padded / 16, pinned: true);
        outliers = [.. Enumerable.Range(0, tokens).Select(_ => new List<(int, float)>())];
    }

    /// <summary>How many tokens.</summary>
    public int Tokens { get; private set; }

    /// <summary>What was asked for.</summary>
    public InputForm Form { get; private set; }

    /// <summary>The floats of the first token.</summary>
    public float* Floats { get; private set; }

    /// <summary>Floats from a token to the next.</summary>
    public int FloatStride { get; private set; }

    private int PaddedInputs { get; set; }

    private int Segments => (PaddedInputs + Form.SegmentInputs - 1) / Form.SegmentInputs;

    /// <summary>Begins to take tokens in.</summary>
    /// <param name="form">What the linear asks for.</param>
    /// <param name="x">[at least first + tokens, inputs].</param>
    /// <param name="first">The first token's row of <paramref name="x"/>.</param>
    /// <param name="tokens">How many.</param>
    /// <returns>Whether <see cref="Prepare"/> has to be called, for all tokens.</returns>
    public bool Begin(InputForm form, Activations x, int first, int tokens)
    {
        (Form, Tokens, PaddedInputs) = (form, tokens, x.Stride);
        Floats = x.Row(first);
        FloatStride = x.Stride;
        if (form is { SegmentInputs: 0, Order: 0, Outliers: 0 }) return false;
        source = Floats;
        inputs = x.Width;
        if (form.SegmentInputs == 0 || form.Order != 0) Floats = First(floats);
        return true;
    }

    /// <summary>Takes some of the tokens in.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Prepare(int from, int to)
    {
        for (int t = from; t < to; t++)
        {
            float* x = source + ((long)t * FloatStride);
            if (Floats != source)
            {
                float* copy = Floats + ((long)t * FloatStride);
                Copy(x, copy);
                x = copy;
            }

            if (Form.SegmentInputs == 0)
            {
                if (Form.Outliers > 0) Int8RowOutlier.RoundActivations(new ReadOnlySpan<float>(x, inputs), new Span<float>(x, inputs), Form.Outliers);
            }
            else if (Form.Outliers > 0)
            {
                RoundRow(t, x);
            }
            else
            {
                RoundSegments(t, x);
            }
        }
    }

    /// <summary>The bytes of the block that begins with a token, [chunks, tokens of the block, 32].</summary>
    public sbyte* Bytes(int first) => First(bytes) + ((long)first * PaddedInputs);

    /// <summary>The scales of the block that begins with a token, [segments, tokens of the block].</summary>
    public float* Scales(int first) => First(scales) + ((long)first * Segments);

    /// <summary>The sums of the bytes of each segment, in the lower 16 bits; the upper ones are 0. [segments, tokens of the block].</summary>
    public int* Sums(int first) => First(sums) + ((long)first * Segments);

    /// <summary>The inputs of a token that were not rounded.</summary>
    public ReadOnlySpan<(int Input, float Value)> Outliers(int token) => CollectionsMarshal.AsSpan(outliers[token]);

    private static T* First<T>(T[] values)
        where T : unmanaged => (T*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(values));

    private void Copy(float* x, float* target)
    {
        int* order = (int*)Form.Order;
        if (order is null)
        {
            new ReadOnlySpan<float>(x, PaddedInputs).CopyTo(new Span<float>(target, PaddedInputs));
            return;
        }

        for (int j = 0; j < inputs; j++) target[j] = x[order[j]];
        for (int j = inputs; j < PaddedInputs; j++) target[j] = 0;
    }

    private void RoundSegments(int t, float* x)
    {
        int first = t / BlockTokens * BlockTokens, count = Math.Min(BlockTokens, Tokens - first), place = t - first;
        sbyte* target = Bytes(first) + (place * PackedTiles.ChunkInputs);
        float* scale = Scales(first) + place;
        int* sum = Sums(first) + place;
        int segment = Form.SegmentInputs;
        for (int start = 0; start < PaddedInputs; start += segment, scale += count, sum += count)
        {
            int end = Math.Min(start + segment, PaddedInputs);
            Vector256<float> largest = default;
            for (int k = start; k < end; k += 8) largest = Vector256.Max(largest, Vector256.Abs(Vector256.Load(x + k)));
            Round(x, start, end, Largest(largest), target, count, scale, sum);
        }
    }

    /// <summary>LLM.int8(): one scale for all inputs of the token, outliers apart.</summary>
    private void RoundRow(int t, float* x)
    {
        int first = t / BlockTokens * BlockTokens, count = Math.Min(BlockTokens, Tokens - first), place = t - first;
        outliers[t].Clear();
        Vector256<float> largestOfAll = default;
        for (int k = 0; k < PaddedInputs; k += 8) largestOfAll = Vector256.Max(largestOfAll, Vector256.Abs(Vector256.Load(x + k)));
        float largest = MathF.Max(Int8RowOutlier.LeastAbsmax, Largest(largestOfAll));
        float* rest = x;
        if (!(largest < Form.Outliers))
        {
            rest = First(floats) + ((long)t * FloatStride);
            largest = TakeOutliers(t, x, rest);
        }

        sbyte* target = Bytes(first) + (place * PackedTiles.ChunkInputs);
        float* scale = Scales(first) + place;
        int* sum = Sums(first) + place;
        for (int start = 0; start < PaddedInputs; start += Form.SegmentInputs, scale += count, sum += count)
        {
            Round(rest, start, Math.Min(start + Form.SegmentInputs, PaddedInputs), largest, target, count, scale, sum);
        }
    }

    /// <summary>Writes down a token's outliers, and a copy without them.</summary>
    /// <returns>The largest magnitude of the others.</returns>
    private float TakeOutliers(int t, float* x, float* rest)
    {
        float largest = Int8RowOutlier.LeastAbsmax;
        for (int k = 0; k < PaddedInputs; k++)
        {
            float magnitude = MathF.Abs(x[k]);
            // Not a number is one, and makes the outputs none.
            bool isOutlier = !(magnitude < Form.Outliers);
            if (isOutlier) outliers[t].Add((k, x[k]));
            else largest = MathF.Max(largest, magnitude);
            rest[k] = isOutlier ? 0 : x[k];
        }

        return largest;
    }

    /// <summary>Rounds a segment.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Round(float* x, int start, int end, float largest, sbyte* target, int count, float* scale, int* sum)
    {
        *scale = largest / 127;
        // A segment of zeros; not one of NaN, whose scale makes all outputs NaN.
        Vector256<float> inverse = Vector256.Create(largest == 0 ? 0 : 127 / largest);
        Vector256<int> total = default;
        for (int k = start; k < end; k += 16)
        {
            Vector256<int> q0 = Vector256.ConvertToInt32(Vector256.Round(Vector256.Load(x + k) * inverse));
            Vector256<int> q1 = Vector256.ConvertToInt32(Vector256.Round(Vector256.Load(x + k + 8) * inverse));
            total += q0 + q1;
            Vector256<short> words = Vector256.Narrow(q0, q1);
            Vector128.Narrow(words.GetLower(), words.GetUpper()).Store(target + ((long)(k / PackedTiles.ChunkInputs) * count * PackedTiles.ChunkInputs) + (k % PackedTiles.ChunkInputs));
        }

        *sum = (ushort)Vector256.Sum(total);
    }

    private static float Largest(Vector256<float> values)
    {
        Vector128<float> four = Vector128.Max(values.GetLower(), values.GetUpper());
        return MathF.Max(MathF.Max(four[0], four[1]), MathF.Max(four[2], four[3]));
    }
}
