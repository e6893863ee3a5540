namespace QuantBuild.Quantization;

/// <summary>
/// A linear as AutoAWQ stores it in its layout GEMM: <c>W[k, n] = scales[k / g, n] * (qweight[k, n] - qzeros[k / g, n])</c>, 4 bits; <c>qweight</c> I32 [K, N/8] and <c>qzeros</c> I32 [G, N/8]
/// along the outputs, <c>scales</c> F16 [G, N].
/// </summary>
internal static class AwqLinear
{
    private const int Bits = 4;

    // Which of its 8 outputs each 4 bits of a word are, from the lowest on.
    private static readonly int[] Outputs = [0, 2, 4, 6, 1, 3, 5, 7];

    /// <summary>Finds the tensors; what is returned reads them.</summary>
    public static Func<AffineLinear> Find(CheckpointLinear linear, IntAffineFormat format)
    {
        (int inputs, int outputs) = (linear.Shape.Inputs, linear.Shape.Outputs);
        int groups = inputs / format.GroupSize;
        if (outputs % Outputs.Length != 0) throw linear.Wrong($"cannot be: {outputs} outputs of {Bits} bits do not fill 32-bit words", ".qweight");
        CheckpointTensor weight = linear.Part(".qweight", ElementType.I32, inputs, outputs / Outputs.Length);
        CheckpointTensor zeros = linear.Part(".qzeros", ElementType.I32, groups, outputs / Outputs.Length);
        CheckpointTensor scales = linear.Part(".scales", ElementType.F16, groups, outputs);
        return () =>
        {
            AffineLinear result = new(outputs, inputs, Bits, format.GroupSize, symmetric: false);
            Unpack(weight.ReadAll<uint>(), result.Values, outputs);
            Unpack(zeros.ReadAll<uint>(), result.Zeros, outputs);
            Half[] scaleOf = scales.ReadAll<Half>();
            for (int row = 0; row < outputs; row++)
            {
                for (int group = 0; group < groups; group++) result.Scales[(row * groups) + group] = scaleOf[(group * outputs) + row];
            }

            return result;
        };
    }

    /// <summary>[columns, N/8] words as [N, columns] integers.</summary>
    private static void Unpack(uint[] words, byte[] values, int outputs)
    {
        int columns = values.Length / outputs, wordsInColumn = outputs / Outputs.Length;
        Parallel.For(0, wordsInColumn, c =>
        {
            for (int i = 0; i < Outputs.Length; i++)
            {
                Span<byte> row = values.AsSpan(((c * Outputs.Length) + Outputs[i]) * columns, columns);
                for (int k = 0; k < row.Length; k++) row[k] = (byte)((words[(k * wordsInColumn) + c] >> (Bits * i)) & 15);
            }
        });
    }
}
