using System.Runtime.InteropServices;
using QuantBuild.Runtime.Tests;

namespace QuantBuild.Cuda.Tests;

/// <summary>Random models whose linears have any format.</summary>
internal static class TestModel
{
    /// <summary>Writes a model. Packed weights are random bytes: every one is a valid weight.</summary>
    /// <param name="path">The artifact.</param>
    /// <param name="config">The text of <c>config.json</c>.</param>
    /// <param name="format">The format of a linear, or <see langword="null"/> for float32.</param>
    /// <param name="seed">Of the random numbers.</param>
    /// <param name="floats">The type of the numbers.</param>
    public static string Write(string path, string config, Func<LinearShape, LayerFormat?> format, int seed = 1, ElementType floats = ElementType.F32)
    {
        Random random = new(seed);
        DecoderConfig parsed = DecoderConfig.Parse(config, "config.json");
        Dictionary<string, float[]> weights = TestArtifact.RandomWeights(config, seed);
        Dictionary<string, LinearShape> linears = parsed.QuantizableLinears().ToDictionary(linear => linear.WeightName);
        List<TensorSource> tensors = [ArtifactWriter.TokenizerTensor(Sample.TokenizerJson)];
        Dictionary<string, LayerFormat> layers = [];
        foreach ((string name, IReadOnlyList<int> shape) in parsed.Tensors())
        {
            if (linears.GetValueOrDefault(name) is { } linear && format(linear) is { } chosen)
            {
                tensors.AddRange(Packed(linear, chosen, random));
                layers.Add(linear.Name, chosen);
            }
            else
            {
                tensors.Add(TensorSource.FromBytes(name, floats, [.. shape.Select(size => (long)size)], Bytes(weights[name], floats)));
            }
        }

        ArtifactWriter.Write(path, TestArtifact.Manifest(config, layers: layers), tensors);
        return path;
    }

    /// <summary>A format by its name, as <c>int4 g128 zeros ordered</c> or <c>nf4 64 nested</c>; <see langword="null"/> for float32.</summary>
    public static LayerFormat? Format(string text, LinearShape linear)
    {
        string[] words = text.Split(' ');
        bool Has(string word) => words.Contains(word);
        // Rows of the embedding are looked up in the order of the model.
        bool ordered = Has("ordered") && linear.Name != DecoderConfig.EmbeddingLinearName;
        int Group() => words[1] == "row" || linear.Inputs % int.Parse(words[1][1..]) != 0 ? linear.Inputs : int.Parse(words[1][1..]);
        return words[0] switch
        {
            "int2" or "int3" or "int4" or "int8" => new IntAffineFormat(words[0][3] - '0', Group(), !Has("zeros"), ordered),
            "nf4" => new Codebook4Format(Codebook.Nf4, int.Parse(words[1]), Has("nested")),
            "fp4" => new Codebook4Format(Codebook.Fp4, int.Parse(words[1]), Has("nested")),
            "mxfp4" => new Codebook4Format(Codebook.Mxfp4, int.Parse(words[1]), false),
            "int8row" => new Int8RowOutlierFormat(double.Parse(words[1], System.Globalization.CultureInfo.InvariantCulture)),
            _ => null,
        };
    }

    private static byte[] Bytes(float[] values, ElementType type) => type switch
    {
        ElementType.F16 => MemoryMarshal.AsBytes(values.Select(value => (Half)value).ToArray().AsSpan()).ToArray(),
        ElementType.BF16 => MemoryMarshal.AsBytes(values.Select(value => (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16)).ToArray().AsSpan()).ToArray(),
        _ => MemoryMarshal.AsBytes(values.AsSpan()).ToArray(),
    };

    private static IEnumerable<TensorSource> Packed(LinearShape linear, LayerFormat format, Random random)
    {
        (string name, int inputs) = (linear.Name, linear.Inputs);
        long tiles = PackedTiles.Count(linear.Outputs);
        byte[] Random(long count)
        {
            byte[] bytes = new byte[count];
            random.NextBytes(bytes);
            return bytes;
        }

        // Products of random numbers are about as large as their inputs.
        float Scale(double largest) => (float)((0.5 + random.NextDouble()) / (largest * Math.Sqrt(inputs)));
        switch (format)
        {
            case IntAffineFormat affine:
                long groups = inputs / affine.GroupSize;
                double half = 1 << (affine.Bits - 1);
                yield return TensorSource.FromBytes(name + IntAffine.WeightSuffix, ElementType.U8, [tiles, PackedTiles.Bytes(inputs, affine.Bits)], Random(tiles * PackedTiles.Bytes(inputs, affine.Bits)));
                Half[] scales = [.. Enumerable.Range(0, (int)(tiles * groups * 8)).Select(_ => (Half)Scale(half * 0.6))];
                yield return TensorSource.FromBytes(name + IntAffine.ScalesSuffix, ElementType.F16, [tiles, groups, 8], MemoryMarshal.AsBytes(scales.AsSpan()).ToArray());
                byte[] zeros = [.. Enumerable.Range(0, scales.Length).Select(_ => (byte)random.Next((int)half / 2, (int)half + 1))];
                if (!affine.Symmetric) yield return TensorSource.FromBytes(name + IntAffine.ZerosSuffix, ElementType.U8, [tiles, groups, 8], zeros);
                int[] order = [.. Enumerable.Range(0, inputs)];
                random.Shuffle(order);
                if (affine.Ordered) yield return TensorSource.FromBytes(name + IntAffine.OrderSuffix, ElementType.I32, [inputs], MemoryMarshal.AsBytes(order.AsSpan()).ToArray());
                break;
            case Codebook4Format codebook:
                long blocks = Codebook4.Blocks(linear.Outputs, inputs, codebook.BlockSize), nested = Codebook4.NestedBlocks(linear.Outputs, inputs, codebook.BlockSize);
                yield return TensorSource.FromBytes(name + Codebook4.WeightSuffix, ElementType.U8, [tiles, PackedTiles.Bytes(inputs, 4)], Random(tiles * PackedTiles.Bytes(inputs, 4)));
                if (codebook.Codebook == Codebook.Mxfp4)
                {
                    int own = 127 + (int)MathF.Round(MathF.Log2(Scale(3)));
                    yield return TensorSource.FromBytes(name + Codebook4.ExponentSuffix, ElementType.U8, [blocks], [.. Enumerable.Range(0, (int)blocks).Select(_ => (byte)(own + random.Next(-1, 2)))]);
                    break;
                }

                float[] maxima = [.. Enumerable.Range(0, (int)(codebook.DoubleQuantized ? nested : blocks)).Select(_ => Scale(0.5))];
                byte[] bytes = MemoryMarshal.AsBytes(maxima.AsSpan()).ToArray();
                if (!codebook.DoubleQuantized)
                {
                    yield return TensorSource.FromBytes(name + Codebook4.AbsmaxSuffix, ElementType.F32, [blocks], bytes);
                    break;
                }

                yield return TensorSource.FromBytes(name + Codebook4.AbsmaxSuffix, ElementType.U8, [blocks], Random(blocks));
                yield return TensorSource.FromBytes(name + Codebook4.NestedAbsmaxSuffix, ElementType.F32, [nested], bytes);
                yield return TensorSource.FromBytes(name + Codebook4.OffsetSuffix, ElementType.F32, [1], BitConverter.GetBytes(Scale(0.5)));
                break;
            default:
                yield return TensorSource.FromBytes(name + Int8RowOutlier.WeightSuffix, ElementType.I8, [tiles, PackedTiles.Bytes(inputs, 8)], Random(tiles * PackedTiles.Bytes(inputs, 8)));
                float[] rows = [.. Enumerable.Range(0, (int)tiles * 8).Select(_ => Scale(0.5))];
                yield return TensorSource.FromBytes(name + Int8RowOutlier.AbsmaxSuffix, ElementType.F32, [tiles, 8], MemoryMarshal.AsBytes(rows.AsSpan()).ToArray());
                break;
        }
    }
}
