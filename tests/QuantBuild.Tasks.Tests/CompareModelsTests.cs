using Microsoft.Build.Framework;

namespace QuantBuild.Tasks.Tests;

[Collection("one cache variable a process")]
public sealed class CompareModelsTests : IDisposable
{
    private readonly TestProject project = new();
    private readonly RecordingBuildEngine engine = new();

    public void Dispose()
    {
        Environment.SetEnvironmentVariable("QUANTBUILD_STUB", null);
        Environment.SetEnvironmentVariable("QUANTBUILD_STUB_STARTS", null);
        project.Dispose();
    }

    [Fact]
    public void Each_model_has_its_comparison_and_the_table_goes_to_the_log_as_it_is()
    {
        using CompareModels task = Prepare("done", TestProject.Sound(), TestProject.Sound(("Bits", "3")));
        Assert.True(task.Execute());
        foreach (int bits in new[] { 4, 3 })
        {
            foreach (string ending in new[] { "html", "md", "json" }) Assert.True(File.Exists(Path.Combine(project.OutputFolder, $"TinyGptq{bits}.compare.{ending}")));
            Assert.Contains(engine.Messages, m => m.Message == $"| Gptq {bits} {{0}} |" && m.Importance == MessageImportance.High);
        }

        // No model was quantized for the build, and no request stays.
        Assert.DoesNotContain(Directory.GetFiles(project.OutputFolder), file => file.EndsWith(".safetensors", StringComparison.Ordinal) || file.Contains("request", StringComparison.Ordinal));
    }

    [Fact]
    public void An_error_of_the_worker_has_its_code()
    {
        using CompareModels task = Prepare("error", TestProject.Sound());
        Assert.False(task.Execute());
        Assert.Equal(["QB2005"], engine.ErrorCodes);
    }

    [Fact]
    public void Cancelling_ends_the_worker_and_is_no_error()
    {
        using CompareModels task = Prepare("obedient", TestProject.Sound());
        using Timer timer = new(_ =>
        {
            if (engine.Messages.Any(m => m.Message!.Contains("waiting", StringComparison.Ordinal))) task.Cancel();
        }, null, 100, 50);
        Assert.False(task.Execute());
        Assert.Empty(engine.Errors);
        Assert.Contains(engine.Messages, m => m.Message!.Contains("cancelled", StringComparison.Ordinal));
        Assert.DoesNotContain(Directory.GetFiles(project.OutputFolder), file => file.Contains("request", StringComparison.Ordinal));
    }

    private CompareModels Prepare(string behaviour, params ITaskItem[] items)
    {
        Environment.SetEnvironmentVariable("QUANTBUILD_STUB", behaviour);
        Environment.SetEnvironmentVariable("QUANTBUILD_STUB_STARTS", Path.Combine(project.Folder, "starts.txt"));
        return new CompareModels
        {
            BuildEngine = engine,
            Models = project.Declare(items).Task.Declared,
            Device = "cpu",
            WorkerAssembly = Path.Combine(AppContext.BaseDirectory, "QuantBuild.Worker.dll"),
        };
    }
}
