using System.Text;
using TorchSharp;

namespace QuantBuild.Quantization.Tests;

/// <summary>Checkpoints that are packed here from the formats' descriptions, and the weights that those descriptions say they are.</summary>
public sealed class QuantizedCheckpointTests
{
    private const string Name = "model.layers.0.mlp.up_proj";

    private static readonly LinearShape Shape = new(Name, Inputs: 96, Outputs: 64);
    private static readonly DecoderConfig Config = DecoderConfig.Parse(ModelWeightsTests.Config, "config.json");

    public QuantizedCheckpointTests() => NativeLibraries.Load();

    [Theory]
    [InlineData(2, 32, false, false, false)]
    [InlineData(3, 32, false, false, false)]
    [InlineData(4, 32, false, false, false)]
    [InlineData(8, 32, false, false, false)]
    [InlineData(2, 32, false, false, true)]
    [InlineData(3, 32, false, false, true)]
    [InlineData(4, 32, false, false, true)]
    [InlineData(8, 32, false, false, true)]
    [InlineData(3, 32, true, false, true)]
    [InlineData(4, 32, true, false, true)]
    [InlineData(4, 32, false, true, true)]
    [InlineData(4, 96, false, false, true)]
    public void Gptq_keeps_every_integer_scale_and_zero_point(int bits, int groupSize, bool symmetric, bool ordered, bool lessOne)
    {
        Random random = new(bits + groupSize);
        int groups = Shape.Inputs / groupSize;
        int[] order = [.. Enumerable.Range(0, Shape.Inputs)];
        if (ordered) random.Shuffle(order);
        int[] groupOf = new int[Shape.Inputs];
        for (int j = 0; j < order.Length; j++) groupOf[order[j]] = j / groupSize;
        byte[,] q = Integers(random, Shape.Inputs, Shape.Outputs, 1 << bits);
        // The first writers take 1 away from a word as a whole, which 0 would borrow for.
        byte[,] z = symmetric ? Integers(random, groups, Shape.Outputs, 1) : Integers(random, groups, Shape.Outputs, 1 << bits, least: lessOne ? 1 : 0);
        if (symmetric) for (int g = 0; g < groups; g++) for (int n = 0; n < Shape.Outputs; n++) z[g, n] = (byte)(1 << (bits - 1));
        Half[,] s = Scales(random, groups);
        Dictionary<string, CheckpointTensor> tensors = GptqCheckpoint(Name, q, z, s, groupOf, bits, lessOne);

        QuantizedLinear linear = Read(tensors, Gptq(bits, groupSize, symmetric, ordered, lessOne));

        AssertWeights(linear, (n, k) => (float)s[groupOf[k], n] * (q[k, n] - z[groupOf[k], n]));
    }

    [Fact]
    public void Gptq_zero_points_of_0_that_borrowed_from_their_neighbours_come_back()
    {
        Random random = new(1);
        byte[,] q = Integers(random, Shape.Inputs, Shape.Outputs, 16), z = Integers(random, 3, Shape.Outputs, 3);
        Half[,] s = Scales(random, 3);
        int[] groupOf = [.. Enumerable.Range(0, Shape.Inputs).Select(k => k / 32)];
        uint[] words = [.. Pack(z, 4, alongRows: false).Select(word => unchecked(word - 0x11111111))];
        Dictionary<string, CheckpointTensor> tensors = GptqCheckpoint(Name, q, z, s, groupOf, 4, lessOne: false);
        tensors[Name + ".qzeros"] = Tensor(Name + ".qzeros", ElementType.I32, [3, Shape.Outputs / 8], Bytes(words));
        AssertWeights(Read(tensors, Gptq(4, 32, false, false, lessOne: true)), (n, k) => (float)s[k / 32, n] * (q[k, n] - z[k / 32, n]));
    }

    [Theory]
    [InlineData(2, 0x55555555u, 0xAAAAAAAAu)]
    [InlineData(4, 0x77777777u, 0x88888888u)]
    [InlineData(8, 0x7F7F7F7Fu, 0x80808080u)]
    public void A_symmetric_gptq_may_hold_either_form_whatever_it_says(int bits, uint first, uint second)
    {
        Random random = new(2);
        byte[,] q = Integers(random, Shape.Inputs, Shape.Outputs, 1 << bits), z = Integers(random, 3, Shape.Outputs, 1);
        Half[,] s = Scales(random, 3);
        int[] groupOf = [.. Enumerable.Range(0, Shape.Inputs).Select(k => k / 32)];
        foreach (uint word in new[] { first, second })
        {
            Dictionary<string, CheckpointTensor> tensors = GptqCheckpoint(Name, q, z, s, groupOf, bits, lessOne: false);
            uint[] words = new uint[3 * Shape.Outputs * bits / 32];
            words.AsSpan().Fill(word);
            tensors[Name + ".qzeros"] = Tensor(Name + ".qzeros", ElementType.I32, [3, Shape.Outputs * bits / 32], Bytes(words));
            AssertWeights(Read(tensors, Gptq(bits, 32, true, false, lessOne: true)), (n, k) => (float)s[k / 32, n] * (q[k, n] - (1 << (bits - 1))));
        }

        Dictionary<string, CheckpointTensor> other = GptqCheckpoint(Name, q, z, s, groupOf, bits, lessOne: false);
        AssertWrong(other, Gptq(bits, 32, true, false, lessOne: true), ".qzeros");
    }

    [Fact]
    public void Awq_undoes_the_order_in_a_word()
    {
        Random random = new(3);
        byte[,] q = Integers(random, Shape.Inputs, Shape.Outputs, 16), z = Integers(random, 3, Shape.Outputs, 16);
        Half[,] s = Scales(random, 3);
        AssertWeights(Read(AwqCheckpoint(Name, q, z, s), Of("""{"quant_method":"awq","bits":4,"group_size":32,"zero_point":true,"version":"GEMM"}""")), (n, k) => (float)s[k / 32, n] * (q[k, n] - z[k / 32, n]));
    }

    [Theory]
    [InlineData(Codebook.Nf4, true)]
    [InlineData(Codebook.Nf4, false)]
    [InlineData(Codebook.Fp4, true)]
    public void BitsAndBytes_keeps_every_code_and_scale(Codebook codebook, bool nested)
    {
        Random random = new(4);
        int elements = Shape.Inputs * Shape.Outputs, blocks = elements / 64;
        byte[] codes = [.. Enumerable.Range(0, elements).Select(_ => (byte)random.Next(16))];
        byte[] absmaxCodes = [.. Enumerable.Range(0, blocks).Select(_ => (byte)random.Next(256))];
        float[] absmax = [.. Enumerable.Range(0, blocks).Select(_ => random.NextSingle())];
        const float nestedAbsmax = 0.03f, offset = 0.125f;
        Dictionary<string, CheckpointTensor> tensors = BitsAndBytesCheckpoint(Name, Shape, codebook, codes, nested ? null : absmax, absmaxCodes, nestedAbsmax, offset);

        QuantizedLinear linear = Read(tensors, Of(
            $$"""{"quant_method":"bitsandbytes","load_in_4bit":true,"bnb_4bit_quant_type":"{{(codebook == Codebook.Nf4 ? "nf4" : "fp4")}}","bnb_4bit_use_double_quant":{{(nested ? "true" : "false")}}}"""));

        AssertWeights(linear, (n, k) =>
        {
            int i = (n * Shape.Inputs) + k;
            return Codebook4.Values(codebook)[codes[i]] * (nested ? (Codebook4.DynamicMap[absmaxCodes[i / 64]] * nestedAbsmax) + offset : absmax[i / 64]);
        });
        tensors[Name + ".weight.quant_map"] = Tensor(Name + ".weight.quant_map", ElementType.F32, [16], Bytes([.. Enumerable.Range(0, 16).Select(i => (float)i)]));
        AssertWrong(tensors, Of(
            $$"""{"quant_method":"bitsandbytes","load_in_4bit":true,"bnb_4bit_quant_type":"{{(codebook == Codebook.Nf4 ? "nf4" : "fp4")}}","bnb_4bit_use_double_quant":{{(nested ? "true" : "false")}}}"""),
            ".weight.quant_map");
    }

    [Fact]
    public void BitsAndBytes_int8_keeps_every_integer_and_row_scale()
    {
        Random random = new(5);
        sbyte[] q = [.. Enumerable.Range(0, Shape.Inputs * Shape.Outputs).Select(_ => (sbyte)random.Next(-127, 128))];
        float[] absmax = [.. Enumerable.Range(0, Shape.Outputs).Select(_ => random.NextSingle() + 0.1f)];
        Dictionary<string, CheckpointTensor> tensors = Int8Checkpoint(Name, Shape, q, absmax);
        AssertWeights(
            Read(tensors, Of("""{"quant_method":"bitsandbytes","load_in_8bit":true}""")), (n, k) => q[(n * Shape.Inputs) + k] * absmax[n] * (1f / 127));
    }

    // The parts of each of four heads one after the other, as in GPT-NeoX; all of a part together, as in Phi 3.
    [Theory]
    [InlineData("gptq", 16)]
    [InlineData("awq", 16)]
    [InlineData("nf4", 16)]
    [InlineData("int8", 16)]
    [InlineData("gptq", 64)]
    [InlineData("nf4", 64)]
    public void What_is_fused_is_taken_apart_to_the_bit(string format, int rowsOfBlock)
    {
        Random random = new(8);
        const int parts = 3;
        LinearShape fused = new("model.layers.0.mlp.fused", Shape.Inputs, parts * Shape.Outputs);
        int elements = fused.Inputs * fused.Outputs;
        byte[,] q = Integers(random, fused.Inputs, fused.Outputs, 16), z = Integers(random, 3, fused.Outputs, 16, least: 1);
        Half[,] s = Scales(random, 3, fused.Outputs);
        int[] groupOf = [.. Enumerable.Range(0, fused.Inputs).Select(k => k % 3)];
        (CheckpointQuantization quantization, Dictionary<string, CheckpointTensor> tensors) = format switch
        {
            "gptq" => (Gptq(4, 32, false, true, true), GptqCheckpoint(fused.Name, q, z, s, groupOf, 4, true)),
            "awq" => (Of("""{"quant_method":"awq","bits":4,"group_size":32}"""), AwqCheckpoint(fused.Name, q, z, s)),
            "nf4" => (Of("""{"quant_method":"bitsandbytes","load_in_4bit":true,"bnb_4bit_quant_type":"nf4"}"""), BitsAndBytesCheckpoint(
                fused.Name, fused, Codebook.Nf4, [.. Enumerable.Range(0, elements).Select(_ => (byte)random.Next(16))], [.. Enumerable.Range(0, elements / 64).Select(_ => random.NextSingle())], [], 0, 0)),
            _ => (Of("""{"quant_method":"bitsandbytes","load_in_8bit":true}"""), Int8Checkpoint(
                fused.Name, fused, [.. Enumerable.Range(0, elements).Select(_ => (sbyte)random.Next(-127, 128))], [.. Enumerable.Range(0, fused.Outputs).Select(_ => random.NextSingle() + 0.1f)])),
        };
        using torch.Tensor whole = new QuantizedCheckpoint(quantization, new WeightNames(), tensors).Read(fused, quantization.Spec!).Dequantize(torch.CPU);
        float[] all = whole.data<float>().ToArray();
        long bytes = 0;
        for (int part = 0; part < parts; part++)
        {
            RowBlocks rows = new(part * rowsOfBlock, rowsOfBlock, parts * rowsOfBlock, Shape.Outputs / rowsOfBlock, fused.Outputs);
            QuantizedCheckpoint checkpoint = new(quantization, new WeightNames().With("mlp.up_proj", "mlp.fused", rows), tensors);
            AssertWeights(checkpoint.Read(Shape, quantization.Spec!), (n, k) => all[(rows[n] * fused.Inputs) + k]);
            bytes += checkpoint.Bytes(Shape, quantization.Spec!);
        }

        Assert.InRange(tensors.Values.Where(tensor => !tensor.Name.Contains("format", StringComparison.Ordinal)).Sum(tensor => tensor.StoredBytes) - bytes, 0, parts);
    }

    // 256 blocks of 64 share a scale of their scales.
    [Theory]
    [InlineData(256, true)]
    [InlineData(128, false)]
    public void Doubly_quantized_parts_have_to_be_of_whole_blocks(int inputs, bool whole)
    {
        Random random = new(9);
        LinearShape part = new(Name, inputs, 64), fused = new("model.layers.0.mlp.fused", inputs, 192);
        int elements = fused.Inputs * fused.Outputs;
        CheckpointQuantization quantization = Of("""{"quant_method":"bitsandbytes","load_in_4bit":true,"bnb_4bit_quant_type":"nf4","bnb_4bit_use_double_quant":true}""");
        Dictionary<string, CheckpointTensor> tensors = BitsAndBytesCheckpoint(
            fused.Name, fused, Codebook.Nf4, [.. Enumerable.Range(0, elements).Select(_ => (byte)random.Next(16))], null, [.. Enumerable.Range(0, elements / 64).Select(_ => (byte)random.Next(256))], 0.03f, 0.125f);
        float[] nested = [.. Enumerable.Range(0, (elements + 16383) / 16384).Select(i => 0.01f * (i + 1))];
        string name = fused.Name + ".weight.nested_absmax";
        tensors[name] = Tensor(name, ElementType.F32, [nested.Length], Bytes(nested));
        float[] all = [.. new QuantizedCheckpoint(quantization, new WeightNames(), tensors).Read(fused, quantization.Spec!).Dequantize(torch.CPU).data<float>()];
        QuantizedCheckpoint checkpoint = new(quantization, new WeightNames().With("mlp.up_proj", "mlp.fused", RowBlocks.Run(64, 64, 192)), tensors);
        if (whole) Assert.Equal(all[(64 * inputs)..(128 * inputs)], checkpoint.Read(part, quantization.Spec!).Dequantize(torch.CPU).data<float>().ToArray());
        else Assert.Equal(DiagnosticIds.ConfigUnsupported, Assert.Throws<QuantBuildException>(() => checkpoint.Read(part, quantization.Spec!)).Id);
    }

    [Theory]
    [InlineData(".qweight")]
    [InlineData(".scales")]
    [InlineData(".g_idx")]
    public void A_part_that_is_missing_or_of_another_shape_is_an_error(string suffix)
    {
        Random random = new(6);
        CheckpointQuantization quantization = Gptq(4, 32, false, true, true);
        Dictionary<string, CheckpointTensor> tensors = GptqCheckpoint(
            Name, Integers(random, Shape.Inputs, Shape.Outputs, 16), Integers(random, 3, Shape.Outputs, 16), Scales(random, 3), [.. Enumerable.Range(0, Shape.Inputs).Select(k => k / 32)], 4, true);
        CheckpointTensor part = tensors[Name + suffix];
        tensors[Name + suffix] = Tensor(Name + suffix, part.Type, [part.Shape[0] + 1, .. part.Shape.Skip(1)], new byte[part.ByteLength / part.Shape[0] * (part.Shape[0] + 1)]);
        AssertWrong(tensors, quantization, suffix);
        tensors.Remove(Name + suffix);
        Assert.Equal(DiagnosticIds.TensorMissing, Assert.Throws<QuantBuildException>(() => Read(tensors, quantization)).Id);
    }

    [Fact]
    public void Groups_that_are_not_whole_are_an_error()
    {
        Random random = new(7);
        int[] groupOf = [.. Enumerable.Range(0, Shape.Inputs).Select(k => k / 32)];
        groupOf[0] = 1;
        AssertWrong(
            GptqCheckpoint(Name, Integers(random, Shape.Inputs, Shape.Outputs, 16), Integers(random, 3, Shape.Outputs, 16), Scales(random, 3), groupOf, 4, true), Gptq(4, 32, false, true, true), ".g_idx");
        groupOf[0] = int.MinValue;
        AssertWrong(
            GptqCheckpoint(Name, Integers(random, Shape.Inputs, Shape.Outputs, 16), Integers(random, 3, Shape.Outputs, 16), Scales(random, 3), groupOf, 4, true), Gptq(4, 32, false, true, true), ".g_idx");
    }

    /// <summary>What a <c>quantization_config</c> says.</summary>
    internal static CheckpointQuantization Of(string json) =>
        DecoderConfig.Parse(ModelWeightsTests.Config.TrimEnd().TrimEnd('}') + $",\"quantization_config\": {json}}}", "config.json").Quantization!;

    internal static CheckpointQuantization Gptq(int bits, int groupSize, bool symmetric, bool ordered, bool lessOne) => Of(GptqJson(bits, groupSize, symmetric, ordered, lessOne));

    internal static string GptqJson(int bits, int groupSize, bool symmetric, bool ordered, bool lessOne)
    {
        static string Json(bool value) => value ? "true" : "false";
        return $$"""
            {"quant_method":"gptq","bits":{{bits}},"group_size":{{(groupSize == Shape.Inputs ? -1 : groupSize)}},"desc_act":{{Json(ordered)}},"sym":{{Json(symmetric)}},
             "checkpoint_format":"{{(lessOne ? "gptq" : "gptq_v2")}}"}
            """;
    }

    /// <summary>A linear as GPTQ's tools store it.</summary>
    /// <param name="name">The linear.</param>
    /// <param name="q">Integers, [K, N].</param>
    /// <param name="z">Zero points, [G, N].</param>
    /// <param name="s">Scales, [G, N].</param>
    /// <param name="groupOf">The group of each input.</param>
    /// <param name="bits">Bits of an integer.</param>
    /// <param name="lessOne">Whether zero points are stored less one.</param>
    internal static Dictionary<string, CheckpointTensor> GptqCheckpoint(string name, byte[,] q, byte[,] z, Half[,] s, int[] groupOf, int bits, bool lessOne)
    {
        int inputs = q.GetLength(0), outputs = q.GetLength(1), groups = z.GetLength(0);
        byte[,] stored = (byte[,])z.Clone();
        if (lessOne) for (int g = 0; g < groups; g++) for (int n = 0; n < outputs; n++) stored[g, n]--;
        return Named(
            Tensor(name + ".qweight", ElementType.I32, [inputs * bits / 32, outputs], Bytes(Pack(q, bits, alongRows: true))),
            Tensor(name + ".qzeros", ElementType.I32, [groups, outputs * bits / 32], Bytes(Pack(stored, bits, alongRows: false))),
            Tensor(name + ".scales", ElementType.F16, [groups, outputs], Bytes(s.Cast<Half>().ToArray())),
            Tensor(name + ".g_idx", ElementType.I32, [inputs], Bytes(groupOf)));
    }

    internal static Dictionary<string, CheckpointTensor> AwqCheckpoint(string name, byte[,] q, byte[,] z, Half[,] s)
    {
        int[] order = [0, 2, 4, 6, 1, 3, 5, 7];
        uint[] Words(byte[,] values)
        {
            uint[] words = new uint[values.Length / 8];
            for (int k = 0; k < values.GetLength(0); k++)
            {
                for (int c = 0; c < values.GetLength(1) / 8; c++)
                {
                    for (int i = 0; i < 8; i++) words[(k * values.GetLength(1) / 8) + c] |= (uint)values[k, (8 * c) + order[i]] << (4 * i);
                }
            }

            return words;
        }

        return Named(
            Tensor(name + ".qweight", ElementType.I32, [q.GetLength(0), q.GetLength(1) / 8], Bytes(Words(q))),
            Tensor(name + ".qzeros", ElementType.I32, [z.GetLength(0), z.GetLength(1) / 8], Bytes(Words(z))),
            Tensor(name + ".scales", ElementType.F16, [z.GetLength(0), z.GetLength(1)], Bytes(s.Cast<Half>().ToArray())));
    }

    internal static Dictionary<string, CheckpointTensor> BitsAndBytesCheckpoint(
        string name, LinearShape shape, Codebook codebook, byte[] codes, float[]? absmax, byte[] absmaxCodes, float nestedAbsmax, float offset)
    {
        int blocks = (codes.Length + 63) / 64, nestedBlocks = (blocks + 255) / 256;
        string kind = codebook == Codebook.Nf4 ? "nf4" : "fp4";
        string state = $"{{\"quant_type\": \"{kind}\", \"blocksize\": 64, \"dtype\": \"float16\", \"shape\": [{shape.Outputs}, {shape.Inputs}]"
            + (absmax is null ? $", \"nested_blocksize\": 256, \"nested_dtype\": \"float32\", \"nested_offset\": {offset.ToString(System.Globalization.CultureInfo.InvariantCulture)}}}" : "}");
        byte[] weight = new byte[(codes.Length + 1) / 2];
        for (int i = 0; i < codes.Length; i++) weight[i / 2] |= (byte)(i % 2 == 0 ? codes[i] << 4 : codes[i]);
        List<CheckpointTensor> tensors =
        [
            Tensor(name + ".weight", ElementType.U8, [weight.Length, 1], weight),
            Tensor(name + ".weight.quant_map", ElementType.F32, [16], Bytes(Codebook4.Values(codebook).ToArray())),
            Tensor(name + ".weight.quant_state.bitsandbytes__" + kind, ElementType.U8, [state.Length], Encoding.ASCII.GetBytes(state)),
            absmax is null ? Tensor(name + ".weight.absmax", ElementType.U8, [blocks], absmaxCodes) : Tensor(name + ".weight.absmax", ElementType.F32, [blocks], Bytes(absmax)),
        ];
        if (absmax is null)
        {
            tensors.Add(Tensor(name + ".weight.nested_absmax", ElementType.F32, [nestedBlocks], Bytes([.. Enumerable.Repeat(nestedAbsmax, nestedBlocks)])));
            tensors.Add(Tensor(name + ".weight.nested_quant_map", ElementType.F32, [256], Bytes(Codebook4.DynamicMap.ToArray())));
        }

        return Named([.. tensors]);
    }

    internal static Dictionary<string, CheckpointTensor> Int8Checkpoint(string name, LinearShape shape, sbyte[] q, float[] absmax) => Named(
        Tensor(name + ".weight", ElementType.I8, [shape.Outputs, shape.Inputs], [.. q.Select(value => (byte)value)]),
        Tensor(name + ".SCB", ElementType.F32, [shape.Outputs], Bytes(absmax)),
        Tensor(name + ".weight_format", ElementType.U8, [], [0]));

    internal static byte[,] Integers(Random random, int rows, int columns, int below, int least = 0)
    {
        byte[,] values = new byte[rows, columns];
        for (int r = 0; r < rows; r++) for (int c = 0; c < columns; c++) values[r, c] = (byte)random.Next(least, below);
        return values;
    }

    internal static byte[] Bytes<T>(T[] values)
        where T : unmanaged => System.Runtime.InteropServices.MemoryMarshal.AsBytes(values.AsSpan()).ToArray();

    private static Half[,] Scales(Random random, int groups) => Scales(random, groups, Shape.Outputs);

    private static Half[,] Scales(Random random, int groups, int outputs)
    {
        Half[,] scales = new Half[groups, outputs];
        for (int g = 0; g < groups; g++) for (int n = 0; n < outputs; n++) scales[g, n] = (Half)(random.NextSingle() + 0.01f);
        return scales;
    }

    /// <summary>Integers as one stream of bits each row or column of words, the lowest first.</summary>
    private static uint[] Pack(byte[,] values, int bits, bool alongRows)
    {
        int rows = values.GetLength(0), columns = values.GetLength(1);
        uint[] words = new uint[values.Length * bits / 32];
        for (int r = 0; r < rows; r++)
        {
            for (int c = 0; c < columns; c++)
            {
                for (int bit = 0; bit < bits; bit++)
                {
                    int at = ((alongRows ? r : c) * bits) + bit;
                    int word = alongRows ? (at / 32 * columns) + c : (r * columns * bits / 32) + (at / 32);
                    words[word] |= (uint)((values[r, c] >> bit) & 1) << (at % 32);
                }
            }
        }

        return words;
    }

    private static Dictionary<string, CheckpointTensor> Named(params CheckpointTensor[] tensors) => tensors.ToDictionary(tensor => tensor.Name);

    private static CheckpointTensor Tensor(string name, ElementType type, long[] shape, byte[] bytes)
    {
        CheckpointTensor tensor = new(name, type, shape, (offset, target) => bytes.AsSpan((int)offset, target.Length).CopyTo(target));
        Assert.Equal(bytes.Length, tensor.ByteLength);
        return tensor;
    }

    private static QuantizedLinear Read(Dictionary<string, CheckpointTensor> tensors, CheckpointQuantization quantization) =>
        new QuantizedCheckpoint(quantization, new WeightNames(), tensors).Read(Shape, quantization.Spec!);

    private static void AssertWrong(Dictionary<string, CheckpointTensor> tensors, CheckpointQuantization quantization, string suffix)
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => Read(tensors, quantization));
        Assert.Equal(DiagnosticIds.TensorMismatch, error.Id);
        Assert.Contains(Name + suffix, error.Message, StringComparison.Ordinal);
    }

    /// <summary>Compares to the bit, also once the linear went through an artifact's tensors.</summary>
    private static void AssertWeights(QuantizedLinear linear, Func<int, int, float> weight)
    {
        float[] expected = [.. Enumerable.Range(0, Shape.Outputs * Shape.Inputs).Select(i => weight(i / Shape.Inputs, i % Shape.Inputs))];
        using torch.Tensor read = linear.Dequantize(torch.CPU);
        Assert.Equal(expected, read.data<float>().ToArray());
        Dictionary<string, byte[]> parts = linear.Parts().ToDictionary(part => part.Suffix, part => part.Bytes);
        LayerFormat format = linear switch
        {
            AffineLinear affine => new IntAffineFormat(affine.Bits, affine.GroupSize, affine.Symmetric, affine.Order is not null),
            CodebookLinear codebook => codebook.Format,
            Int8Linear int8 => int8.Format,
            _ => throw new InvalidDataException(linear.ToString()),
        };
        using torch.Tensor packed = LinearFormats.Read(format, Shape, (suffix, _) => parts[suffix]).Dequantize(torch.CPU);
        Assert.Equal(expected, packed.data<float>().ToArray());
    }
}
