using System.Text;

namespace QuantBuild.Tests;

/// <summary>A machine with caches of its own and the environment variables of the hub, and what its builds were told.</summary>
internal sealed class HubMachine : IDisposable
{
    private static readonly string[] Variables =
    [
        HubEndpoint.EndpointVariable, HubEndpoint.TokenVariable, "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "XDG_CACHE_HOME",
    ];

    private readonly string folder = Directory.CreateTempSubdirectory("quantbuild-hub-").FullName;

    public HubMachine(string endpoint)
    {
        foreach (string name in Variables) Environment.SetEnvironmentVariable(name, null);
        Environment.SetEnvironmentVariable(HubEndpoint.EndpointVariable, endpoint);
        Environment.SetEnvironmentVariable("HF_HOME", Path.Combine(folder, "hf"));
    }

    public HubCache Cache { get; private set; } = null!;

    public ModelCache Own => new(Path.Combine(folder, "own"));

    public string HubFolder => Path.Combine(folder, "hf", "hub");

    public List<WorkerMessage> Messages { get; } = [];

    public static byte[] Text(string text) => Encoding.UTF8.GetBytes(text);

    public static byte[] Random(int bytes, int seed = 1)
    {
        byte[] content = new byte[bytes];
        new Random(seed).NextBytes(content);
        return content;
    }

    /// <summary>The files of a small model, beside what no build needs.</summary>
    public static (string Name, byte[] Content)[] Model(int bytes = 300_000, int seed = 1) =>
    [
        ("config.json", Text("{}")), ("tokenizer.json", Text("{ }")), ("tokenizer_config.json", Text("{  }")), ("README.md", Text("read me")), ("modeling_tiny.py", Text("import os")),
        ("onnx/model.safetensors", Random(10)), ("../outside.safetensors", Random(10)), ("pytorch_model.bin", Random(bytes, 7)), ("model.safetensors", Random(bytes, seed)),
    ];

    public static void Set(string name, string? value) => Environment.SetEnvironmentVariable(name, value);

    public async Task<string> Download(string id, string revision = "main", bool withWeights = true, CancellationToken cancellationToken = default)
    {
        Cache = HubCache.Default();
        return await new Hub(Cache, Own, Messages.Add).DownloadAsync(HubModel.Named(id, revision)!, withWeights, cancellationToken);
    }

    public async Task<QuantBuildException> Fail(string id, string revision = "main") => await Assert.ThrowsAsync<QuantBuildException>(() => Download(id, revision));

    /// <summary>Every file under both caches.</summary>
    public IEnumerable<string> Files() => Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories);

    public void Dispose()
    {
        foreach (string name in Variables) Environment.SetEnvironmentVariable(name, null);
        Directory.Delete(folder, recursive: true);
    }
}
