using Microsoft.Build.Framework;

namespace QuantBuild.Tasks.Tests;

/// <summary>What builds take from caches and give to them: a damaged artifact, the modes, the remote cache, the limit.</summary>
[Collection("one cache variable a process")]
public sealed class CacheTests : IDisposable
{
    private readonly TestProject project = new();
    private readonly RecordingBuildEngine engine = new();

    private string Starts => Path.Combine(project.Folder, "starts.txt");

    private string Artifact => Path.Combine(project.OutputFolder, "TinyGptq4.safetensors");

    private CacheEntry Entry => project.Cache.Entry(project.Descriptor("TinyGptq4").Fingerprint);

    private int Workers => File.Exists(Starts) ? File.ReadAllLines(Starts).Length : 0;

    public void Dispose()
    {
        Environment.SetEnvironmentVariable("QUANTBUILD_STUB", null);
        Environment.SetEnvironmentVariable("QUANTBUILD_STUB_STARTS", null);
        Environment.SetEnvironmentVariable(CacheEviction.LimitVariable, null);
        project.Dispose();
    }

    [Fact]
    public void A_damaged_artifact_in_the_cache_is_warned_of_once_and_made_again()
    {
        Assert.True(Build("done"));
        CacheEntry entry = Entry;
        Directory.Delete(project.OutputFolder, recursive: true);
        // Not through a link to it: that would be the same file.
        File.Delete(entry.ArtifactPath);
        File.WriteAllText(entry.ArtifactPath, "half of it");

        engine.Warnings.Clear();
        Assert.True(Build("done"));
        Assert.Equal(2, Workers);
        Assert.Contains("had 64 when it was made", Assert.Single(engine.Warnings, w => w.Code == "QB1011").Message, StringComparison.Ordinal);
        Assert.Equal(Entry.Fingerprint, File.ReadAllText(Artifact));
        Assert.Null(Entry.Damage(FileHash.OfFile));
    }

    [Fact]
    public void CacheOnly_fails_at_the_item_where_no_cache_has_the_artifact_and_takes_it_where_one_has()
    {
        Assert.False(Build("done", mode: "CacheOnly"));
        BuildErrorEventArgs error = Assert.Single(engine.Errors);
        Assert.Equal("QB1010", error.Code);
        Assert.Contains("TinyGptq4", error.Message, StringComparison.Ordinal);
        Assert.Contains(Entry.Fingerprint, error.Message, StringComparison.Ordinal);
        Assert.Equal(0, Workers);

        Assert.True(Build("done"));
        Directory.Delete(project.OutputFolder, recursive: true);
        Assert.True(Build("crash", mode: "cacheonly"));
        Assert.True(File.Exists(Artifact));
    }

    [Fact]
    public void Force_quantizes_again_what_the_cache_and_obj_have_and_begins_at_the_first_layer()
    {
        Assert.True(Build("done"));
        string layer = Path.Combine(project.Cache.WorkFolder(Entry.Fingerprint), "layer");
        Directory.CreateDirectory(Path.GetDirectoryName(layer)!);
        File.WriteAllText(layer, "");
        Assert.True(Build("done", mode: "Force"), string.Join("\n", engine.Errors.Select(e => e.Message)));
        Assert.Equal(2, Workers);
        Assert.False(File.Exists(layer));

        // And where that fails, what was there is still there.
        Assert.False(Build("error", mode: "Force"));
        Assert.True(Build("crash"));
        Assert.Equal(Entry.Fingerprint, File.ReadAllText(Artifact));
    }

    [Fact]
    public void A_mode_that_does_not_exist_is_an_error_that_lists_those_that_do()
    {
        Assert.False(Build("done", mode: "Cache-Only"));
        Assert.Equal("QB0006", Assert.Single(engine.Errors).Code);
        Assert.Contains("Auto, CacheOnly, Force. Probably CacheOnly is meant.", engine.Errors.Single().Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("Auto")]
    [InlineData("CacheOnly")]
    public void What_the_remote_cache_has_is_fetched_and_not_quantized(string mode)
    {
        Assert.True(Build("remote", mode, remote: "https://cache.example.org"));
        Assert.Equal(Entry.Fingerprint, File.ReadAllText(Artifact));
        Assert.Equal(1, Workers);
        Assert.Empty(engine.Warnings);
    }

    [Fact]
    public void What_the_remote_cache_lacks_is_quantized_and_shared_and_a_failure_to_share_is_a_warning()
    {
        Assert.True(Build("remote", mode: "Force", remote: "https://cache.example.org"));
        BuildWarningEventArgs warning = Assert.Single(engine.Warnings);
        Assert.Equal("QB1009", warning.Code);
        Assert.Contains($"share {Entry.Fingerprint} --to https://cache.example.org", warning.Message, StringComparison.Ordinal);
        Assert.True(File.Exists(Artifact));

        engine.Warnings.Clear();
        Assert.True(Build("remote", mode: "Force", remote: "https://cache.example.org", write: false));
        Assert.Empty(engine.Warnings);
    }

    [Fact]
    public void A_build_that_adds_an_artifact_evicts_what_was_not_used_for_long()
    {
        Assert.True(Build("done"));
        CacheEntry old = Entry;
        Directory.Delete(project.OutputFolder, recursive: true);
        File.SetLastWriteTimeUtc(old.BuildRecordPath, DateTime.UtcNow.AddDays(-2));
        Environment.SetEnvironmentVariable(CacheEviction.LimitVariable, "100");
        project.Write("tiny/model.safetensors", "other weights");
        Assert.True(Build("done"));
        Assert.False(old.Exists);
        Assert.True(Entry.Exists);
        Assert.Contains(engine.Messages, m => m.Message!.Contains("QUANTBUILD_CACHE_LIMIT", StringComparison.Ordinal));
    }

    [Fact]
    public void Artifacts_in_the_output_take_no_room_of_their_own_and_are_replaced_not_written_to()
    {
        Assert.True(Build("done"));
        string output = Path.Combine(project.Folder, "bin");
        Link(output);
        string linked = Path.Combine(output, "TinyGptq4.safetensors");
        Assert.Equal(Entry.Fingerprint, File.ReadAllText(linked));
        // What MSBuild's copy goes by.
        Assert.Equal(File.GetLastWriteTimeUtc(Artifact), File.GetLastWriteTimeUtc(linked));

        string first = Entry.ArtifactPath;
        project.Write("tiny/model.safetensors", "other weights");
        Assert.True(Build("done"));
        Link(output);
        Assert.Equal(Entry.Fingerprint, File.ReadAllText(linked));
        Assert.NotEqual(Entry.Fingerprint, File.ReadAllText(first));
        Assert.Equal([linked], Directory.GetFiles(output));
    }

    private void Link(string output)
    {
        ITaskItem item = TestProject.Item(Artifact, ("TargetPath", Path.GetFileName(Artifact)));
        Assert.True(new LinkArtifacts { BuildEngine = engine, Artifacts = [item], OutputFolder = output }.Execute());
    }

    /// <summary>What the targets do: find what is missing, and quantize that unless finding it failed.</summary>
    private bool Build(string behaviour, string mode = "", string remote = "", bool write = true)
    {
        Environment.SetEnvironmentVariable("QUANTBUILD_STUB", behaviour);
        Environment.SetEnvironmentVariable("QUANTBUILD_STUB_STARTS", Starts);
        ITaskItem[] models = project.Declare(TestProject.Sound()).Task.Declared;
        string worker = Path.Combine(AppContext.BaseDirectory, "QuantBuild.Worker.dll");
        using FindModelsToQuantize find = new()
        {
            BuildEngine = engine, Models = models, ProjectFile = project.ProjectFile, Device = "cpu", WorkerAssembly = worker, Mode = mode, RemoteCache = remote,
        };
        if (!find.Execute()) return false;
        using QuantizeModels quantize = new()
        {
            BuildEngine = engine, Models = models, Device = "cpu", WorkerAssembly = worker, Mode = mode, RemoteCache = remote, WriteRemoteCache = write,
        };
        return quantize.Execute();
    }
}
