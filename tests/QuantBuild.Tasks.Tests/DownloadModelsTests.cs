using Microsoft.Build.Framework;
using QuantBuild.Quantization.Tests;

namespace QuantBuild.Tasks.Tests;

/// <summary>Models of the hub as a build finds them in the caches; nothing here could download anything.</summary>
[Collection("one cache variable a process")]
public sealed class DownloadModelsTests : IDisposable
{
    private const string First = "1111111111111111111111111111111111111111";
    private const string Second = "2222222222222222222222222222222222222222";
    private const string WeightsHash = "3333333333333333333333333333333333333333333333333333333333333333";

    private readonly TestProject project = new();
    private readonly RecordingBuildEngine engine = new();
    private DeclareModels? declared;

    private static ITaskItem Model => TestProject.Item("org/small", ("CalibrationData", "calibration.txt"), ("GroupSize", "16"));

    private string Record => Path.Combine(project.Folder, "obj", "quantbuild.models.txt");

    private string LockPath => Path.Combine(project.Folder, LockFile.DefaultName);

    public void Dispose()
    {
        Environment.SetEnvironmentVariable(HubCache.OfflineVariable, null);
        project.Dispose();
    }

    [Fact]
    public void A_commit_that_is_known_and_described_starts_no_worker_and_its_weights_are_fingerprinted_without_being_there()
    {
        Put(First);
        Assert.True(Download(WithRevision(First)));
        Assert.True(Declare(WithRevision(First)));
        ModelDescriptor descriptor = project.Descriptor("SmallGptq4");
        Assert.Equal(("small", "LlamaForCausalLM", 64), (descriptor.ModelName, descriptor.Architecture, descriptor.Fingerprint.Length));
        Assert.Contains(LockFile.Read(LockPath).Models["SmallGptq4"].Inputs, input => input is { Key: "model/model.safetensors", Value: WeightsHash });
        // The branch is that of the first build.
        Assert.False(File.Exists(Record));
        File.WriteAllText(Record, $"org/small@main {First}\n");
        Assert.True(Download(Model));
        Assert.Empty(engine.Messages.Where(m => m.Message!.Contains("download", StringComparison.Ordinal)).Select(m => m.Message));
    }

    [Fact]
    public void What_is_not_known_is_asked_of_the_worker_at_the_commit_that_is_known()
    {
        Assert.False(Download(Model));
        Assert.Equal("QB1005", Assert.Single(engine.Errors).Code);
        Assert.Contains(engine.Messages, m => m.Message!.Contains("\"download\" \"org/small\" \"--revision\" \"main\"", StringComparison.Ordinal));
        Directory.CreateDirectory(Path.GetDirectoryName(Record)!);
        File.WriteAllText(Record, $"org/other@main {Second}\norg/small@main {First}\n");
        Assert.False(Download(Model));
        Assert.Contains(engine.Messages, m => m.Message!.Contains($"\"download\" \"org/small\" \"--revision\" \"{First}\"", StringComparison.Ordinal));
        Assert.False(Download(Model, update: true));
        Assert.Equal(2, engine.Messages.Count(m => m.Message!.Contains("\"--revision\" \"main\"", StringComparison.Ordinal)));
    }

    [Fact]
    public void The_commit_of_the_lock_file_comes_before_what_the_branch_was_here_unless_another_revision_is_declared()
    {
        Put(First);
        Put(Second);
        Directory.CreateDirectory(Path.GetDirectoryName(Record)!);
        File.WriteAllText(Record, $"org/small@main {First}\n");
        Assert.True(Declare(Model));
        string locked = project.Descriptor("SmallGptq4").Fingerprint;
        Assert.Equal(("org/small@main", First), (LockFile.Read(LockPath).Models["SmallGptq4"].Source, LockFile.Read(LockPath).Models["SmallGptq4"].Commit));

        File.WriteAllText(Record, $"org/small@main {Second}\norg/small@v2 {Second}\n");
        Assert.True(Declare(Model));
        Assert.Equal(locked, project.Descriptor("SmallGptq4").Fingerprint);
        Assert.True(Download(Model));
        Assert.Contains($"org/small@main {First}", File.ReadAllLines(Record));

        Assert.False(Declare(WithRevision("v2")));
        Assert.Equal("QB0010", Assert.Single(engine.Errors).Code);
        Assert.Contains($"model revision is {Second}, locked is {First}", engine.Errors.Single().Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_GGUF_file_of_the_hub_is_declared_with_the_chat_template_of_its_header_and_is_asked_for_by_its_name()
    {
        ITaskItem item = TestProject.Item("org/small/small.gguf", ("Method", "Rtn"), ("GroupSize", "16"));
        Assert.False(Download(item));
        Assert.Contains(engine.Messages, m => m.Message!.Contains("\"download\" \"org/small/small.gguf\" \"--revision\" \"main\"", StringComparison.Ordinal));

        Directory.CreateDirectory(Snapshot(First));
        string file = Path.Combine(Snapshot(First), "small.gguf");
        WriteGguf(file);
        List(First, new HubFile("small.gguf", new FileInfo(file).Length, WeightsHash, First));
        Directory.CreateDirectory(Path.GetDirectoryName(Record)!);
        File.WriteAllText(Record, $"org/small@main {First}\n");
        Assert.True(Download(item));
        Assert.True(Declare(item), string.Join("\n", engine.Errors.Select(e => e.Message)));
        ModelDescriptor descriptor = project.Descriptor("SmallRtn4");
        Assert.Equal(("small", "LlamaForCausalLM", "<s>"), (descriptor.ModelName, descriptor.Architecture, descriptor.BosToken));
        Assert.Equal("{{ 'x' }}", File.ReadAllText(descriptor.ChatTemplateFile!));
        LockedModel locked = LockFile.Read(LockPath).Models["SmallRtn4"];
        Assert.Equal(("org/small@main", First), (locked.Source, locked.Commit));
        Assert.Equal([("model/small.gguf", WeightsHash)], locked.Inputs.Where(input => input.Key.StartsWith("model/", StringComparison.Ordinal)).Select(input => (input.Key, input.Value)));
        Assert.Equal([file], declared!.Inputs.Select(input => input.ItemSpec));
        DeclaredModel model = DeclaredModel.FromItem(Assert.Single(declared.Declared));
        Assert.Equal(("org/small/small.gguf", First, file), (model.HubName, model.Commit, model.ModelPath));
    }

    [Fact]
    public void Weights_of_PyTorch_are_fingerprinted_without_being_there_and_a_template_of_the_hub_makes_a_build_due()
    {
        Put(First, listed: false);
        File.WriteAllText(Path.Combine(Snapshot(First), "pytorch_model.bin.index.json"), """{ "weight_map": { "a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin" } }""");
        File.WriteAllText(Path.Combine(Snapshot(First), "chat_template.jinja"), "{{ 'x' }}");
        string[] described = ["chat_template.jinja", "config.json", "pytorch_model.bin.index.json", "tokenizer.json"];
        List(
            First,
            [
                .. described.Select(name => new HubFile(name, new FileInfo(Path.Combine(Snapshot(First), name)).Length, null, First)),
                new("pytorch_model-00001-of-00002.bin", 7, WeightsHash, First), new("pytorch_model-00002-of-00002.bin", 7, WeightsHash.Replace('3', '4'), First),
            ]);
        Assert.True(Download(WithRevision(First)));
        Assert.True(Declare(WithRevision(First)), string.Join("\n", engine.Errors.Select(e => e.Message)));
        Assert.Equal(
            ["model/config.json", "model/pytorch_model-00001-of-00002.bin", "model/pytorch_model-00002-of-00002.bin", "model/pytorch_model.bin.index.json", "model/tokenizer.json"],
            LockFile.Read(LockPath).Models["SmallGptq4"].Inputs.Select(input => input.Key).Where(key => key.StartsWith("model/", StringComparison.Ordinal)).Order(StringComparer.Ordinal));
        // Weights that may never be downloaded would be missing forever.
        Assert.Equal(described, declared!.Inputs.Select(input => Path.GetFileName(input.ItemSpec)).Where(name => name != "calibration.txt").Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Offline_a_snapshot_that_another_tool_left_is_enough()
    {
        Put(First, listed: false);
        Assert.False(Download(WithRevision(First)));
        Environment.SetEnvironmentVariable(HubCache.OfflineVariable, "1");
        File.WriteAllText(Path.Combine(Snapshot(First), "model.safetensors"), "weights");
        engine.Errors.Clear();
        Assert.True(Download(WithRevision(First)));
        Assert.True(Declare(WithRevision(First)));
    }

    [Fact]
    public void An_ide_has_the_class_of_a_model_that_was_not_downloaded_and_a_build_says_that_it_was_not()
    {
        Assert.True(Declare(Model, designTime: true));
        ModelDescriptor descriptor = project.Descriptor("SmallGptq4");
        Assert.Equal(("small", "", 0L, ""), (descriptor.ModelName, descriptor.Architecture, descriptor.Parameters, descriptor.Fingerprint));
        Assert.False(Declare(Model));
        Assert.Equal("QB2001", Assert.Single(engine.Errors).Code);

        // The branch that the cache has is good enough for an IDE.
        Put(First);
        HubCache.Default().Remember(new HubModel("org/small", "main"), First);
        Assert.True(Declare(Model, designTime: true));
        Assert.Equal("LlamaForCausalLM", project.Descriptor("SmallGptq4").Architecture);
    }

    [Fact]
    public void A_revision_that_is_none_is_an_error_and_nothing_is_asked()
    {
        Assert.True(Download(WithRevision("../main")));
        Assert.False(Declare(WithRevision("../main")));
        Assert.Equal("QB0006", Assert.Single(engine.Errors).Code);
        Assert.Empty(engine.Messages);
    }

    private static ITaskItem WithRevision(string revision)
    {
        ITaskItem item = Model;
        item.SetMetadata("Revision", revision);
        return item;
    }

    private static string Snapshot(string commit) => HubCache.Default().Snapshot(new HubModel("org/small", commit), commit);

    /// <summary>What a download of the description leaves.</summary>
    private void Put(string commit, bool listed = true)
    {
        string snapshot = Snapshot(commit);
        Directory.CreateDirectory(snapshot);
        foreach (string name in new[] { "config.json", "tokenizer.json" }) File.Copy(Path.Combine(project.Folder, "tiny", name), Path.Combine(snapshot, name));
        if (!listed) return;
        HubFile Small(string name) => new(name, new FileInfo(Path.Combine(snapshot, name)).Length, null, First);
        List(commit, Small("config.json"), new("model.safetensors", 7, WeightsHash, First), Small("tokenizer.json"));
    }

    private static void WriteGguf(string path) => new GgufWriter().Add("general.architecture", "llama").Add("llama.embedding_length", 32u).Add("llama.feed_forward_length", 64u)
        .Add("llama.block_count", 1u).Add("llama.attention.head_count", 2u).Add("llama.context_length", 128u).Add("llama.attention.layer_norm_rms_epsilon", 1e-5f)
        .Add("tokenizer.ggml.model", "gpt2").Add("tokenizer.ggml.pre", "gpt-2").Add("tokenizer.ggml.tokens", new[] { "a", "<s>" }).Add("tokenizer.ggml.merges", Array.Empty<string>())
        .Add("tokenizer.ggml.bos_token_id", 1u).Add("tokenizer.chat_template", "{{ 'x' }}")
        .Add("token_embd.weight", GgufType.F16, [2, 32], new byte[128]).Write(path);

    /// <summary>What the hub said of a commit.</summary>
    private void List(string commit, params HubFile[] files)
    {
        HubListing listing = new(commit, files);
        string path = HubListing.PathOf(project.Cache, new HubModel("org/small", commit), commit);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, listing.ToJson());
    }

    private bool Download(ITaskItem item, bool update = false)
    {
        engine.Errors.Clear();
        using DownloadModels task = new()
        {
            BuildEngine = engine,
            Models = [item],
            ProjectFile = project.ProjectFile,
            Device = "cpu",
            HubRecord = Record,
            LockFile = LockFile.DefaultName,
            UpdateModels = update,
            // There is none.
            WorkerAssembly = Path.Combine(project.Folder, "worker", "absent.dll"),
        };
        return task.Execute();
    }

    private bool Declare(ITaskItem item, bool designTime = false)
    {
        engine.Errors.Clear();
        declared = new DeclareModels
        {
            BuildEngine = engine,
            Models = [item],
            ProjectFile = project.ProjectFile,
            RootNamespace = "Test",
            OutputFolder = project.OutputFolder,
            Device = "cpu",
            WorkerFolder = Path.Combine(project.Folder, "worker"),
            HubRecord = Record,
            LockFile = LockFile.DefaultName,
            DesignTime = designTime,
        };
        return declared.Execute();
    }
}
