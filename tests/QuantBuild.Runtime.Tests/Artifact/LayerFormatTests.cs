namespace QuantBuild.Runtime.Tests;

/// <summary>What an artifact of the formats Codebook4 and Int8RowOutlier must hold, and what is refused.</summary>
public sealed class LayerFormatTests : IDisposable
{
    private static readonly Codebook4Format Nested = new(Codebook.Nf4, 64, true);
    private static readonly Codebook4Format Plain = new(Codebook.Fp4, 32, false);
    private static readonly Int8RowOutlierFormat Int8 = new(6);

    // Rows of 48 and 80 inputs: neither is whole blocks.
    private static readonly string Config = TestArtifact.Config(layers: 1);

    private readonly TemporaryFolder folder = new();

    public static TheoryData<LayerFormat> Formats { get; } = [Nested, Plain, Int8];

    public void Dispose() => folder.Dispose();

    [Theory]
    [MemberData(nameof(Formats))]
    public void An_artifact_opens_with_its_formats_and_generates(LayerFormat format)
    {
        string path = Write(format);
        using (Artifact artifact = Artifact.Open(path))
        {
            Assert.All(artifact.Manifest.Layers.Values, read => Assert.Equal(format, read));
            artifact.VerifyChecksums();
        }

        using LanguageModel model = LanguageModel.Load(path);
        Assert.All(model.Logits([1, 2, 3]), logit => Assert.True(float.IsFinite(logit)));
    }

    [Fact]
    public void A_manifest_names_the_format_and_its_parameters()
    {
        string json = TestArtifact.Manifest(Config, layers: new Dictionary<string, LayerFormat> { ["a"] = Nested, ["b"] = Int8, ["c"] = new IntAffineFormat(4, 32, true, false) }).ToJson();
        Assert.Contains("""{"a":{"Format":"Codebook4","Codebook":"Nf4","BlockSize":64,"DoubleQuantized":true},""", json, StringComparison.Ordinal);
        Assert.Contains("\"b\":{\"Format\":\"Int8RowOutlier\",\"OutlierThreshold\":6},", json, StringComparison.Ordinal);
        Assert.Contains("\"c\":{\"Format\":\"IntAffine\",\"Bits\":4,\"GroupSize\":32,\"Symmetric\":true,\"Ordered\":false}}", json, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"Codebook":"Nf4","BlockSize":64,"DoubleQuantized":true}""", "manifest")]
    [InlineData("""{"Format":"Codebook4","Codebook":"Nf5","BlockSize":64,"DoubleQuantized":true}""", "manifest")]
    [InlineData("""{"Format":"Codebook4","Codebook":7,"BlockSize":64,"DoubleQuantized":true}""", "codebook 7")]
    [InlineData("""{"Format":"Codebook4","Codebook":"Nf4","DoubleQuantized":true}""", "blocks of 0")]
    [InlineData("""{"Format":"Codebook4","Codebook":"Nf4","BlockSize":16,"DoubleQuantized":true}""", "blocks of 16")]
    [InlineData("""{"Format":"Codebook4","Codebook":"Nf4","BlockSize":96,"DoubleQuantized":true}""", "blocks of 96")]
    [InlineData("""{"Format":"Codebook4","Codebook":"Nf4","BlockSize":-2147483648,"DoubleQuantized":true}""", "blocks of -2147483648")]
    [InlineData("""{"Format":"Codebook4","Codebook":"Nf4","BlockSize":32,"DoubleQuantized":true}""", "absmax has the shape")]
    [InlineData("""{"Format":"Codebook4","Codebook":"Nf4","BlockSize":64,"DoubleQuantized":false}""", "absmax has the element type U8")]
    [InlineData("""{"Format":"Int8RowOutlier","OutlierThreshold":6}""", "weight has the element type U8")]
    [InlineData("""{"Format":"Int8RowOutlier","OutlierThreshold":-1}""", "threshold -1")]
    public void A_format_that_the_tensors_do_not_bear_out_is_QB4002(string format, string said)
    {
        string path = Write(Nested), changed = folder.File("changed");
        using (SafetensorsFile file = SafetensorsFile.Open(path, "QB4002"))
        {
            string right = """{"Format":"Codebook4","Codebook":"Nf4","BlockSize":64,"DoubleQuantized":true}""";
            string manifest = file.Metadata[Artifact.ManifestKey];
            Assert.Contains(right, manifest, StringComparison.Ordinal);
            Rewrite(file, changed, manifest.Replace(right, format, StringComparison.Ordinal), _ => true);
        }

        AssertMalformed(changed, said);
    }

    [Theory]
    [InlineData("absmax")]
    [InlineData("nested_absmax")]
    [InlineData("offset")]
    public void A_tensor_that_is_missing_is_named(string suffix)
    {
        string changed = folder.File("changed"), name = "model.layers.0.mlp.up_proj." + suffix;
        using (SafetensorsFile file = SafetensorsFile.Open(Write(Nested), "QB4002"))
        {
            Rewrite(file, changed, file.Metadata[Artifact.ManifestKey], tensor => tensor != name);
        }

        AssertMalformed(changed, name);
    }

    private static void Rewrite(SafetensorsFile file, string path, string manifest, Func<string, bool> keep) => SafetensorsWriter.Write(
        path,
        new Dictionary<string, string> { [Artifact.ManifestKey] = manifest },
        [.. file.Tensors.Values.Where(entry => keep(entry.Name)).Select(entry => TensorSource.FromFile(file, entry))]);

    private static void AssertMalformed(string path, string said)
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => Artifact.Open(path).Dispose());
        Assert.Equal("QB4002", error.Id);
        Assert.Contains(said, error.Message, StringComparison.Ordinal);
    }

    /// <summary>A small model whose linears have random bytes in a format.</summary>
    private string Write(LayerFormat format)
    {
        DecoderConfig config = DecoderConfig.Parse(Config, "config.json");
        Random random = new(1);
        Dictionary<string, LayerFormat> layers = [];
        List<TensorSource> tensors = [ArtifactWriter.TokenizerTensor(Sample.TokenizerJson)];
        foreach ((string name, IReadOnlyList<int> shape) in config.Tensors())
        {
            if (config.Linears(0).FirstOrDefault(linear => linear.WeightName == name) is { } linear)
            {
                layers.Add(linear.Name, format);
                tensors.AddRange(Parts(linear, format, random));
            }
            else
            {
                tensors.Add(Floats(name, [.. shape.Select(size => (long)size)], random));
            }
        }

        string path = folder.File("artifact");
        ArtifactWriter.Write(path, TestArtifact.Manifest(Config, layers: layers), tensors);
        return path;
    }

    private static IEnumerable<TensorSource> Parts(LinearShape linear, LayerFormat format, Random random)
    {
        (string name, int outputs, int inputs) = (linear.Name, linear.Outputs, linear.Inputs);
        long tiles = (outputs + 7) / 8;
        if (format is Int8RowOutlierFormat)
        {
            return [Bytes(name + ".weight", ElementType.I8, [tiles, (inputs + 31) / 32 * 32 * 8], random), Floats(name + ".absmax", [tiles, 8], random)];
        }

        Codebook4Format codebook = (Codebook4Format)format;
        long blocks = ((outputs * inputs) + codebook.BlockSize - 1) / codebook.BlockSize;
        TensorSource weight = Bytes(name + ".weight", ElementType.U8, [tiles, (inputs + 31) / 32 * 32 * 4], random);
        return codebook.DoubleQuantized
            ?
            [
                weight, Bytes(name + ".absmax", ElementType.U8, [blocks], random), Floats(name + ".nested_absmax", [(blocks + 255) / 256], random),
                Floats(name + ".offset", [1], random),
            ]
            : [weight, Floats(name + ".absmax", [blocks], random)];
    }

    private static TensorSource Bytes(string name, ElementType type, long[] shape, Random random)
    {
        byte[] bytes = new byte[shape.Aggregate((a, b) => a * b)];
        random.NextBytes(bytes);
        return TensorSource.FromBytes(name, type, shape, bytes);
    }

    private static TensorSource Floats(string name, long[] shape, Random random) => TensorSource.FromBytes(
        name, ElementType.F32, shape, [.. Enumerable.Range(0, (int)shape.Aggregate((a, b) => a * b)).SelectMany(_ => BitConverter.GetBytes((float)random.NextDouble() * 0.1f))]);
}
