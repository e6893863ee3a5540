namespace QuantBuild.Core.Tests;

public sealed class HubModelTests : IDisposable
{
    private const string Commit = "0123456789abcdef0123456789abcdef01234567";

    private readonly string folder = Directory.CreateTempSubdirectory("quantbuild-hubmodel-").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Theory]
    [InlineData("meta-llama/Llama-2-7b-hf", true)]
    [InlineData("Qwen/Qwen2.5-0.5B", true)]
    [InlineData("a/b", true)]
    [InlineData("gpt2", false)]
    [InlineData("./models/llama", false)]
    [InlineData("../models/llama", false)]
    [InlineData("/models/llama", false)]
    [InlineData("models/llama/7b", false)]
    [InlineData("org/..", false)]
    [InlineData("org/a..b", false)]
    [InlineData("org/a--b", false)]
    [InlineData("org/-a", false)]
    [InlineData("org/a b", false)]
    [InlineData("org/a\n", false)]
    [InlineData("C:/models", false)]
    [InlineData("org\\name", false)]
    [InlineData("org/name/x.Q8_0.gguf", true)]
    [InlineData("org/name/x-00001-of-00002.gguf", true)]
    [InlineData("org/name/x.safetensors", false)]
    [InlineData("org/name/folder/x.gguf", false)]
    [InlineData("org/name/.gguf", false)]
    [InlineData("org/name/..gguf", false)]
    [InlineData("org/x.gguf/../y.gguf", false)]
    public void An_id_has_two_names_that_the_hub_allows(string include, bool isModel) => Assert.Equal(isModel, HubModel.Of(include, null, folder) is not null);

    [Fact]
    public void A_folder_comes_first_and_a_path_is_likelier_where_its_first_part_is_a_folder_unless_a_revision_is_given()
    {
        Assert.Equal(new HubModel("models/llama", "main"), HubModel.Of("models/llama", null, folder));
        Directory.CreateDirectory(Path.Combine(folder, "models"));
        Assert.Null(HubModel.Of("models/llama", null, folder));
        Assert.Equal(new HubModel("models/llama", "v1"), HubModel.Of("models/llama", "v1", folder));
        Directory.CreateDirectory(Path.Combine(folder, "models", "llama"));
        Assert.Null(HubModel.Of("models/llama", "v1", folder));
    }

    [Fact]
    public void A_GGUF_file_of_a_repository_is_named_behind_its_id_and_a_file_of_this_machine_comes_first()
    {
        HubModel model = HubModel.Of("org/name/x.Q8_0.gguf", "v1", folder)!;
        Assert.Equal(new HubModel("org/name", "v1", "x.Q8_0.gguf"), model);
        Assert.Equal(("org/name/x.Q8_0.gguf", "org/name@v1"), (model.FullName, model.Source));
        Assert.Equal("x.Q8_0", ClassNames.ModelName(model.FullName));
        Assert.Equal("x.F16", ClassNames.ModelName("org/name/x.F16-00001-of-00003.gguf"));
        Directory.CreateDirectory(Path.Combine(folder, "org", "name"));
        Assert.Null(HubModel.Of("org/name/x.Q8_0.gguf", null, folder));
        Assert.NotNull(HubModel.Of("org/name/x.Q8_0.gguf", "v1", folder));
        File.WriteAllText(Path.Combine(folder, "org", "name", "x.Q8_0.gguf"), "");
        Assert.Null(HubModel.Of("org/name/x.Q8_0.gguf", "v1", folder));
    }

    [Theory]
    [InlineData("main", true)]
    [InlineData("v1.0", true)]
    [InlineData("refs/pr/12", true)]
    [InlineData(Commit, true)]
    [InlineData("../main", false)]
    [InlineData("a/../b", false)]
    [InlineData("/main", false)]
    [InlineData("a//b", false)]
    [InlineData("main\\..", false)]
    [InlineData("main ", false)]
    [InlineData("main?x", false)]
    [InlineData(".git", false)]
    public void A_revision_is_a_name_that_leads_nowhere_else(string revision, bool isOne)
    {
        if (isOne) Assert.Equal(revision == Commit, HubModel.Of("org/name", revision, folder)!.IsPinned);
        else ErrorAssert.Throws("QB0006", () => HubModel.Of("org/name", revision, folder));
    }

    [Theory]
    [InlineData("/home/ann/.cache/huggingface/hub/models--meta-llama--Llama-2-7b-hf/snapshots/" + Commit, "Llama-2-7b-hf")]
    [InlineData("models/snapshots/x", "x")]
    [InlineData("meta-llama/Llama-2-7b-hf", "Llama-2-7b-hf")]
    public void A_commit_in_the_hubs_cache_has_the_name_of_its_model(string path, string name) => Assert.Equal(name, ClassNames.ModelName(path));

    [Fact]
    public void A_listing_survives_being_kept_and_leaves_out_what_is_in_folders_or_has_no_sound_name()
    {
        HubListing listing = HubListing.Parse($$"""
            { "sha": "{{Commit}}", "gated": false, "siblings": [
              { "rfilename": "config.json", "size": 2, "blobId": "{{Commit}}" },
              { "rfilename": "model.safetensors", "size": 5000000000, "blobId": "{{Commit}}", "lfs": { "sha256": "{{new string('a', 64)}}", "size": 5000000000 } },
              { "rfilename": "onnx/model.onnx", "size": 2, "blobId": "{{Commit}}" },
              { "rfilename": "../../x.safetensors", "size": 2, "blobId": "{{Commit}}" },
              { "rfilename": "c:x.safetensors", "size": 2, "blobId": "{{Commit}}" },
              { "rfilename": "modeling.py", "size": 2, "blobId": "{{Commit}}" } ] }
            """);
        Assert.Equal(["config.json", "model.safetensors", "modeling.py"], listing.Files.Select(f => f.Name));
        Assert.Equal(["config.json"], listing.Description.Select(f => f.Name));
        Assert.Equal(5_000_000_000, listing.Find("model.safetensors")!.Bytes);
        HubListing kept = HubListing.Parse(listing.ToJson());
        Assert.Equal((listing.Commit, listing.Files.Count), (kept.Commit, kept.Files.Count));
        Assert.Equal(listing.Files, kept.Files);
    }
}
