using System.Diagnostics;

namespace QuantBuild.Core.Tests;

public sealed class ModelCacheTests : IDisposable
{
    private static readonly string Fingerprint = new('a', 64);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly TemporaryFolder folder = new();
    private readonly ModelCache cache;

    public ModelCacheTests() => cache = new ModelCache(Path.Combine(folder.Path, "cache"));

    public void Dispose() => folder.Dispose();

    [Fact]
    public void An_artifact_and_its_record_lie_side_by_side_under_the_fingerprint()
    {
        Assert.Equal(Path.Combine(cache.Root, "artifacts", "aa", Fingerprint + ".safetensors"), cache.ArtifactPath(Fingerprint));
        Assert.Equal(Path.Combine(cache.Root, "artifacts", "aa", Fingerprint + ".build.json"), cache.BuildRecordPath(Fingerprint));
    }

    [Fact]
    public void The_cache_of_an_artifact_is_found_from_its_path()
    {
        Assert.Equal(cache.Root, ModelCache.OfArtifact(cache.ArtifactPath(Fingerprint), Fingerprint).Root);
        Assert.Equal(ModelCache.Default().Root, ModelCache.OfArtifact(Path.Combine(folder.Path, "elsewhere.safetensors"), Fingerprint).Root);
        Assert.StartsWith(cache.Root, cache.WorkFolder(Fingerprint), StringComparison.Ordinal);
    }

    [Fact]
    public void The_environment_moves_the_cache()
    {
        string? before = Environment.GetEnvironmentVariable(ModelCache.RootVariable);
        try
        {
            Environment.SetEnvironmentVariable(ModelCache.RootVariable, folder.Path);
            Assert.Equal(folder.Path, ModelCache.Default().Root);
            Environment.SetEnvironmentVariable(ModelCache.RootVariable, null);
            Assert.Equal("QuantBuild", Path.GetFileName(ModelCache.Default().Root));
        }
        finally
        {
            Environment.SetEnvironmentVariable(ModelCache.RootVariable, before);
        }
    }

    [Fact]
    public void A_free_lock_is_taken_at_once_and_again_after_it_was_freed()
    {
        for (int i = 0; i < 2; i++)
        {
            using IDisposable held = cache.Lock(Fingerprint, () => Assert.Fail("nobody holds the lock"), CancellationToken.None);
        }
    }

    [Fact]
    public void Locks_of_two_fingerprints_do_not_meet()
    {
        using IDisposable one = cache.Lock(Fingerprint, () => Assert.Fail("nobody holds the lock"), CancellationToken.None);
        using IDisposable two = cache.Lock(new string('b', 64), () => Assert.Fail("nobody holds the lock"), CancellationToken.None);
    }

    [Fact]
    public async Task A_second_thread_is_told_once_and_waits_until_the_lock_is_freed()
    {
        using SemaphoreSlim told = new(0);
        Task second;
        using (cache.Lock(Fingerprint, () => { }, CancellationToken.None))
        {
            second = Task.Run(() => cache.Lock(Fingerprint, () => told.Release(), CancellationToken.None).Dispose());
            Assert.True(await told.WaitAsync(Patience));
            await Task.Delay(500);
            Assert.False(second.IsCompleted);
        }

        await second.WaitAsync(Patience);
        Assert.Equal(0, told.CurrentCount);
    }

    [Fact]
    public async Task Who_waits_long_is_told_again()
    {
        using SemaphoreSlim told = new(0);
        Task second;
        using (cache.Lock(Fingerprint, () => { }, CancellationToken.None))
        {
            second = Task.Run(() => cache.Lock(Fingerprint, () => told.Release(), CancellationToken.None).Dispose());
            for (int i = 0; i < 2; i++) Assert.True(await told.WaitAsync(TimeSpan.FromSeconds(30)));
        }

        await second.WaitAsync(Patience);
    }

    [Fact]
    public async Task A_wait_can_be_cancelled()
    {
        using IDisposable held = cache.Lock(Fingerprint, () => { }, CancellationToken.None);
        using CancellationTokenSource cancellation = new();
        Task second = Task.Run(() => cache.Lock(Fingerprint, cancellation.Cancel, cancellation.Token));
        await Assert.ThrowsAsync<OperationCanceledException>(() => second.WaitAsync(Patience));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_lock_held_by_another_process_is_waited_for_and_freed_however_that_process_ends(bool kill)
    {
        using Process other = Process.Start(new ProcessStartInfo(
            Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet",
            ["exec", typeof(ModelCacheTests).Assembly.Location, "hold-lock", cache.Root, Fingerprint])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        })!;
        Assert.Equal("held", await other.StandardOutput.ReadLineAsync().WaitAsync(Patience));

        using SemaphoreSlim told = new(0);
        Task second = Task.Run(() => cache.Lock(Fingerprint, () => told.Release(), CancellationToken.None).Dispose());
        Assert.True(await told.WaitAsync(Patience));
        Assert.False(second.IsCompleted);
        if (kill) other.Kill();
        else other.StandardInput.Close();

        await second.WaitAsync(Patience);
        await other.WaitForExitAsync().WaitAsync(Patience);
    }

    [Fact]
    public void A_cache_whose_folder_cannot_be_made_is_named_with_the_way_out()
    {
        ModelCache blocked = new(Path.Combine(folder.File("file", ""), "cache"));
        ErrorAssert.Throws(
            "QB1004", () => blocked.Lock(Fingerprint, () => { }, CancellationToken.None).Dispose(), blocked.Root, ModelCache.RootVariable);
    }

    [Fact]
    public void A_lock_file_that_is_a_folder_is_an_error_and_not_a_wait()
    {
        Directory.CreateDirectory(Path.Combine(cache.Root, "locks", Fingerprint + ".lock"));
        ErrorAssert.Throws("QB1004", () => cache.Lock(Fingerprint, () => { }, Soon()).Dispose(), cache.Root);
    }

    [Fact]
    public void A_lock_file_that_is_there_but_refuses_to_be_written_is_an_error_and_not_a_wait()
    {
        // Linux refuses to open the file of a running program for writing, even to root: the refusal of a read-only file system is like it.
        if (!OperatingSystem.IsLinux()) return;
        Directory.CreateDirectory(Path.Combine(cache.Root, "locks"));
        File.CreateSymbolicLink(Path.Combine(cache.Root, "locks", Fingerprint + ".lock"), Environment.ProcessPath!);
        ErrorAssert.Throws("QB1004", () => cache.Lock(Fingerprint, () => { }, Soon()).Dispose(), cache.Root);
    }

    private static CancellationToken Soon() => new CancellationTokenSource(TimeSpan.FromSeconds(3)).Token;
}
