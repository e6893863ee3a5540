using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace QuantBuild.Kernels;

/// <summary>softmax(q K^T / sqrt(headDim)) V for one query: one head of one token.</summary>
internal static unsafe class AttentionKernel
{
    /// <summary>Computes one head's result.</summary>
    /// <param name="query">[headDim].</param>
    /// <param name="keys">[length, headDim].</param>
    /// <param name="values">[length, headDim].</param>
    /// <param name="scores">Room for [length].</param>
    /// <param name="result">Receives [headDim].</param>
    public static void Attend(ReadOnlySpan<float> query, ReadOnlySpan<float> keys, ReadOnlySpan<float> values, Span<float> scores, Span<float> result)
    {
        fixed (float* q = query, k = keys, v = values, s = scores, r = result)
        {
            Score(q, k, s, scores.Length, query.Length);
            float sum = Softmax(scores);
            Mix(s, v, r, scores.Length, query.Length, 1 / sum);
        }
    }

    /// <summary>s[j] = q . k[j] / sqrt(headDim).</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Score(float* q, float* k, float* s, int length, int headDim)
    {
        float scale = 1 / MathF.Sqrt(headDim);
        for (int j = 0; j < length; j++, k += headDim)
        {
            Vector256<float> sums = default;
            int i = 0;
            for (; i <= headDim - 8; i += 8) sums = Vector256.MultiplyAddEstimate(Vector256.Load(q + i), Vector256.Load(k + i), sums);
            float sum = Vector256.Sum(sums);
            for (; i < headDim; i++) sum += q[i] * k[i];
            s[j] = sum * scale;
        }
    }

    /// <summary>s[j] = exp(s[j] - max s); their sum.</summary>
    private static float Softmax(Span<float> scores)
    {
        TensorPrimitives.Subtract(scores, TensorPrimitives.Max<float>(scores), scores);
        TensorPrimitives.Exp(scores, scores);
        return TensorPrimitives.Sum<float>(scores);
    }

    /// <summary>r = scale * sum of s[j] v[j], 32 dimensions at a time in registers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Mix(float* s, float* v, float* r, int length, int headDim, float scale)
    {
        int i = 0;
        for (; i <= headDim - 32; i += 32)
        {
            Vector256<float> r0 = default, r1 = default, r2 = default, r3 = default;
            float* row = v + i;
            for (int j = 0; j < length; j++, row += headDim)
            {
                Vector256<float> weight = Vector256.Create(s[j]);
                r0 = Vector256.MultiplyAddEstimate(weight, Vector256.Load(row), r0);
                r1 = Vector256.MultiplyAddEstimate(weight, Vector256.Load(row + 8), r1);
                r2 = Vector256.MultiplyAddEstimate(weight, Vector256.Load(row + 16), r2);
                r3 = Vector256.MultiplyAddEstimate(weight, Vector256.Load(row + 24), r3);
            }

            (r0 * scale).Store(r + i);
            (r1 * scale).Store(r + i + 8);
            (r2 * scale).Store(r + i + 16);
            (r3 * scale).Store(r + i + 24);
        }

        for (; i < headDim; i++)
        {
            float sum = 0;
            for (int j = 0; j < length; j++) sum += s[j] * v[((long)j * headDim) + i];
            r[i] = sum * scale;
        }
    }
}
