using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Azure.Storage.Blobs;

namespace QuantBuild.Tests;

/// <summary>Against Azurite, the official emulator, as npm has it.</summary>
public sealed class AzureBlobStoreTests : IClassFixture<Azurite>, IDisposable
{
    private static readonly string Fingerprint = new('e', 64);
    private readonly Azurite azurite;
    private readonly Machine maker = new(), taker = new();

    public AzureBlobStoreTests(Azurite azurite) => this.azurite = azurite;

    public void Dispose()
    {
        maker.Dispose();
        taker.Dispose();
    }

    [FactWithNode]
    public async Task An_artifact_goes_into_a_container_and_comes_back_also_from_the_middle()
    {
        string container = await azurite.CreateContainer();
        CacheEntry made = maker.Make(Fingerprint, 5_000_000), taken = taker.Cache.Entry(Fingerprint);
        Assert.True(await maker.Share(azurite.Open($"azure://{container}/team/models"), Fingerprint), string.Join('\n', maker.Messages));
        Assert.True(await taker.Fetch(azurite.Open($"azure://{container}/team/models"), Fingerprint), string.Join('\n', taker.Messages));
        Machine.AssertSame(made, taken);

        byte[] whole = File.ReadAllBytes(taken.ArtifactPath);
        taken.Delete();
        File.WriteAllBytes(taken.ArtifactPath + ".fetched.tmp", whole[..4_000_000]);
        Assert.True(await taker.Fetch(azurite.Open($"azure://{container}/team/models/"), Fingerprint));
        Machine.AssertSame(made, taken);
        Assert.Contains(taker.Messages, m => m.Text.StartsWith("fetched 1.0 MB ", StringComparison.Ordinal));
        Assert.Empty(taker.Warnings);
    }

    [FactWithNode]
    public async Task A_blob_that_is_not_there_is_no_warning_and_a_container_that_is_not_there_is_one()
    {
        string container = await azurite.CreateContainer();
        Assert.False(await taker.Fetch(azurite.Open($"azure://{container}"), Fingerprint));
        Assert.Empty(taker.Warnings);

        Assert.False(await taker.Fetch(azurite.Open("azure://no-such-container"), Fingerprint));
        maker.Make(Fingerprint, 1000);
        Assert.False(await maker.Share(azurite.Open("azure://no-such-container"), Fingerprint));
        Assert.All([Assert.Single(maker.Warnings), Assert.Single(taker.Warnings)], warning => Assert.Equal("QB1009", warning.Code));
    }

    [FactWithNode]
    public async Task A_wrong_key_is_a_warning_that_does_not_show_it()
    {
        string container = await azurite.CreateContainer();
        const string wrong = "d3Jvbmcga2V5IHdyb25nIGtleQ==";
        using IRemoteStore store = RemoteCacheLocation.Open($"azure://{container}", _ => azurite.Connection(wrong));
        Assert.False(await taker.Fetch(store, Fingerprint));
        WorkerMessage warning = Assert.Single(taker.Warnings);
        Assert.Equal("QB1009", warning.Code);
        Assert.DoesNotContain(wrong, warning.Text, StringComparison.Ordinal);
        Assert.Contains("AZURE_STORAGE_SAS_TOKEN", warning.Text, StringComparison.Ordinal);
    }
}

/// <summary>A test that needs Node.js and npm: skipped where they are not.</summary>
internal sealed class FactWithNodeAttribute : FactAttribute
{
    public FactWithNodeAttribute()
    {
        if (Azurite.Find("node") is null || Azurite.Find("npm") is null) Skip = "Azurite, the emulator of Azure Blob Storage, needs node and npm on the PATH (apt-get install nodejs npm)";
    }
}

/// <summary>The emulator, installed once for the machine and started once for the tests.</summary>
public sealed class Azurite : IAsyncLifetime
{
    private const string Version = "3.37.0";

    // The emulator's own, the same everywhere.
    private const string Account = "devstoreaccount1";
    private const string Key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

    private Process? process;
    private int port;

    public static string? Find(string program) => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
        .SelectMany(folder => new[] { Path.Combine(folder, program), Path.Combine(folder, program + ".exe"), Path.Combine(folder, program + ".cmd") }).FirstOrDefault(File.Exists);

    public async Task InitializeAsync()
    {
        if (Find("node") is not { } node || Find("npm") is not { } npm) return;
        string folder = Path.Combine(Path.GetTempPath(), "quantbuild-azurite-" + Version), main = Path.Combine(folder, "node_modules/azurite/dist/src/blob/main.js");
        if (!File.Exists(main)) await Install(npm, folder);
        using (TcpListener probe = new(IPAddress.Loopback, 0))
        {
            probe.Start();
            port = ((IPEndPoint)probe.LocalEndpoint).Port;
        }

        process = Start(node, main, "--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--disableTelemetry", "--blobHost", "127.0.0.1", "--blobPort", port.ToString(CultureInfo.InvariantCulture));
        for (Stopwatch watch = Stopwatch.StartNew(); ;)
        {
            try
            {
                using TcpClient client = new();
                await client.ConnectAsync(IPAddress.Loopback, port);
                return;
            }
            catch (SocketException) when (watch.Elapsed < TimeSpan.FromMinutes(1) && !process.HasExited)
            {
                await Task.Delay(100);
            }
        }
    }

    public Task DisposeAsync()
    {
        process?.Kill();
        process?.Dispose();
        return Task.CompletedTask;
    }

    public string Connection(string key = Key) => string.Create(
        CultureInfo.InvariantCulture, $"DefaultEndpointsProtocol=http;AccountName={Account};AccountKey={key};BlobEndpoint=http://127.0.0.1:{port}/{Account}");

    internal IRemoteStore Open(string location) => RemoteCacheLocation.Open(location, name => name == "AZURE_STORAGE_CONNECTION_STRING" ? Connection() : null);

    public async Task<string> CreateContainer()
    {
        string name = "c" + Guid.NewGuid().ToString("N");
        await new BlobContainerClient(Connection(), name).CreateAsync();
        return name;
    }

    // Beside its place, and then moved there: two runs at once do not see half of it.
    private static async Task Install(string npm, string folder)
    {
        string installing = folder + "-" + Guid.NewGuid().ToString("N");
        Directory.CreateDirectory(installing);
        using (Process install = Start(npm, "install", "azurite@" + Version, "--prefix", installing, "--no-audit", "--no-fund", "--ignore-scripts"))
        {
            await install.WaitForExitAsync();
            if (install.ExitCode != 0) throw new InvalidOperationException($"npm could not install azurite: exit code {install.ExitCode}");
        }

        try
        {
            Directory.Move(installing, folder);
        }
        catch (IOException) when (Directory.Exists(folder))
        {
            Directory.Delete(installing, recursive: true);
        }
    }

    private static Process Start(string program, params string[] arguments) => Process.Start(new ProcessStartInfo(program, arguments) { UseShellExecute = false })!;
}
