using System.Net.Http.Headers;

namespace QuantBuild.Tests;

public sealed class HttpStoreTests : IDisposable
{
    private const int Size = 3_000_000;
    private static readonly string Fingerprint = new('b', 64);
    private readonly Machine maker = new(), taker = new();
    private readonly LoopbackServer server = new();

    public void Dispose()
    {
        maker.Dispose();
        taker.Dispose();
        server.Dispose();
    }

    [Fact]
    public async Task An_artifact_goes_there_and_comes_back_with_the_credentials_sent()
    {
        CacheEntry made = maker.Make(Fingerprint, Size);
        AuthenticationHeaderValue credentials = new("Bearer", "a-token");
        Assert.True(await maker.Share(new HttpStore(server.Address, credentials), Fingerprint));
        Assert.EndsWith(".build.json", server.Requests.Last(), StringComparison.Ordinal);
        Assert.True(await taker.Fetch(new HttpStore(server.Address, credentials), Fingerprint));
        Machine.AssertSame(made, taker.Cache.Entry(Fingerprint));
        Assert.All(server.Credentials, sent => Assert.Equal("Bearer a-token", sent));
        Assert.DoesNotContain(maker.Messages.Concat(taker.Messages), m => m.Text.Contains("a-token", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_connection_that_ends_in_the_middle_is_taken_up_where_it_ended_if_the_server_can_do_that(bool ranges)
    {
        CacheEntry made = maker.Make(Fingerprint, Size);
        await maker.Share(new HttpStore(server.Address, null), Fingerprint);
        server.HasRanges = ranges;
        server.Cuts = 2;
        Assert.True(await taker.Fetch(new HttpStore(server.Address, null), Fingerprint));
        Machine.AssertSame(made, taker.Cache.Entry(Fingerprint));
        Assert.Empty(taker.Warnings);
        Assert.Equal(2, server.Requests.Count(r => r.Contains("bytes=", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task A_server_that_is_busy_for_a_moment_is_asked_again()
    {
        CacheEntry made = maker.Make(Fingerprint, 1000);
        server.Failures = (2, 503);
        Assert.True(await maker.Share(new HttpStore(server.Address, null), Fingerprint));
        server.Failures = (2, 429);
        Assert.True(await taker.Fetch(new HttpStore(server.Address, null), Fingerprint));
        Machine.AssertSame(made, taker.Cache.Entry(Fingerprint));
    }

    [Theory]
    [InlineData(401, "QUANTBUILD_REMOTE_CACHE_TOKEN")]
    [InlineData(403, "QUANTBUILD_REMOTE_CACHE_TOKEN")]
    [InlineData(405, "405")]
    [InlineData(500, "500")]
    public async Task A_server_that_refuses_is_a_warning_that_says_what_to_do(int status, string advice)
    {
        maker.Make(Fingerprint, 1000);
        server.Failures = (100, status);
        Assert.False(await maker.Share(new HttpStore(server.Address, null), Fingerprint));
        Assert.False(await taker.Fetch(new HttpStore(server.Address, null), Fingerprint));
        foreach (Machine machine in new[] { maker, taker })
        {
            WorkerMessage warning = Assert.Single(machine.Warnings);
            Assert.Equal("QB1009", warning.Code);
            Assert.Contains(advice, warning.Text, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_server_that_is_not_there_is_a_warning()
    {
        server.Dispose();
        Assert.False(await taker.Fetch(new HttpStore(server.Address, null), Fingerprint));
        Assert.Equal("QB1009", Assert.Single(taker.Warnings).Code);
    }

    [Fact]
    public async Task Credentials_do_not_follow_to_where_a_server_redirects()
    {
        CacheEntry made = maker.Make(Fingerprint, 1000);
        await maker.Share(new HttpStore(server.Address, null), Fingerprint);
        server.Credentials.Clear();
        using LoopbackServer front = new() { RedirectsTo = server.Address };
        Assert.True(await taker.Fetch(new HttpStore(front.Address, new AuthenticationHeaderValue("Bearer", "a-token")), Fingerprint));
        Machine.AssertSame(made, taker.Cache.Entry(Fingerprint));
        Assert.All(front.Credentials, Assert.NotNull);
        Assert.All(server.Credentials, Assert.Null);
    }

    [Fact]
    public async Task A_fetch_that_is_cancelled_keeps_what_arrived()
    {
        maker.Make(Fingerprint, Size);
        await maker.Share(new HttpStore(server.Address, null), Fingerprint);
        using CancellationTokenSource cancellation = new();
        server.Cuts = int.MaxValue;
        Task<bool> fetch = taker.Fetch(new HttpStore(server.Address, null), Fingerprint, cancellationToken: cancellation.Token);
        while (!server.Requests.Any(r => r.Contains("bytes=", StringComparison.Ordinal))) await Task.Delay(10);
        await cancellation.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => fetch);
        Assert.True(new FileInfo(taker.Cache.ArtifactPath(Fingerprint) + ".fetched.tmp").Length >= Size / 2);
        Assert.False(taker.Cache.Entry(Fingerprint).Exists);
    }
}
