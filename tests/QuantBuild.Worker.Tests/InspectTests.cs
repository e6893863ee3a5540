using System.Text.Json.Nodes;
using QuantBuild.Worker.Reporting;

namespace QuantBuild.Worker.Tests;

public sealed class InspectTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("quantbuild-").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void Every_byte_but_the_headers_is_a_tensors_and_each_linear_has_its_format()
    {
        using Artifact artifact = SmallArtifact.Write(Path.Combine(folder, "small.safetensors"), Mixed);
        Inspection inspection = Inspection.Of(artifact);
        Assert.Equal(artifact.File.Tensors.Values.Sum(tensor => tensor.ByteLength), inspection.Tensors.Sum(tensor => tensor.Bytes));
        Assert.Equal(inspection.Tensors.Sum(tensor => tensor.Bytes), inspection.Formats.Sum(format => format.Bytes));
        Assert.Equal(artifact.Config.Parameters, inspection.Tensors.Sum(tensor => tensor.Weights));

        LinearShape query = artifact.Config.Linears(0)[0];
        StoredTensor stored = inspection.Tensors.Single(tensor => tensor.Name == query.WeightName);
        Assert.Equal(("IntAffine", 3, 32), (stored.Format, stored.Bits, stored.Group));
        Assert.Equal([query.Outputs, query.Inputs], stored.Shape);
        Assert.Equal(LinearSizes.Bits(artifact, query), stored.BitsPerWeight);
        Assert.Equal(("Nf4", 4, 64), Of(inspection, "model.layers.0.mlp.gate_proj.weight"));
        Assert.Equal(("Int8RowOutlier", 8, 64), Of(inspection, "model.layers.0.mlp.up_proj.weight"));
        Assert.Equal(("BF16", 16, null), Of(inspection, "model.layers.1.mlp.down_proj.weight"));
        Assert.Equal("model.embed_tokens.weight", inspection.Tensors[0].Name);
        Assert.Equal(("U8", null, null), Of(inspection, "tokenizer"));
        long weights = inspection.Tensors.Sum(tensor => tensor.Weights), tokenizer = artifact.File.Tensors[Artifact.TokenizerName].ByteLength;
        Assert.Equal(8.0 * (inspection.Tensors.Sum(tensor => tensor.Bytes) - tokenizer) / weights, inspection.BitsPerWeight, 12);
    }

    [Fact]
    public void Json_has_provenance_quality_and_each_tensor()
    {
        string path = Path.Combine(folder, "small.safetensors");
        using Artifact artifact = SmallArtifact.Write(path, Mixed);
        CommandLineRun run = CommandLineRun.Of("inspect", path, "--json");
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        JsonNode json = run.Json;
        Assert.Equal(SmallArtifact.Fingerprint, (string?)json["fingerprint"]);
        Assert.Equal("9.8.7", (string?)json["quantizerVersion"]);
        Assert.Equal("32", (string?)json["spec"]!["GroupSize"]);
        Assert.Equal(new string('d', 64), (string?)json["modelFiles"]![0]!["sha256"]);
        Assert.Equal(SmallArtifact.Quality.KlDivergence, (double?)json["quality"]!["klDivergence"]);
        Assert.Equal(new FileInfo(path).Length, (long?)json["fileBytes"]);
        Assert.Equal(Inspection.Of(artifact).Tensors.Select(tensor => tensor.Bytes), json["tensors"]!.AsArray().Select(tensor => (long)tensor!["bytes"]!));
    }

    [Fact]
    public void A_person_gets_tables_of_plain_text_whose_lines_are_not_broken()
    {
        string path = Path.Combine(folder, "small.safetensors");
        using Artifact artifact = SmallArtifact.Write(path, Mixed);
        CommandLineRun run = CommandLineRun.Of("inspect", path);
        Assert.Equal(0, run.ExitCode);
        Assert.DoesNotContain('\u001b', run.Output);
        Assert.Matches("(?m)^fingerprint +c{64}$", run.Output);
        Assert.Matches(@"(?m)^quality +perplexity 14\.50 -> 14\.79", run.Output);
        long bytes = LinearSizes.Bytes(artifact, artifact.Config.Linears(0)[0]);
        Assert.Matches($@"(?m)^model\.layers\.0\.self_attn\.q_proj\.weight +IntAffine +3 +32 +64×64 +{bytes:N0} +\d\.\d\d$", run.Output);
    }

    [Theory]
    [InlineData("QB4001", null)]
    [InlineData("QB4002", "not an artifact")]
    public void What_is_no_artifact_is_an_error_with_its_code(string code, string? content)
    {
        string path = Path.Combine(folder, "other.safetensors");
        if (content is not null) File.WriteAllText(path, content);
        CommandLineRun run = CommandLineRun.Of("inspect", path);
        Assert.Equal((1, ""), (run.ExitCode, run.Output));
        Assert.StartsWith($"error {code}: ", run.Error, StringComparison.Ordinal);

        CommandLineRun json = CommandLineRun.Of("inspect", path, "--json");
        Assert.Equal(1, json.ExitCode);
        Assert.Equal(code, (string?)json.Json["error"]!["code"]);
        Assert.Contains(path, (string?)json.Json["error"]!["message"], StringComparison.Ordinal);
    }

    private static (string Format, int? Bits, int? Group) Of(Inspection inspection, string name)
    {
        StoredTensor tensor = inspection.Tensors.Single(tensor => tensor.Name == name);
        return (tensor.Format, tensor.Bits, tensor.Group);
    }

    private static LayerFormat? Mixed(LinearShape linear) => linear.Name switch
    {
        "model.layers.0.mlp.gate_proj" => new Codebook4Format(Codebook.Nf4, 64, DoubleQuantized: true),
        "model.layers.0.mlp.up_proj" => new Int8RowOutlierFormat(6),
        "model.layers.1.mlp.down_proj" => null,
        _ => new IntAffineFormat(3, 32, Symmetric: false, Ordered: true),
    };
}
