using System.Text.Json.Nodes;

namespace QuantBuild.Runtime.Tests;

public sealed class ArtifactTests : IDisposable
{
    private static readonly string Config = TestArtifact.Config(layers: 1);
    private static readonly TestArtifact.Rounding Rounding = new(4, 16, Symmetric: false, Ordered: true);

    private static readonly QualityFigures Quality = new(50.5, 51.25, 0.0123, 0.875, 1000, 512, EvaluationText.HeldOut, [0.01, 0.025]);

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void An_artifact_opens_with_what_was_written()
    {
        string path = Write();
        using Artifact artifact = Artifact.Open(path);
        artifact.VerifyChecksums();
        Assert.Equal("test", artifact.Manifest.Fingerprint);
        Assert.Equal(48, artifact.Config.HiddenSize);
        Assert.Equal(new IntAffineFormat(4, 16, false, true), artifact.Manifest.Layers["model.layers.0.mlp.up_proj"]);
        Assert.Equal(Sample.TokenizerJson, artifact.Tokenizer[..Sample.TokenizerJson.Length].ToArray());
        Assert.Equal(0, artifact.Tokenizer.Length % 64);
        Assert.Equal(artifact.File.Tensors.Keys.Order(), artifact.Manifest.Checksums.Keys.Order());
    }

    [Fact]
    public void A_tokenizer_of_another_kind_is_in_the_artifact_as_it_is()
    {
        byte[] model = Text.Expectations.SentencePiece("Unigram, mapped");
        Assert.NotEqual(0, model.Length % 64);
        string path = folder.File("sentencepiece.safetensors");
        TestArtifact.Write(path, Config, TestArtifact.RandomWeights(Config, 1), tokenizerJson: model);
        using Artifact artifact = Artifact.Open(path);
        Assert.Equal(model, artifact.Tokenizer.ToArray());
        Assert.Equal(TextTokenizer.Load(model, "a").Encode("The fox"), TextTokenizer.Load(artifact.Tokenizer, "b").Encode("The fox"));
    }

    [Fact]
    public void The_same_inputs_give_the_same_bytes()
    {
        Assert.Equal(File.ReadAllBytes(Write("a")), File.ReadAllBytes(Write("b")));
    }

    [Fact]
    public void A_manifest_survives_json_whatever_the_order_of_its_dictionaries()
    {
        ArtifactManifest manifest = TestArtifact.Manifest(Config, "f") with
        {
            Quality = Quality,
            GenerationConfigJson = "{}",
            Layers = new Dictionary<string, LayerFormat> { ["b"] = new IntAffineFormat(3, 32, true, false), ["a"] = new IntAffineFormat(2, 16, false, true) },
        };
        ArtifactManifest read = ArtifactManifest.Parse(manifest.ToJson());
        Assert.Equivalent(Quality, read.Quality, strict: true);
        Assert.Contains("\"EvaluatedOn\":\"HeldOut\"", manifest.ToJson(), StringComparison.Ordinal);
        Assert.DoesNotContain(nameof(QualityFigures.PerplexityIncrease), manifest.ToJson(), StringComparison.Ordinal);
        Assert.Equal(manifest.Layers.OrderBy(l => l.Key), read.Layers);
        Assert.Equal(manifest.Spec.Count, read.Spec.Count);
        Assert.Null(read.TokenizerConfigJson);
        Assert.Equal(manifest.ToJson(), (manifest with { Layers = manifest.Layers.Reverse().ToDictionary() }).ToJson());
    }

    [Fact]
    public void A_damaged_tensor_fails_its_checksum()
    {
        string path = Write();
        long offset;
        using (Artifact artifact = Artifact.Open(path)) offset = artifact.File.Tensors["model.layers.0.mlp.down_proj.weight"].Offset;
        using (FileStream stream = new(path, FileMode.Open, FileAccess.ReadWrite))
        {
            stream.Position = offset + 5;
            int value = stream.ReadByte();
            stream.Position = offset + 5;
            stream.WriteByte((byte)(value ^ 1));
        }

        using Artifact damaged = Artifact.Open(path);
        QuantBuildException error = Assert.Throws<QuantBuildException>(damaged.VerifyChecksums);
        Assert.Equal("QB4004", error.Id);
        Assert.Contains("model.layers.0.mlp.down_proj.weight", error.Message, StringComparison.Ordinal);
        Assert.Equal("QB4004", Assert.Throws<QuantBuildException>(() => LanguageModel.Load(path, new LoadOptions { VerifyChecksums = true })).Id);
    }

    [Fact]
    public void A_missing_artifact_is_an_error()
    {
        Assert.Equal("QB4001", Assert.Throws<QuantBuildException>(() => Artifact.Open(folder.File("none"))).Id);
    }

    [Fact]
    public void A_checkpoint_is_not_an_artifact()
    {
        AssertMalformed(Path.Combine(Sample.ModelFolder, "model.safetensors"), "quantbuild");
    }

    public static TheoryData<string, string> Manifests { get; } = new()
    {
        { """{"FormatVersion":1}""", "version is 1" },
        { """{"FormatVersion":null}""", "version is null" },
        { """{"ConfigJson":"{}"}""", "configuration" },
        { """{"ConfigJson":null}""", "manifest" },
        { """{"Layers":5}""", "manifest" },
        { """{"Layers":{"model.layers.0.mlp.up_proj":null}}""", "element type U8" },
        { """{"Layers":{"model.layers.0.mlp.up_proj":{"Format":"Codebook","Bits":4,"GroupSize":16,"Symmetric":false,"Ordered":true}}}""", "Codebook" },
        { """{"Layers":{"model.layers.0.mlp.up_proj":{"Format":"IntAffine","Bits":5,"GroupSize":16,"Symmetric":false,"Ordered":true}}}""", "5 bits" },
        { """{"Layers":{"model.layers.0.mlp.up_proj":{"Format":"IntAffine","Bits":3,"GroupSize":16,"Symmetric":false,"Ordered":true}}}""", "shape" },
        { """{"Layers":{"model.layers.0.mlp.up_proj":{"Format":"IntAffine","Bits":4,"GroupSize":0,"Symmetric":false,"Ordered":true}}}""", "groups of 0" },
        { """{"Layers":{"model.layers.0.mlp.up_proj":{"Format":"IntAffine","Bits":4,"GroupSize":48,"Symmetric":false,"Ordered":true}}}""", "scales" },
    };

    [Theory]
    [MemberData(nameof(Manifests))]
    public void A_manifest_that_the_tensors_do_not_bear_out_is_an_error(string change, string said)
    {
        string path = Write();
        using (SafetensorsFile file = SafetensorsFile.Open(path, "QB4002"))
        {
            JsonObject manifest = JsonNode.Parse(file.Metadata["quantbuild"])!.AsObject();
            foreach ((string name, JsonNode? value) in JsonNode.Parse(change)!.AsObject())
            {
                if (value is JsonObject members && manifest[name] is JsonObject target)
                {
                    foreach ((string key, JsonNode? member) in members) target[key] = member?.DeepClone();
                }
                else
                {
                    manifest[name] = value?.DeepClone();
                }
            }

            Rewrite(file, folder.File("changed"), manifest.ToJsonString(), _ => true);
        }

        AssertMalformed(folder.File("changed"), said);
    }

    [Theory]
    [InlineData("tokenizer")]
    [InlineData("model.norm.weight")]
    [InlineData("lm_head.weight")]
    [InlineData("model.layers.0.self_attn.q_proj.weight")]
    [InlineData("model.layers.0.self_attn.q_proj.scales")]
    [InlineData("model.layers.0.self_attn.q_proj.zeros")]
    [InlineData("model.layers.0.self_attn.q_proj.order")]
    public void A_tensor_that_is_missing_is_named(string name)
    {
        using (SafetensorsFile file = SafetensorsFile.Open(Write(), "QB4002"))
        {
            Rewrite(file, folder.File("changed"), file.Metadata["quantbuild"], tensor => tensor != name);
        }

        AssertMalformed(folder.File("changed"), name);
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(48)]
    [InlineData(int.MaxValue)]
    public void An_order_that_points_outside_or_twice_is_an_error(int input)
    {
        const string name = "model.layers.0.self_attn.q_proj.order";
        using (SafetensorsFile file = SafetensorsFile.Open(Write(), "QB4002"))
        {
            byte[] order = file.Bytes(file.Tensors[name]).ToArray();
            BitConverter.TryWriteBytes(order.AsSpan(8), input);
            Rewrite(file, folder.File("changed"), file.Metadata["quantbuild"], tensor => tensor != name, TensorSource.FromBytes(name, ElementType.I32, [48], order));
        }

        AssertMalformed(folder.File("changed"), "permutation");
    }

    [Fact]
    public void A_build_record_is_read_as_written_and_its_absence_is_no_error()
    {
        BuildRecord record = new() { Seconds = 1.5, PeakMemoryBytes = 1L << 33, Device = "cpu", Threads = 2, StartedAt = new DateTime(2026, 1, 2, 3, 4, 5, DateTimeKind.Utc), ArtifactBytes = 77, ArtifactSha256 = "" };
        record = record with { Quality = Quality, Warnings = [new(DiagnosticIds.BitsLow, "few \"bits\" — 2")] };
        string path = BuildRecord.PathOf(folder.File("model.safetensors"));
        Assert.Equal(folder.File("model.build.json"), path);
        Assert.Null(BuildRecord.TryRead(path));
        record.Write(path);
        Assert.Equivalent(record, BuildRecord.TryRead(path), strict: true);
        // What the build's tasks read, which have another reader.
        Assert.Equivalent(new BuildFindings(Quality, record.Warnings), BuildFindings.Read(path), strict: true);
        File.WriteAllText(path, "{");
        Assert.Null(BuildRecord.TryRead(path));
        Assert.Single(Directory.GetFiles(folder.Path));
        Assert.Equal("QB1004", Assert.Throws<QuantBuildException>(() => record.Write(Path.Combine(path, "x"))).Id);
    }

    private string Write(string name = "artifact") =>
        TestArtifact.Write(folder.File(name), Config, TestArtifact.RandomWeights(Config, 1), Rounding);

    private static void Rewrite(SafetensorsFile file, string path, string manifest, Func<string, bool> keep, params TensorSource[] more) =>
        SafetensorsWriter.Write(path, new Dictionary<string, string> { ["quantbuild"] = manifest },
            [.. file.Tensors.Values.Where(t => keep(t.Name)).Select(t => TensorSource.FromFile(file, t)), .. more]);

    private static void AssertMalformed(string path, string said)
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => Artifact.Open(path));
        Assert.Equal("QB4002", error.Id);
        Assert.Contains(path, error.Message, StringComparison.Ordinal);
        Assert.Contains(said, error.Message, StringComparison.Ordinal);
    }
}
