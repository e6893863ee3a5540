namespace QuantBuild.Quantization;

/// <summary>
/// A linear in MXFP4 (OCP Microscaling Formats, 2023), as OpenAI stores those of all experts in one tensor: <c>X_blocks</c> U8 [experts, N, K / 32, 16], the first of two values in the low half, and
/// <c>X_scales</c> U8 [experts, N, K / 32], the exponent of each block's power of two and 127.
/// </summary>
internal static class Mxfp4
{
    private const string BlocksSuffix = "_blocks", ScalesSuffix = "_scales";

    /// <summary>Finds its tensors; what is returned reads the expert's part of them.</summary>
    public static Func<CodebookLinear> Find(CheckpointLinear linear, Codebook4Format format, ExpertPart expert)
    {
        (int inputs, int outputs, int size) = (linear.Shape.Inputs, linear.Shape.Outputs, format.BlockSize);
        if (inputs % size != 0) throw linear.Wrong($"has rows of {inputs} inputs, expected a multiple of {size}", BlocksSuffix);
        CheckpointTensor blocks = linear.Part(BlocksSuffix, ElementType.U8, expert.Count, outputs, inputs / size, size / 2);
        CheckpointTensor scales = linear.Part(ScalesSuffix, ElementType.U8, expert.Count, outputs, inputs / size);
        return () =>
        {
            byte[] exponents = scales.Part(expert.Index).ReadAll<byte>();
            byte largest = exponents.Max();
            // 255 is what is not a number; those just below it make numbers that float32 does not have.
            if (largest > Codebook4.LargestExponent) throw linear.Wrong($"has the exponent {largest} in expert {expert.Index}, expected at most {Codebook4.LargestExponent}", ScalesSuffix);
            CodebookLinear result = new(outputs, inputs, format, new BlockAbsmax(exponents));
            byte[] pairs = blocks.Part(expert.Index).ReadAll<byte>();
            for (long i = 0; i < result.Values.LongLength; i++) result.Values[i] = (byte)(i % 2 == 0 ? pairs[i / 2] & 15 : pairs[i / 2] >> 4);
            return result;
        };
    }
}
