using System.Globalization;
using Microsoft.Build.Framework;
using Microsoft.Build.Utilities;

namespace QuantBuild.Tasks.Tests;

/// <summary>A project folder with a model of a few bytes, a cache of its own, and a project file.</summary>
internal sealed class TestProject : IDisposable
{
    public TestProject()
    {
        Directory.CreateDirectory(Folder);
        Cache = new ModelCache(Path.Combine(Folder, "cache"));
        Environment.SetEnvironmentVariable(ModelCache.RootVariable, Cache.Root);
        Environment.SetEnvironmentVariable(HubCache.HomeVariable, Path.Combine(Folder, "huggingface"));
        WriteModel("tiny");
        Write("calibration.txt", "It was a dark and stormy night.");
        Write("evaluation.txt", "It was a dark and stormy morning.");
        foreach (string part in new[] { "Core", "Runtime", "Quantization", "Worker" }) Write($"worker/QuantBuild.{part}.dll", $"the code of {part}");
        Write("test.csproj", "<Project />");
    }

    public string Folder { get; } = Path.Combine(Path.GetTempPath(), "quantbuild-tasks-" + Guid.NewGuid().ToString("N"));

    public ModelCache Cache { get; }

    public string ProjectFile => Path.Combine(Folder, "test.csproj");

    public string OutputFolder => Path.Combine(Folder, "obj");

    public void Write(string name, string text)
    {
        string path = Path.Combine(Folder, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
        // A file hash is remembered only for files that have not just been written.
        File.SetLastWriteTimeUtc(path, DateTime.UtcNow.AddMinutes(-1));
    }

    public void WriteModel(string name)
    {
        Write(name + "/config.json", """
            { "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
              "num_attention_heads": 2, "vocab_size": 64, "max_position_embeddings": 128 }
            """);
        Write(name + "/tokenizer.json", "{}");
        Write(name + "/model.safetensors", "weights");
    }

    public static TaskItem Item(string include, params (string Name, string Value)[] metadata)
    {
        TaskItem item = new(include);
        foreach ((string name, string value) in metadata) item.SetMetadata(name, value);
        return item;
    }

    /// <summary>An item that is sound.</summary>
    public static TaskItem Sound(params (string Name, string Value)[] metadata) =>
        Item("tiny", [("CalibrationData", "calibration.txt"), ("GroupSize", "16"), .. metadata]);

    public (DeclareModels Task, RecordingBuildEngine Engine, bool Succeeded) Declare(params ITaskItem[] items) => Declare(false, "auto", items);

    public (DeclareModels Task, RecordingBuildEngine Engine, bool Succeeded) Declare(bool designTime, string device, params ITaskItem[] items)
    {
        RecordingBuildEngine engine = new();
        DeclareModels task = new()
        {
            BuildEngine = engine,
            Models = items,
            ProjectFile = ProjectFile,
            RootNamespace = "Test",
            OutputFolder = OutputFolder,
            HubRecord = Path.Combine(Folder, "obj", "quantbuild.models.txt"),
            Device = device,
            WorkerFolder = Path.Combine(Folder, "worker"),
            DesignTime = designTime,
        };
        bool succeeded = task.Execute();
        return (task, engine, succeeded);
    }

    public ModelDescriptor Descriptor(string className) =>
        ModelDescriptor.TryParse(File.ReadAllText(DescriptorPath(className)))
        ?? throw new InvalidOperationException(string.Format(CultureInfo.InvariantCulture, "{0} has no descriptor.", className));

    public string DescriptorPath(string className) => Path.Combine(OutputFolder, className + ModelDescriptor.FileSuffix);

    public void Dispose()
    {
        Environment.SetEnvironmentVariable(ModelCache.RootVariable, null);
        Environment.SetEnvironmentVariable(HubCache.HomeVariable, null);
        Directory.Delete(Folder, recursive: true);
    }
}
