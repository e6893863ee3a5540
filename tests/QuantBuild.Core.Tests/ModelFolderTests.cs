namespace QuantBuild.Core.Tests;

public sealed class ModelFolderTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly string model;

    public ModelFolderTests() => model = SmallModel.Create(Path.Combine(folder.Path, "model"));

    public void Dispose() => folder.Dispose();

    [Fact]
    public void The_sample_is_opened()
    {
        ModelFolder sample = ModelFolder.Open(TestFiles.SampleModel);
        Assert.Equal(6_819_072, sample.Config.Parameters);
        Assert.Equal(
            ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"],
            sample.Files.Select(Path.GetFileName));
        Assert.All(sample.Files, file => Assert.True(File.Exists(file)));
        Assert.Null(sample.IndexFile);
        Assert.StartsWith("{", sample.ConfigJson, StringComparison.Ordinal);
    }

    [Fact]
    public void Weights_in_several_files_come_in_the_order_of_their_names()
    {
        File.Delete(Path.Combine(model, "model.safetensors"));
        foreach (int part in new[] { 2, 3, 1 }) File.WriteAllText(Path.Combine(model, $"model-0000{part}-of-00003.safetensors"), "");
        File.WriteAllText(Path.Combine(model, "model.safetensors.index.json"), "{}");
        ModelFolder opened = ModelFolder.Open(model);
        Assert.Equal(
            ["model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"],
            opened.WeightFiles.Select(Path.GetFileName));
        Assert.Contains(opened.IndexFile, opened.Files);
    }

    [Fact]
    public void A_folder_without_the_optional_files_is_opened()
    {
        File.Delete(Path.Combine(model, "tokenizer_config.json"));
        File.Delete(Path.Combine(model, "generation_config.json"));
        ModelFolder opened = ModelFolder.Open(model);
        Assert.Null(opened.TokenizerConfigFile);
        Assert.Null(opened.GenerationConfigFile);
        Assert.Equal(["config.json", "model.safetensors", "tokenizer.json"], opened.Files.Select(Path.GetFileName));
    }

    [Fact]
    public void Older_forms_of_tokenizers_serve_where_the_newest_is_missing()
    {
        File.WriteAllText(Path.Combine(model, "b.tiktoken"), "");
        File.WriteAllText(Path.Combine(model, "a.tiktoken"), "");
        File.WriteAllText(Path.Combine(model, "tokenizer.model"), "");
        Assert.Equal("tokenizer.json", Path.GetFileName(ModelFolder.Open(model).TokenizerFile));
        File.Delete(Path.Combine(model, "tokenizer.json"));
        Assert.Equal("tokenizer.model", Path.GetFileName(ModelFolder.Open(model).TokenizerFile));
        File.Delete(Path.Combine(model, "tokenizer.model"));
        ModelFolder opened = ModelFolder.Open(model);
        Assert.Equal("a.tiktoken", Path.GetFileName(opened.TokenizerFile));
        Assert.Contains(opened.TokenizerFile, opened.Files);
    }

    [Fact]
    public void A_missing_folder_is_named_in_full()
    {
        string missing = Path.Combine(folder.Path, "missing");
        ErrorAssert.Throws("QB2001", () => ModelFolder.Open(missing), missing, "config.json, tokenizer.json, *.safetensors");
    }

    [Fact]
    public void A_file_in_place_of_the_folder_is_a_missing_folder() =>
        ErrorAssert.Throws("QB2001", () => ModelFolder.Open(Path.Combine(model, "config.json")));

    [Theory]
    [InlineData("config.json", "QB2002")]
    [InlineData("tokenizer.json", "QB2008")]
    [InlineData("model.safetensors", "QB2010")]
    public void A_missing_file_is_named_with_what_is_there(string name, string id)
    {
        File.Delete(Path.Combine(model, name));
        string[] rest = [.. Directory.GetFiles(model).Select(f => Path.GetFileName(f)).Order(StringComparer.Ordinal)];
        ErrorAssert.Throws(id, () => ModelFolder.Open(model), model, Path.GetExtension(name), "it has " + string.Join(", ", rest));
    }

    [Fact]
    public void An_empty_folder_and_a_full_one_are_described()
    {
        string empty = Directory.CreateDirectory(Path.Combine(folder.Path, "empty")).FullName;
        ErrorAssert.Throws("QB2002", () => ModelFolder.Open(empty), "it has no files");
        for (int i = 0; i < 11; i++) File.WriteAllText(Path.Combine(empty, $"part{i:00}.bin"), "");
        ErrorAssert.Throws("QB2002", () => ModelFolder.Open(empty), "part00.bin", "part07.bin and 3 more");
    }

    [Fact]
    public void Errors_of_the_configuration_name_its_file()
    {
        string config = Path.Combine(model, "config.json");
        File.WriteAllText(config, "{");
        ErrorAssert.Throws("QB2003", () => ModelFolder.Open(model), config);
        File.WriteAllText(config, """{"architectures": ["BertModel"]}""");
        ErrorAssert.Throws("QB2004", () => ModelFolder.Open(model), config, "BertModel");
    }
}
