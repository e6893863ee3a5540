using System.Text;
using System.Text.Json;

namespace QuantBuild.Quantization;

/// <summary>
/// A linear as bitsandbytes stores it. NF4 and FP4: <c>weight</c> U8 [N·K/2, 1], the first of two in the high half, and <c>weight.absmax</c>, of which more is in <c>weight.quant_state.*</c>;
/// LLM.int8(): <c>weight</c> I8 [N, K] and <c>SCB</c> F32 [N].
/// </summary>
internal static class BitsAndBytesLinear
{
    private const int LongestState = 1 << 16;

    /// <summary>Finds the tensors of NF4 or FP4; what is returned reads them.</summary>
    public static Func<CodebookLinear> Find(CheckpointLinear linear, Codebook4Format format)
    {
        (int inputs, int outputs) = (linear.Shape.Inputs, linear.Shape.Outputs);
        long elements = (long)inputs * outputs, blocks = Codebook4.Blocks(outputs, inputs, format.BlockSize);
        CheckpointTensor weight = linear.Part(".weight", ElementType.U8, (elements + 1) / 2, 1);
        CheckpointTensor absmax = linear.Part(".weight.absmax", format.DoubleQuantized ? ElementType.U8 : ElementType.F32, blocks);
        CheckpointTensor map = linear.Part(".weight.quant_map", ElementType.F32, 16);
        CheckpointTensor? nested = format.DoubleQuantized
            ? linear.Part(".weight.nested_absmax", ElementType.F32, Codebook4.NestedBlocks(outputs, inputs, format.BlockSize))
            : null;
        CheckpointTensor? nestedMap = format.DoubleQuantized ? linear.Part(".weight.nested_quant_map", ElementType.F32, 256) : null;
        string stateSuffix = ".weight.quant_state.bitsandbytes__" + (format.Codebook == Codebook.Nf4 ? "nf4" : "fp4");
        CheckpointTensor state = State(linear, stateSuffix);
        return () =>
        {
            float offset = CheckState(linear, stateSuffix, state, format);
            CheckTable(linear, ".weight.quant_map", map, Codebook4.Values(format.Codebook));
            if (nestedMap is not null) CheckTable(linear, ".weight.nested_quant_map", nestedMap, Codebook4.DynamicMap);
            BlockAbsmax scales = nested is null ? new(absmax.ReadAll<float>()) : new(absmax.ReadAll<byte>(), nested.ReadAll<float>(), offset);
            CodebookLinear result = new(outputs, inputs, format, scales);
            byte[] pairs = weight.ReadAll<byte>();
            for (long i = 0; i < elements; i++) result.Values[i] = (byte)(i % 2 == 0 ? pairs[i / 2] >> 4 : pairs[i / 2] & 15);
            return result;
        };
    }

    /// <summary>Finds the tensors of LLM.int8(); what is returned reads them.</summary>
    public static Func<Int8Linear> Find(CheckpointLinear linear, Int8RowOutlierFormat format)
    {
        (int inputs, int outputs) = (linear.Shape.Inputs, linear.Shape.Outputs);
        CheckpointTensor weight = linear.Part(".weight", ElementType.I8, outputs, inputs);
        CheckpointTensor absmax = linear.Part(".SCB", ElementType.F32, outputs);
        // Older files do not say that the rows are as they are.
        CheckpointTensor? layout = linear.Tensors.ContainsKey(linear.Name + ".weight_format") ? linear.Part(".weight_format", ElementType.U8) : null;
        return () =>
        {
            if (layout?.ReadAll<byte>()[0] is > 0 and byte order) throw linear.Wrong($"is {order}: the rows are in an order of a GPU's, expected 0", ".weight_format");
            Int8Linear result = new(outputs, inputs, format);
            weight.Read(0, System.Runtime.InteropServices.MemoryMarshal.AsBytes(result.Values.AsSpan()));
            if (result.Values.AsSpan().Contains((sbyte)-128)) throw linear.Wrong("holds -128, expected -127 to 127", ".weight");
            absmax.ReadAll<float>().CopyTo(result.Absmax, 0);
            return result;
        };
    }

    private static CheckpointTensor State(CheckpointLinear linear, string suffix)
    {
        long length = linear.Tensors.GetValueOrDefault(linear.Name + suffix) is { Shape: [long bytes] } ? bytes : 0;
        CheckpointTensor state = linear.Part(suffix, ElementType.U8, length);
        return length <= LongestState ? state : throw linear.Wrong($"has {length} bytes, expected at most {LongestState}", suffix);
    }

    /// <summary>Checks what the linear says of itself.</summary>
    /// <returns>What is added to the scales.</returns>
    private static float CheckState(CheckpointLinear linear, string suffix, CheckpointTensor tensor, Codebook4Format format)
    {
        try
        {
            using JsonDocument state = JsonDocument.Parse(Encoding.UTF8.GetString(tensor.ReadAll<byte>()));
            JsonElement root = state.RootElement;
            void Expect(string member, int expected)
            {
                if (root.GetProperty(member).TryGetInt32(out int actual) && actual == expected) return;
                throw linear.Wrong($"has the {member} {root.GetProperty(member).GetRawText()}, expected {expected}", suffix);
            }

            Expect("blocksize", format.BlockSize);
            long[] shape = [.. root.GetProperty("shape").EnumerateArray().Select(size => size.GetInt64())];
            if (!shape.SequenceEqual([linear.Shape.Outputs, linear.Shape.Inputs]))
            {
                throw linear.Wrong($"has the shape [{string.Join(", ", shape)}], expected [{linear.Shape.Outputs}, {linear.Shape.Inputs}]", suffix);
            }

            if (!format.DoubleQuantized) return 0;
            Expect("nested_blocksize", Codebook4.NestedBlockSize);
            return root.GetProperty("nested_offset").GetSingle();
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw linear.Wrong($"is not the JSON of a quantization state ({e.Message.TrimEnd('.')})", suffix);
        }
    }

    // The kernels have the tables. A processor without fused multiplication rounds the second one's last bit otherwise.
    private static void CheckTable(CheckpointLinear linear, string suffix, CheckpointTensor stored, ReadOnlySpan<float> expected)
    {
        float[] values = stored.ReadAll<float>();
        for (int i = 0; i < values.Length; i++)
        {
            if (!(MathF.Abs(values[i] - expected[i]) <= 1e-6f * MathF.Abs(expected[i]))) throw linear.Wrong($"has {values[i]} at {i}, expected {expected[i]}", suffix);
        }
    }
}
