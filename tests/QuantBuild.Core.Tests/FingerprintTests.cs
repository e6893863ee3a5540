namespace QuantBuild.Core.Tests;

public sealed class FingerprintTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly QuantizationSpec spec = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void The_same_content_elsewhere_gives_the_same_fingerprint()
    {
        string first = Of(Model("a"), Text("a.txt", "one"), Text("b.txt", "two"));
        string second = Of(Model("b"), Text("c.txt", "one"), Text("d.txt", "two"));
        Assert.Equal(first, second);
        Assert.Matches("^[0-9a-f]{64}$", first);
    }

    [Fact]
    public void Every_input_changes_it()
    {
        string calibration = Text("a.txt", "one");
        string evaluation = Text("b.txt", "two");
        List<string> all =
        [
            Of(Model("a"), calibration, evaluation),
            Of(Model("a"), null, evaluation),
            Of(Model("a"), calibration, null),
            Of(Model("a"), evaluation, calibration),
            Of(Model("a"), Text("c.txt", "one."), evaluation),
            Of(Model("a"), calibration, Text("d.txt", "two.")),
            Of(Model("a"), calibration, evaluation, quantizer: "0.2.0"),
        ];
        foreach (string file in new[] { "config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "model.safetensors" })
        {
            string model = Model("changed");
            File.AppendAllText(Path.Combine(model, file), " ");
            all.Add(Of(model, calibration, evaluation));
        }

        string lacking = Model("lacking");
        File.Delete(Path.Combine(lacking, "generation_config.json"));
        all.Add(Of(lacking, calibration, evaluation));

        string renamed = Model("renamed");
        File.Move(Path.Combine(renamed, "model.safetensors"), Path.Combine(renamed, "other.safetensors"));
        all.Add(Of(renamed, calibration, evaluation));

        string indexed = Model("indexed");
        File.WriteAllText(Path.Combine(indexed, "model.safetensors.index.json"), "{}");
        all.Add(Of(indexed, calibration, evaluation));

        Assert.Equal(all.Count, all.Distinct().Count());
    }

    [Fact]
    public void Every_property_of_the_specification_changes_it()
    {
        QuantizationSpec[] specs =
        [
            spec, spec with { Method = QuantizationMethod.Rtn }, spec with { Bits = 3 }, spec with { GroupSize = 32 }, spec with { Symmetric = true },
            spec with { ActOrder = false }, spec with { TrueSequential = false }, spec with { Damping = 0.02 }, spec with { CalibrationSamples = 1 },
            spec with { CalibrationContext = 64 }, spec with { EvaluationContext = 64 }, spec with { ErrorCorrection = false }, spec with { StaticGroups = true },
        ];
        string model = Model("a");
        string text = Text("a.txt", "one");
        Assert.Equal(specs.Length, specs.Select(s => Of(model, text, text, s)).Distinct().Count());
        // One more for each property: none may be forgotten here.
        Assert.Equal(specs.Length - 1, spec.ToMetadata().Count());
    }

    [Fact]
    public void Budgets_and_overrides_change_it()
    {
        QuantizationSpec[] specs =
        [
            spec, spec with { TargetBitsPerWeight = 3.5m }, spec with { TargetBitsPerWeight = 3.6m }, spec with { TargetSize = 1000 }, spec with { TargetSize = 1001 },
            spec with { Override = "q_proj: Bits=8" }, spec with { Override = "q_proj: Float" },
        ];
        string model = Model("a");
        string text = Text("a.txt", "one");
        Assert.Equal(specs.Length, specs.Select(s => Of(model, text, text, s)).Distinct().Count());
    }

    [Fact]
    public void Every_property_of_the_methods_of_bitsandbytes_changes_it()
    {
        QuantizationSpec nf4 = spec with { Method = QuantizationMethod.Nf4 }, int8 = spec with { Method = QuantizationMethod.Int8 };
        QuantizationSpec[] specs =
        [
            nf4, nf4 with { Method = QuantizationMethod.Fp4 }, nf4 with { BlockSize = 128 }, nf4 with { DoubleQuantization = false },
            int8, int8 with { OutlierThreshold = 0 },
        ];
        string model = Model("a");
        Assert.Equal(specs.Length, specs.Select(s => Of(model, null, null, s)).Distinct().Count());
        string evaluation = Text("b.txt", "two");
        Assert.Equal(Of(model, null, evaluation, nf4), Of(model, Text("a.txt", "one"), evaluation, nf4 with { GroupSize = 32, Bits = 2, Damping = 0.5 }));
    }

    [Fact]
    public void Calibration_text_that_the_method_does_not_read_changes_nothing()
    {
        QuantizationSpec rtn = spec with { Method = QuantizationMethod.Rtn };
        string model = Model("a");
        string evaluation = Text("b.txt", "two");
        Assert.Equal(Of(model, null, evaluation, rtn), Of(model, Text("a.txt", "one"), evaluation, rtn));
        // Without an evaluation text, a part of it is evaluated on.
        Assert.NotEqual(Of(model, null, null, rtn), Of(model, Text("a.txt", "one"), null, rtn));
    }

    [Fact]
    public void A_file_that_does_not_decide_the_artifact_changes_nothing()
    {
        string model = Model("a");
        string before = Of(model, null, null);
        File.WriteAllText(Path.Combine(model, "README.md"), "words");
        Assert.Equal(before, Of(model, null, null));
    }

    [Fact]
    public void The_commit_of_the_models_repository_counts_where_its_folder_tells_it()
    {
        const string commit = "0123456789abcdef0123456789abcdef01234567";
        string plain = Model("plain"), snapshot = Model("models--org--tiny/snapshots/" + commit), downloaded = Model("downloaded");
        Directory.CreateDirectory(Path.Combine(downloaded, ".cache/huggingface/download"));
        File.WriteAllText(Path.Combine(downloaded, ".cache/huggingface/download/config.json.metadata"), commit + "\netag\n1.5\n");
        Assert.Null(ModelFolder.Open(plain).Revision);
        Assert.Equal(commit, ModelFolder.Open(snapshot).Revision);
        Assert.Equal(commit, ModelFolder.Open(downloaded).Revision);
        Assert.Equal(Of(snapshot, null, null), Of(downloaded, null, null));
        Assert.NotEqual(Of(plain, null, null), Of(snapshot, null, null));
    }

    private string Of(string model, string? calibration, string? evaluation, QuantizationSpec? of = null, string quantizer = "0.1.0") =>
        Fingerprint.Compute(
            of ?? spec, ModelFolder.Open(model), calibration, evaluation, [Text("quantizer.dll", quantizer)], path => FileHash.OfText(File.ReadAllText(path)));

    private string Text(string name, string content) => folder.File(name, content);

    private string Model(string name) => SmallModel.Create(Path.Combine(folder.Path, name));
}
