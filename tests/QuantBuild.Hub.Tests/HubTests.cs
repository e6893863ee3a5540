using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;

namespace QuantBuild.Tests;

[Collection("one environment a process")]
public sealed class HubTests : IDisposable
{
    private const string Token = "hf_aVerySecretTokenOfThisTest";

    private readonly LoopbackHub hub = new();
    private readonly HubMachine machine;
    private readonly LoopbackRepository repository;

    public HubTests()
    {
        machine = new HubMachine(hub.Address);
        repository = hub.Add("org/tiny");
    }

    public void Dispose()
    {
        machine.Dispose();
        hub.Dispose();
    }

    [Fact]
    public async Task Only_the_files_of_the_model_are_downloaded_and_they_lie_in_the_layout_of_huggingface_hub()
    {
        (string Name, byte[] Content)[] files = HubMachine.Model();
        string commit = repository.Push("main", files);

        string snapshot = await machine.Download("org/tiny");

        string folder = Path.Combine(machine.HubFolder, "models--org--tiny");
        Assert.Equal(Path.Combine(folder, "snapshots", commit), snapshot);
        Assert.Equal(["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"], Directory.GetFiles(snapshot).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.Equal(commit, File.ReadAllText(Path.Combine(folder, "refs", "main")));
        foreach ((string name, byte[] content) in files.Where(f => File.Exists(Path.Combine(snapshot, f.Name)) && !f.Name.Contains('/', StringComparison.Ordinal)))
        {
            string etag = name == "model.safetensors" ? LoopbackHub.Sha256(content) : LoopbackHub.GitHash(content);
            Assert.Equal(content, File.ReadAllBytes(Path.Combine(snapshot, name)));
            Assert.Equal(content, File.ReadAllBytes(Path.Combine(folder, "blobs", etag)));
            Assert.Equal($"../../blobs/{etag}", new FileInfo(Path.Combine(snapshot, name)).LinkTarget);
            Assert.True(File.Exists(Path.Combine(machine.HubFolder, ".locks", "models--org--tiny", etag + ".lock")));
        }

        Assert.Equal(4, Directory.GetFiles(Path.Combine(folder, "blobs")).Length);
        Assert.DoesNotContain(machine.Files(), f => f.EndsWith(".py", StringComparison.Ordinal) || f.Contains("outside", StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_description_comes_without_the_weights_and_a_commit_that_is_there_asks_nothing()
    {
        string commit = repository.Push("main", HubMachine.Model());
        string snapshot = await machine.Download("org/tiny", withWeights: false);
        Assert.False(File.Exists(Path.Combine(snapshot, "model.safetensors")));
        HubListing listing = HubListing.Recall(machine.Own, new HubModel("org/tiny", commit), commit)!;
        Assert.Equal("model.safetensors", Assert.Single(listing.Weights(snapshot)).Name);

        await machine.Download("org/tiny", commit);
        int asked = hub.Requests.Count;
        await machine.Download("org/tiny", commit);
        Assert.Equal(asked, hub.Requests.Count);
    }

    [Fact]
    public async Task A_branch_with_a_slash_and_a_tag_are_resolved_and_recorded()
    {
        string first = repository.Push("refs/pr/1", HubMachine.Model());
        string second = repository.Push("v1.0", HubMachine.Model(seed: 2));
        Assert.EndsWith(first, await machine.Download("org/tiny", "refs/pr/1"), StringComparison.Ordinal);
        Assert.EndsWith(second, await machine.Download("org/tiny", "v1.0"), StringComparison.Ordinal);
        Assert.Equal(first, machine.Cache.Resolve(new HubModel("org/tiny", "refs/pr/1")));
        Assert.True(File.Exists(Path.Combine(machine.HubFolder, "models--org--tiny", "refs", "refs", "pr", "1")));
    }

    [Fact]
    public async Task Of_weights_in_several_files_those_that_the_index_lists_come_several_at_once()
    {
        repository.Push(
            "main",
            [
                .. HubMachine.Model().Where(f => f.Name != "model.safetensors"),
                ("model.safetensors.index.json", HubMachine.Text("""{ "weight_map": { "a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors", "c": "model-00001-of-00002.safetensors" } }""")),
                ("model-00001-of-00002.safetensors", HubMachine.Random(200_000, 3)),
                ("model-00002-of-00002.safetensors", HubMachine.Random(200_000, 4)),
                ("consolidated.safetensors", HubMachine.Random(400_000, 5)),
            ]);
        hub.Delay = TimeSpan.FromMilliseconds(300);
        string snapshot = await machine.Download("org/tiny");
        Assert.Equal(2, Directory.GetFiles(snapshot, "*.safetensors").Length);
        Assert.False(File.Exists(Path.Combine(snapshot, "consolidated.safetensors")));
        Assert.InRange(hub.MostAtOnce, 2, 8);
    }

    [Theory]
    [InlineData(false, "pytorch_model.bin")]
    [InlineData(true, "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")]
    [InlineData(false, "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")]
    public async Task Without_safetensors_the_weights_of_PyTorch_come_and_are_whole_only_together(bool indexed, params string[] weights)
    {
        const string index = """{ "weight_map": { "a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin" } }""";
        string commit = repository.Push(
            "main",
            [
                .. HubMachine.Model().Where(f => f.Name is not ("model.safetensors" or "pytorch_model.bin")),
                ("training_args.bin", HubMachine.Random(10)),
                .. indexed ? new[] { ("pytorch_model.bin.index.json", HubMachine.Text(index)) } : [],
                .. weights.Select((name, i) => (name, HubMachine.Random(1000, i))),
            ]);
        string snapshot = await machine.Download("org/tiny", commit, withWeights: false);
        Assert.Empty(Directory.GetFiles(snapshot, "*.bin"));
        await machine.Download("org/tiny", commit);
        Assert.Equal(weights, Directory.GetFiles(snapshot, "*.bin").Select(Path.GetFileName).Order(StringComparer.Ordinal));

        // The same as huggingface_hub would have left it, without a listing.
        Directory.Delete(machine.Own.Root, recursive: true);
        HubModel model = new("org/tiny", commit);
        Assert.True(machine.Cache.Has(machine.Own, model, commit, withWeights: true));
        foreach (string name in indexed ? weights[1..] : weights) File.Delete(Path.Combine(snapshot, name));
        Assert.False(machine.Cache.Has(machine.Own, model, commit, withWeights: true));
    }

    [Fact]
    public async Task An_index_that_is_larger_than_any_is_not_read()
    {
        byte[] index = new byte[(64 << 20) + 1];
        index.AsSpan().Fill((byte)' ');
        repository.Push("main", [.. HubMachine.Model(), ("model.safetensors.index.json", index)]);
        QuantBuildException error = await machine.Fail("org/tiny");
        Assert.Equal(DiagnosticIds.HubModelUnusable, error.Id);
        Assert.Contains("at most 67108864 are read", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_GGUF_file_of_a_repository_comes_alone_with_what_stands_in_for_a_part_of_it()
    {
        string commit = repository.Push(
            "main",
            [
                ("README.md", HubMachine.Text("x")), ("tokenizer.json", HubMachine.Text("{ }")), ("tiny.Q8_0.gguf", HubMachine.Random(1000, 1)), ("tiny.Q4_K_M.gguf", HubMachine.Random(1000, 2)),
                ("tiny.F16-00001-of-00002.gguf", HubMachine.Random(1000, 3)), ("tiny.F16-00002-of-00002.gguf", HubMachine.Random(1000, 4)),
            ]);
        // Its header describes the model: the weights come with the description.
        string file = await machine.Download("org/tiny/tiny.Q8_0.gguf", commit, withWeights: false);
        Assert.Equal(Path.Combine(machine.HubFolder, "models--org--tiny", "snapshots", commit, "tiny.Q8_0.gguf"), file);
        Assert.Equal(["tiny.Q8_0.gguf", "tokenizer.json"], Directory.GetFiles(Path.GetDirectoryName(file)!).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        int asked = hub.Requests.Count;
        await machine.Download("org/tiny/tiny.Q8_0.gguf", commit);
        Assert.Equal(asked, hub.Requests.Count);

        string first = await machine.Download("org/tiny/tiny.F16-00001-of-00002.gguf", commit);
        Assert.True(File.Exists(first.Replace("-00001-", "-00002-", StringComparison.Ordinal)));
        HubMachine.Set(HubCache.OfflineVariable, "1");
        Directory.Delete(machine.Own.Root, recursive: true);
        Assert.Equal(first, await machine.Download("org/tiny/tiny.F16-00001-of-00002.gguf", commit));
        File.Delete(first.Replace("-00001-", "-00002-", StringComparison.Ordinal));
        Assert.Equal(DiagnosticIds.HubOffline, (await machine.Fail("org/tiny/tiny.F16-00001-of-00002.gguf", commit)).Id);
    }

    [Fact]
    public async Task A_GGUF_file_that_the_repository_lacks_is_named_with_those_that_it_has()
    {
        repository.Push("main", ("tiny.Q8_0.gguf", HubMachine.Random(10)), ("tiny.F16-00001-of-00002.gguf", HubMachine.Random(10)));
        QuantBuildException error = await machine.Fail("org/tiny/tiny.F32.gguf");
        Assert.Equal(DiagnosticIds.HubModelUnusable, error.Id);
        Assert.Contains("has no tiny.F32.gguf; it has tiny.F16-00001-of-00002.gguf, tiny.Q8_0.gguf. Its GGUF files are", error.Message, StringComparison.Ordinal);
        Assert.Contains("has no tiny.F16-00002-of-00002.gguf", (await machine.Fail("org/tiny/tiny.F16-00001-of-00002.gguf")).Message, StringComparison.Ordinal);
        Assert.Contains("Name the GGUF file that is to be read, such as org/tiny/tiny.F16-00001-of-00002.gguf", (await machine.Fail("org/tiny")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_transfer_that_was_cut_goes_on_where_it_was()
    {
        repository.Push("main", HubMachine.Model(2_000_000));
        hub.Cuts = 3;
        string snapshot = await machine.Download("org/tiny");
        Assert.Equal(HubMachine.Random(2_000_000), File.ReadAllBytes(Path.Combine(snapshot, "model.safetensors")));
        string[] deliveries = [.. hub.Requests.Where(r => r.StartsWith("GET /delivery", StringComparison.Ordinal))];
        Assert.Equal(4, deliveries.Length);
        Assert.All(deliveries[1..], r => Assert.Matches("[1-9][0-9]*-$", r));
    }

    [Fact]
    public async Task What_an_ended_download_left_is_gone_on_with_even_where_a_server_has_no_ranges_and_where_it_is_damaged()
    {
        byte[] content = HubMachine.Random(400_000);
        string commit = repository.Push("main", HubMachine.Model(content.Length));
        string incomplete = Path.Combine(machine.HubFolder, "models--org--tiny", "blobs", LoopbackHub.Sha256(content) + ".incomplete");
        async Task Resume(byte[] left)
        {
            await machine.Download("org/tiny", commit, withWeights: false);
            File.WriteAllBytes(incomplete, left);
            string snapshot = await machine.Download("org/tiny", commit);
            Assert.Equal(content, File.ReadAllBytes(Path.Combine(snapshot, "model.safetensors")));
            Assert.False(File.Exists(incomplete));
            Directory.Delete(machine.HubFolder, recursive: true);
        }

        await Resume(content[..150_000]);
        Assert.Contains(hub.Requests, r => r.EndsWith(" 150000-", StringComparison.Ordinal) && r.Contains("delivery", StringComparison.Ordinal));
        await Resume(HubMachine.Random(150_000, 9));
        await Resume(HubMachine.Random(500_000, 9));
        hub.HasRanges = false;
        await Resume(content[..150_000]);
    }

    [Fact]
    public async Task A_cancelled_download_leaves_what_has_arrived()
    {
        repository.Push("main", HubMachine.Model(400_000));
        await machine.Download("org/tiny", withWeights: false);
        hub.Delay = TimeSpan.FromSeconds(20);
        using CancellationTokenSource cancellation = new(TimeSpan.FromMilliseconds(500));
        Stopwatch clock = Stopwatch.StartNew();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => machine.Download("org/tiny", cancellationToken: cancellation.Token));
        Assert.InRange(clock.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(5));
        Assert.Single(machine.Files(), f => f.EndsWith(".incomplete", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_file_with_another_hash_is_refused_and_removed()
    {
        repository.Push("main", HubMachine.Model());
        hub.Damages = 100;
        QuantBuildException error = await machine.Fail("org/tiny");
        Assert.Equal(DiagnosticIds.HubFileMismatch, error.Id);
        Assert.Contains("git hash", error.Message, StringComparison.Ordinal);
        hub.Damages = 0;
        await machine.Download("org/tiny", withWeights: false);
        hub.Damages = 1;
        error = await machine.Fail("org/tiny");
        Assert.Equal(DiagnosticIds.HubFileMismatch, error.Id);
        Assert.Contains("model.safetensors of org/tiny at ", error.Message, StringComparison.Ordinal);
        Assert.Contains(LoopbackHub.Sha256(HubMachine.Random(300_000)), error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(machine.Files(), f => f.EndsWith(".incomplete", StringComparison.Ordinal) || Path.GetFileName(f) == "model.safetensors");
        await machine.Download("org/tiny");
    }

    [Fact]
    public async Task A_file_of_the_cache_that_is_not_what_its_name_says_is_downloaded_again()
    {
        string commit = repository.Push("main", HubMachine.Model());
        string weights = Path.Combine(await machine.Download("org/tiny"), "model.safetensors");
        byte[] damaged = File.ReadAllBytes(weights);
        damaged[5] ^= 1;
        File.WriteAllBytes(weights, damaged);
        await machine.Download("org/tiny", commit);
        Assert.Equal(HubMachine.Random(300_000), File.ReadAllBytes(weights));

        File.Delete(new FileInfo(weights).ResolveLinkTarget(returnFinalTarget: true)!.FullName);
        Assert.False(machine.Cache.Has(machine.Own, new HubModel("org/tiny", commit), commit, withWeights: true));
        await machine.Download("org/tiny", commit);
        Assert.Equal(HubMachine.Random(300_000), File.ReadAllBytes(weights));
    }

    [Fact]
    public async Task The_token_goes_to_the_hub_alone_and_is_written_nowhere()
    {
        (repository.Token, repository.IsGated, repository.IsAccepted) = (Token, true, true);
        repository.Push("main", HubMachine.Model());
        HubMachine.Set(HubEndpoint.TokenVariable, $" {Token}\n");
        await machine.Download("org/tiny");
        Assert.Contains(hub.Told, t => t.Request.StartsWith("/delivery/", StringComparison.Ordinal));
        Assert.All(hub.Told, t => Assert.Equal(t.Request.StartsWith("/delivery/", StringComparison.Ordinal) ? null : "Bearer " + Token, t.Credentials));
        Assert.DoesNotContain(machine.Messages, m => m.Text.Contains(Token, StringComparison.Ordinal));
        Assert.All(machine.Files(), f => Assert.DoesNotContain(Token, File.ReadAllText(f), StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_token_of_the_command_line_tool_is_used_and_that_of_the_environment_comes_before_it()
    {
        (repository.Token, repository.IsGated, repository.IsAccepted) = (Token, true, true);
        repository.Push("main", HubMachine.Model());
        string file = Path.Combine(machine.HubFolder, "..", "token");
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        File.WriteAllText(file, Token + "\n");
        await machine.Download("org/tiny");
        HubMachine.Set(HubEndpoint.TokenVariable, "hf_another");
        QuantBuildException error = await machine.Fail("org/tiny");
        Assert.Equal(DiagnosticIds.HubAccessDenied, error.Id);
        Assert.Contains("does not know the token", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("hf_another", error.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("https://hub.example", "https://hub.example/api/x", true)]
    [InlineData("https://hub.example", "https://HUB.example:443/api/x", true)]
    [InlineData("https://hub.example", "https://cdn.hub.example/x", false)]
    [InlineData("https://hub.example", "https://hub.example:8443/x", false)]
    [InlineData("https://hub.example", "http://hub.example/x", false)]
    [InlineData("http://hub.example", "http://hub.example/x", false)]
    [InlineData("http://127.0.0.1:5000", "http://127.0.0.1:5000/x", true)]
    public void The_token_goes_to_no_other_host_and_over_no_open_line(string endpoint, string address, bool goes) =>
        Assert.Equal(goes, new HubEndpoint(new Uri(endpoint), Token).CredentialsFor(new Uri(address)) is not null);

    [Fact]
    public async Task A_gated_model_says_where_to_accept_and_what_to_set()
    {
        (repository.Token, repository.IsGated) = (Token, true);
        repository.Push("main", HubMachine.Model());
        QuantBuildException error = await machine.Fail("org/tiny");
        Assert.Equal(DiagnosticIds.HubAccessDenied, error.Id);
        Assert.Contains($"Accept them at {hub.Address}/org/tiny and set the environment variable HF_TOKEN", error.Message, StringComparison.Ordinal);

        HubMachine.Set(HubEndpoint.TokenVariable, Token);
        error = await machine.Fail("org/tiny");
        Assert.Equal(DiagnosticIds.HubAccessDenied, error.Id);
        Assert.Contains("you are not in the authorized list", error.Message, StringComparison.Ordinal);
        Assert.Contains("make sure that the token in HF_TOKEN", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_model_or_a_revision_that_is_not_there_is_said_to_be_missing()
    {
        repository.Push("main", HubMachine.Model());
        QuantBuildException error = await machine.Fail("org/nothing");
        Assert.Equal(DiagnosticIds.HubModelMissing, error.Id);
        Assert.Contains($"There is no folder org/nothing, and no model org/nothing at {hub.Address}", error.Message, StringComparison.Ordinal);
        error = await machine.Fail("org/tiny", "v7");
        Assert.Equal(DiagnosticIds.HubModelMissing, error.Id);
        Assert.Contains("org/tiny has no revision v7", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(429, "1", 2)]
    [InlineData(503, "1", 2)]
    [InlineData(503, null, 3)]
    [InlineData(500, null, 1)]
    public async Task A_hub_that_asks_for_patience_gets_it(int status, string? retryAfter, int count)
    {
        repository.Push("main", HubMachine.Model());
        hub.Failures = (count, status, retryAfter);
        Stopwatch clock = Stopwatch.StartNew();
        await machine.Download("org/tiny");
        if (retryAfter is not null) Assert.InRange(clock.Elapsed, TimeSpan.FromSeconds(count), TimeSpan.FromSeconds(60));
    }

    [Fact]
    public async Task A_rate_limit_that_lasts_and_a_hub_that_stays_down_say_what_to_do()
    {
        repository.Push("main", HubMachine.Model());
        hub.Failures = (1000, 429, "600");
        QuantBuildException error = await machine.Fail("org/tiny");
        Assert.Equal(DiagnosticIds.HubRateLimited, error.Id);
        Assert.Contains("Build again in 10 min; with HF_TOKEN set to a token, the hub allows more.", error.Message, StringComparison.Ordinal);
        Assert.Single(hub.Requests);
        hub.Failures = (1000, 503, null);
        error = await machine.Fail("org/tiny");
        Assert.Equal(DiagnosticIds.HubUnreachable, error.Id);
        Assert.Contains("the hub answered 503 (asked 5 times)", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_renamed_model_is_followed_with_the_token()
    {
        (repository.Token, repository.IsGated, repository.IsAccepted) = (Token, true, true);
        repository.Push("main", HubMachine.Model());
        hub.Add("org/old").RenamedTo = "org/tiny";
        HubMachine.Set(HubEndpoint.TokenVariable, Token);
        string snapshot = await machine.Download("org/old");
        Assert.Contains("models--org--old", snapshot, StringComparison.Ordinal);
        Assert.Equal(HubMachine.Random(300_000), File.ReadAllBytes(Path.Combine(snapshot, "model.safetensors")));
    }

    [Theory]
    [InlineData("<html>Sign in to the network</html>")]
    [InlineData("""{ "sha": "main", "siblings": [] }""")]
    [InlineData("""{ "sha": "0123456789012345678901234567890123456789" }""")]
    [InlineData("""{ "sha": "0123456789012345678901234567890123456789", "siblings": [{ "rfilename": "config.json", "size": 2, "blobId": "../../../x" }] }""")]
    [InlineData("""{ "sha": "0123456789012345678901234567890123456789", "siblings": [{ "rfilename": "config.json", "size": -2, "blobId": "0123456789012345678901234567890123456789" }] }""")]
    public async Task An_answer_that_is_not_a_hubs_is_no_listing(string answer)
    {
        repository.Push("main", HubMachine.Model());
        repository.Listing = answer;
        QuantBuildException error = await machine.Fail("org/tiny");
        Assert.Equal(DiagnosticIds.HubUnreachable, error.Id);
        Assert.Contains("is not an answer of a hub", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_repository_without_a_model_says_what_it_has()
    {
        repository.Push("main", ("README.md", HubMachine.Text("x")), ("model-Q4.gguf", HubMachine.Random(10)));
        QuantBuildException error = await machine.Fail("org/tiny");
        Assert.Equal(DiagnosticIds.HubModelUnusable, error.Id);
        Assert.Contains("has no config.json; it has README.md, model-Q4.gguf.", error.Message, StringComparison.Ordinal);
        repository.Push("main", ("config.json", HubMachine.Text("{}")), ("tokenizer.json", HubMachine.Text("{}")), ("weights.h5", HubMachine.Random(10)));
        Assert.Equal(DiagnosticIds.HubModelUnusable, (await machine.Fail("org/tiny")).Id);
    }

    [Fact]
    public async Task Offline_takes_what_the_cache_has_and_asks_nobody()
    {
        HubMachine.Set(HubCache.OfflineVariable, "1");
        QuantBuildException error = await machine.Fail("org/tiny");
        Assert.Equal(DiagnosticIds.HubOffline, error.Id);
        Assert.Empty(hub.Requests);

        HubMachine.Set(HubCache.OfflineVariable, null);
        string commit = repository.Push("main", HubMachine.Model());
        await machine.Download("org/tiny");
        int asked = hub.Requests.Count;
        HubMachine.Set(HubCache.OfflineVariable, "TRUE");
        Assert.EndsWith(commit, await machine.Download("org/tiny"), StringComparison.Ordinal);
        // What huggingface_hub left has no listing.
        Directory.Delete(machine.Own.Root, recursive: true);
        Assert.EndsWith(commit, await machine.Download("org/tiny"), StringComparison.Ordinal);
        Assert.Equal(asked, hub.Requests.Count);
    }

    [Fact]
    public async Task Without_a_network_a_branch_is_the_commit_that_the_cache_has()
    {
        string commit = repository.Push("main", HubMachine.Model());
        await machine.Download("org/tiny");
        HubMachine.Set(HubEndpoint.EndpointVariable, Unused());
        Assert.EndsWith(commit, await machine.Download("org/tiny"), StringComparison.Ordinal);
        Assert.Contains(machine.Messages, m => Regex.IsMatch(m.Text, $@"^the hub could not be asked \(.+\); org/tiny at {commit} is taken, which the cache has$"));

        QuantBuildException error = await machine.Fail("org/other");
        Assert.Equal(DiagnosticIds.HubUnreachable, error.Id);
    }

    [Theory]
    [InlineData("ftp://hub.example")]
    [InlineData("hub.example")]
    [InlineData("https://user:secret@hub.example")]
    public async Task A_setting_that_cannot_be_used_is_an_error_without_its_secret(string endpoint)
    {
        HubMachine.Set(HubEndpoint.EndpointVariable, endpoint);
        QuantBuildException error = await machine.Fail("org/tiny");
        Assert.Equal(DiagnosticIds.HubSettingInvalid, error.Id);
        Assert.DoesNotContain("secret", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_download_waits_for_the_process_that_has_the_lock_of_huggingface_hub()
    {
        byte[] content = HubMachine.Random(300_000);
        repository.Push("main", HubMachine.Model());
        await machine.Download("org/tiny", withWeights: false);
        string path = Path.Combine(machine.HubFolder, ".locks", "models--org--tiny", LoopbackHub.Sha256(content) + ".lock");
        // What Python's filelock does on Linux.
        using Process holder = Process.Start(new ProcessStartInfo("flock", [path, "sleep", "1.5"]))!;
        await Task.Delay(400);
        Stopwatch clock = Stopwatch.StartNew();
        await machine.Download("org/tiny");
        Assert.InRange(clock.Elapsed, TimeSpan.FromSeconds(0.6), TimeSpan.FromSeconds(30));
        Assert.Contains(machine.Messages, m => m.Text.Contains("another process downloads model.safetensors", StringComparison.Ordinal));
        await holder.WaitForExitAsync();
    }

    [Fact]
    public async Task Progress_has_rate_and_time_left()
    {
        repository.Push("main", HubMachine.Model(3_000_000));
        hub.Delay = TimeSpan.FromMilliseconds(2200);
        await machine.Download("org/tiny");
        Assert.Contains(machine.Messages, m => m.Kind == WorkerMessageKind.Progress && m.SecondsLeft >= 0 && Regex.IsMatch(m.Text, @"^downloading org/tiny \d+ of 3 MB, \d+\.\d MB/s$"));
        Assert.Contains(machine.Messages, m => m.Text.StartsWith("downloaded model.safetensors of org/tiny, 3.0 MB in ", StringComparison.Ordinal));
    }

    private static string Unused()
    {
        using TcpListener probe = new(IPAddress.Loopback, 0);
        probe.Start();
        return $"http://127.0.0.1:{((IPEndPoint)probe.LocalEndpoint).Port}";
    }
}
