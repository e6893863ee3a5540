namespace QuantBuild.Quantization;

/// <summary>
/// A linear as AutoGPTQ and GPTQModel store it: <c>W[k, n] = scales[g_idx[k], n] * (qweight[k, n] - qzeros[g_idx[k], n])</c>, the integers in 32-bit words from the lowest bits
/// on; <c>qweight</c> I32 [K·b/32, N] along the inputs, <c>qzeros</c> I32 [G, N·b/32] along the outputs, <c>scales</c> F16 [G, N], <c>g_idx</c> I32 [K].
/// </summary>
internal static class GptqLinear
{
    /// <summary>Finds the tensors; what is returned reads them.</summary>
    /// <param name="linear">The linear.</param>
    /// <param name="format">The format that it gets.</param>
    /// <param name="zerosLessOne">Whether <c>qzeros</c> holds zero points less one.</param>
    public static Func<AffineLinear> Find(CheckpointLinear linear, IntAffineFormat format, bool zerosLessOne)
    {
        (int inputs, int outputs, int bits) = (linear.Shape.Inputs, linear.Shape.Outputs, format.Bits);
        int groups = inputs / format.GroupSize;
        if ((long)inputs * bits % 32 != 0 || (long)outputs * bits % 32 != 0) throw linear.Wrong($"cannot be: {outputs} x {inputs} integers of {bits} bits do not fill 32-bit words", ".qweight");
        CheckpointTensor weight = linear.Part(".qweight", ElementType.I32, (long)inputs * bits / 32, outputs);
        CheckpointTensor zeros = linear.Part(".qzeros", ElementType.I32, groups, (long)outputs * bits / 32);
        CheckpointTensor scales = linear.Part(".scales", ElementType.F16, groups, outputs);
        CheckpointTensor? order = format.Ordered || linear.Tensors.ContainsKey(linear.Name + ".g_idx") ? linear.Part(".g_idx", ElementType.I32, inputs) : null;
        return () =>
        {
            int[]? groupOf = order?.ReadAll<int>();
            AffineLinear result = new(outputs, inputs, bits, format.GroupSize, format.Symmetric) { Order = Order(linear, format, groupOf) };
            uint[] words = weight.ReadAll<uint>();
            Parallel.For(0, outputs, row =>
            {
                for (int column = 0; column < inputs; column++)
                {
                    int input = result.Order?[column] ?? column;
                    result.Values[((long)row * inputs) + column] = Field(words, row, outputs, input, bits);
                }
            });
            Half[] scaleOf = scales.ReadAll<Half>();
            for (int row = 0; row < outputs; row++)
            {
                for (int group = 0; group < groups; group++) result.Scales[(row * groups) + group] = scaleOf[(group * outputs) + row];
            }

            ReadZeros(linear, result, zeros.ReadAll<uint>(), zerosLessOne);
            return result;
        };
    }

    /// <summary>An integer of words that follow each other in steps: the one at a place of a stream of b bits each, from the lowest bit of the first word on.</summary>
    internal static byte Field(uint[] words, int first, int step, int place, int bits)
    {
        long bit = (long)place * bits;
        long word = first + (bit / 32 * step);
        int shift = (int)(bit % 32);
        ulong value = words[word] >> shift;
        // 3 bits do not divide a word: two in 32 integers go over its end.
        if (shift + bits > 32) value |= (ulong)words[word + step] << (32 - shift);
        return (byte)(value & ((1u << bits) - 1));
    }

    private static void ReadZeros(CheckpointLinear linear, AffineLinear result, uint[] words, bool lessOne)
    {
        (int bits, int groups, int outputs) = (result.Bits, result.Groups, result.Outputs);
        int stored = outputs * bits / 32, middle = 1 << (bits - 1), mask = (1 << bits) - 1;
        // Where 1 was taken away from every integer of a word at once, a zero point of 0 has borrowed from its neighbour: adding at once gives back both.
        uint ones = bits switch { 2 => 0x55555555, 4 => 0x11111111, 8 => 0x01010101, _ => 0 };
        bool whole = lessOne && ones != 0 && !result.Symmetric;
        if (whole)
        {
            for (int i = 0; i < words.Length; i++) words[i] = unchecked(words[i] + ones);
        }

        byte[] zeros = result.Zeros;
        for (int group = 0; group < groups; group++)
        {
            for (int row = 0; row < outputs; row++)
            {
                int zero = Field(words, group * stored, 1, row, bits);
                zeros[(row * groups) + group] = (byte)(lessOne && !whole && !result.Symmetric ? (zero + 1) & mask : zero);
            }
        }

        if (!result.Symmetric) return;
        // Files that say "gptq" and hold zero points as they are have been published; of a symmetric one both can be told apart.
        if (!zeros.AsSpan().ContainsAnyExcept((byte)middle) || (lessOne && !zeros.AsSpan().ContainsAnyExcept((byte)(middle - 1))))
        {
            zeros.AsSpan().Fill((byte)middle);
            return;
        }

        throw linear.Wrong($"has other zero points than {middle}, and config.json says that the weights are symmetric", ".qzeros");
    }

    /// <summary>The inputs group by group, each group's in the model's order; <see langword="null"/> where groups are of neighbours.</summary>
    private static int[]? Order(CheckpointLinear linear, IntAffineFormat format, int[]? groupOf)
    {
        if (groupOf is null) return null;
        int[] count = new int[linear.Shape.Inputs / format.GroupSize];
        int[] order = new int[groupOf.Length];
        bool neighbours = true;
        for (int k = 0; k < groupOf.Length; k++)
        {
            int group = groupOf[k];
            if (group < 0 || group >= count.Length || count[group] == format.GroupSize)
            {
                throw linear.Wrong($"puts input {k} into group {group}: there are {count.Length} groups, of {format.GroupSize} inputs each", ".g_idx");
            }

            order[(group * format.GroupSize) + count[group]++] = k;
            neighbours &= group == k / format.GroupSize;
        }

        if (format.Ordered) return order;
        return neighbours ? null : throw linear.Wrong("orders the inputs, and config.json says with \"desc_act\": false that they are in their own order", ".g_idx");
    }
}
