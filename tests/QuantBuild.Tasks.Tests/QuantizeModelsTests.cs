using System.Diagnostics;
using System.Globalization;
using Microsoft.Build.Framework;

namespace QuantBuild.Tasks.Tests;

[Collection("one cache variable a process")]
public sealed class QuantizeModelsTests : IDisposable
{
    private const string ArtifactName = "TinyGptq4.safetensors";
    private readonly TestProject project = new();
    private readonly RecordingBuildEngine engine = new();

    private string Starts => Path.Combine(project.Folder, "starts.txt");

    private string Artifact => Path.Combine(project.OutputFolder, ArtifactName);

    public void Dispose()
    {
        Environment.SetEnvironmentVariable("QUANTBUILD_STUB", null);
        Environment.SetEnvironmentVariable("QUANTBUILD_STUB_STARTS", null);
        project.Dispose();
    }

    [Fact]
    public void A_model_that_no_cache_has_is_quantized_once()
    {
        Assert.True(Run("done"));
        Assert.Equal(project.Descriptor("TinyGptq4").Fingerprint, File.ReadAllText(Artifact));
        Assert.Single(File.ReadAllLines(Starts));

        Assert.True(Run("crash"));
        Assert.Single(File.ReadAllLines(Starts));
    }

    [Fact]
    public void The_report_comes_with_the_artifact_from_the_worker_and_from_the_cache_and_is_named_once()
    {
        string report = Path.Combine(project.OutputFolder, "TinyGptq4.html");
        Assert.True(Run("done"));
        string fingerprint = project.Descriptor("TinyGptq4").Fingerprint;
        Assert.Equal("report on " + fingerprint, File.ReadAllText(report));

        Directory.Delete(project.OutputFolder, recursive: true);
        Assert.True(Run("crash"));
        Assert.Equal("report on " + fingerprint, File.ReadAllText(report));
        Assert.Single(engine.Messages, m => m.Message == "TinyGptq4: report: " + report && m.Importance == MessageImportance.High);
    }

    [Fact]
    public void An_artifact_whose_report_is_gone_from_the_cache_does_not_keep_that_of_the_one_before()
    {
        Assert.True(Run("done"));
        File.Delete(project.Cache.ReportPath(project.Descriptor("TinyGptq4").Fingerprint));
        project.Write("tiny/model.safetensors", "other weights");
        Assert.True(Run("done"));

        project.WriteModel("tiny");
        Assert.True(Run("crash"));
        Assert.False(File.Exists(Path.Combine(project.OutputFolder, "TinyGptq4.html")));
    }

    [Fact]
    public void The_workers_messages_reach_the_log_on_the_tasks_own_thread()
    {
        Assert.True(Run("done"));
        Assert.Contains(engine.Messages, m => m.Message == "TinyGptq4: layer 1 of 2, 4 s left" && m.Importance == MessageImportance.High);
        Assert.Contains(engine.Messages, m => m.Message == "TinyGptq4: a library says something" && m.Importance == MessageImportance.Low);
        Assert.Equal("QB3007", Assert.Single(engine.Warnings).Code);
        Assert.Equal([Environment.CurrentManagedThreadId], engine.Threads.Keys);
    }

    [Fact]
    public void An_error_of_the_worker_has_its_code_and_leaves_the_last_good_artifact()
    {
        Assert.True(Run("done"));
        string good = File.ReadAllText(Artifact);
        project.Write("tiny/model.safetensors", "other weights");

        Assert.False(Run("error"));
        BuildErrorEventArgs error = Assert.Single(engine.Errors);
        Assert.Equal("QB2005", error.Code);
        Assert.Equal("the weights are no good", error.Message);
        Assert.Equal(good, File.ReadAllText(Artifact));
        Assert.DoesNotContain(Directory.GetFiles(project.OutputFolder), f => f.Contains("request", StringComparison.Ordinal));
    }

    [Fact]
    public void A_model_that_fails_keeps_the_next_one_from_nothing()
    {
        Assert.True(Run("done"));
        Directory.Delete(project.OutputFolder, recursive: true);

        using QuantizeModels task = Prepare("error", TestProject.Sound(("Bits", "3")), TestProject.Sound());
        Assert.False(task.Execute());
        Assert.Equal(["QB2005"], engine.ErrorCodes);
        Assert.Equal(project.Descriptor("TinyGptq4").Fingerprint, File.ReadAllText(Artifact));
        Assert.False(File.Exists(Path.Combine(project.OutputFolder, "TinyGptq3.safetensors")));
    }

    [Fact]
    public void A_worker_that_dies_is_reported_with_its_exit_code_and_last_words()
    {
        Assert.False(Run("crash"));
        BuildErrorEventArgs error = Assert.Single(engine.Errors);
        Assert.Equal("QB1005", error.Code);
        Assert.Contains("42", error.Message, StringComparison.Ordinal);
        Assert.Contains("a library gives up", error.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(Artifact));
    }

    [Theory]
    [InlineData("obedient")]
    [InlineData("deaf")]
    public void Cancelling_ends_the_worker_whether_it_listens_or_not(string behaviour)
    {
        using QuantizeModels task = Prepare(behaviour);
        Stopwatch watch = Stopwatch.StartNew();
        using Timer timer = new(_ =>
        {
            if (engine.Messages.Any(m => m.Message!.Contains("waiting", StringComparison.Ordinal))) task.Cancel();
        }, null, 100, 50);
        Assert.False(task.Execute());
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(20), $"took {watch.Elapsed}");
        Assert.Empty(engine.Errors);
        Assert.False(File.Exists(Artifact));
        // The lock is free again: the next build is not kept waiting.
        Assert.True(Run("done"));
    }

    [Theory]
    [InlineData("obedient")]
    [InlineData("deaf")]
    public void A_logger_that_throws_ends_the_worker(string behaviour)
    {
        using QuantizeModels task = Prepare(behaviour);
        engine.OnMessage = message =>
        {
            if (message.Contains("waiting", StringComparison.Ordinal)) throw new InvalidOperationException("the log is closed");
        };
        Assert.Equal("the log is closed", Assert.Throws<InvalidOperationException>(() => task.Execute()).Message);

        int worker = int.Parse(Assert.Single(File.ReadAllLines(Starts)), CultureInfo.InvariantCulture);
        Assert.Throws<ArgumentException>(() => Process.GetProcessById(worker));
        Assert.False(File.Exists(Artifact + ".quantize-request.xml"));
        engine.OnMessage = null;
        Assert.True(Run("done"));
    }

    [Fact]
    public void A_worker_that_was_interrupted_did_not_fail()
    {
        Assert.False(Run("interrupted"));
        Assert.Empty(engine.Errors);
        Assert.Contains(engine.Messages, m => m.Message!.Contains("cancelled", StringComparison.Ordinal));
    }

    [Fact]
    public void An_artifact_that_the_cache_has_is_linked_and_not_made_again()
    {
        Assert.True(Run("done"));
        Directory.Delete(project.OutputFolder, recursive: true);
        Assert.True(Run("crash"));
        Assert.True(File.Exists(Artifact));
        Assert.Equal(File.GetLastWriteTimeUtc(project.Cache.ArtifactPath(project.Descriptor("TinyGptq4").Fingerprint)), File.GetLastWriteTimeUtc(Artifact));
        Assert.DoesNotContain(Directory.GetFiles(project.OutputFolder), f => Path.GetExtension(f).Length > 20);
    }

    [Fact]
    public void A_gate_is_held_against_what_the_cache_has_and_against_what_obj_has()
    {
        Assert.True(Run("measured", ("MaxPerplexityIncrease", "3.1%"), ("MaxKlDivergence", "0.06")));

        // A gate is no part of the fingerprint: nothing is quantized again, and the build fails all the same.
        Assert.False(Run("crash", ("MaxPerplexityIncrease", "2.9%")));
        BuildErrorEventArgs error = Assert.Single(engine.Errors);
        Assert.Equal("QB3008", error.Code);
        Assert.Contains("rose by 3% (from 100 to 103), and MaxPerplexityIncrease allows 2.9%", error.Message, StringComparison.Ordinal);
        Assert.True(File.Exists(Artifact));

        // The same where only the cache has it: the artifact does not come back.
        Directory.Delete(project.OutputFolder, recursive: true);
        Assert.False(Run("crash", ("MaxKlDivergence", "0.049")));
        Assert.False(File.Exists(Artifact));
        Assert.True(Run("crash", ("MaxKlDivergence", "0.05")));
        Assert.True(File.Exists(Artifact));
    }

    [Fact]
    public void An_artifact_that_a_gate_refuses_does_not_replace_the_last_good_one()
    {
        Assert.True(Run("measured"));
        string good = File.ReadAllText(Artifact);
        project.Write("tiny/model.safetensors", "other weights");
        Assert.False(Run("measured", ("MaxKlDivergence", "0.01")));
        Assert.Equal(good, File.ReadAllText(Artifact));
    }

    [Fact]
    public void A_gate_on_an_artifact_that_was_never_measured_is_QB3009()
    {
        Assert.True(Run("done"));
        Assert.False(Run("crash", ("MaxKlDivergence", "1")));
        Assert.Equal(["QB3009"], engine.ErrorCodes);
    }

    [Fact]
    public void What_the_quantizer_warned_of_is_said_once_in_every_build_at_the_item()
    {
        Assert.True(Run("measured"));
        Assert.Equal("QB3014", Assert.Single(engine.Warnings).Code);
        string first = engine.Warnings.Single().Message!;

        // Nothing to do; and the artifact from the cache.
        foreach (bool clean in new[] { false, true })
        {
            engine.Warnings.Clear();
            if (clean) Directory.Delete(project.OutputFolder, recursive: true);
            Assert.True(Run("crash"));
            BuildWarningEventArgs again = Assert.Single(engine.Warnings);
            Assert.Equal(("QB3014", first), (again.Code, again.Message));
            Assert.Equal(project.ProjectFile, again.File);
        }

        Assert.Single(File.ReadAllLines(Starts));
    }

    [Fact]
    public void An_artifact_under_obj_outlives_the_cache()
    {
        Assert.True(Run("done"));
        Directory.Delete(project.Cache.Root, recursive: true);
        Assert.True(Run("crash"));
    }

    [Fact]
    public void A_cache_that_cannot_be_written_is_an_error()
    {
        using QuantizeModels task = Prepare("done");
        Directory.Delete(project.Cache.Root, recursive: true);
        File.WriteAllText(project.Cache.Root, "a file where the folder should be");
        Assert.False(task.Execute());
        Assert.Equal(["QB1004"], engine.ErrorCodes);
    }

    [Fact]
    public void A_request_that_can_be_neither_written_nor_deleted_is_one_error()
    {
        using QuantizeModels task = Prepare("done");
        Directory.CreateDirectory(Artifact + ".quantize-request.xml");
        Assert.False(task.Execute());
        Assert.Equal(["QB1004"], engine.ErrorCodes);
    }

    [Fact]
    public void Only_models_that_are_neither_under_obj_nor_cached_need_a_worker()
    {
        Assert.Single(Find("auto", TestProject.Sound()).Missing);
        Assert.True(Run("done"));
        Assert.Empty(Find("auto", TestProject.Sound()).Missing);
        Directory.Delete(project.OutputFolder, recursive: true);
        Assert.Empty(Find("auto", TestProject.Sound()).Missing);
        Assert.Single(Find("auto", TestProject.Sound(("Bits", "3"))).Missing);
    }

    private FindModelsToQuantize Find(string device, ITaskItem item)
    {
        FindModelsToQuantize task = new()
        {
            BuildEngine = engine,
            Models = project.Declare(item).Task.Declared,
            ProjectFile = project.ProjectFile,
            Device = device,
            WorkerAssembly = Path.Combine(AppContext.BaseDirectory, "QuantBuild.Worker.dll"),
        };
        task.Execute();
        return task;
    }

    private QuantizeModels Prepare(string behaviour, params ITaskItem[] items)
    {
        Environment.SetEnvironmentVariable("QUANTBUILD_STUB", behaviour);
        Environment.SetEnvironmentVariable("QUANTBUILD_STUB_STARTS", Starts);
        return new QuantizeModels
        {
            BuildEngine = engine,
            Models = project.Declare(items.Length > 0 ? items : [TestProject.Sound()]).Task.Declared,
            Device = "cpu",
            WorkerAssembly = Path.Combine(AppContext.BaseDirectory, "QuantBuild.Worker.dll"),
        };
    }

    private bool Run(string behaviour, params (string Name, string Value)[] metadata)
    {
        using QuantizeModels task = Prepare(behaviour, TestProject.Sound(metadata));
        return task.Execute();
    }
}
