namespace QuantBuild.Tests;

public sealed class RemoteCacheTests : IDisposable
{
    private static readonly string Fingerprint = new('c', 64);
    private readonly Machine maker = new(), taker = new();
    private readonly string shared = Directory.CreateTempSubdirectory("quantbuild-shared-").FullName;
    private readonly FolderStore store;

    public RemoteCacheTests() => store = new FolderStore(Path.Combine(shared, "models"));

    private string SharedArtifact => Path.Combine(shared, "models", "cc", Fingerprint + ".safetensors");

    public void Dispose()
    {
        maker.Dispose();
        taker.Dispose();
        Directory.Delete(shared, recursive: true);
    }

    [Fact]
    public async Task What_one_machine_made_another_takes()
    {
        CacheEntry made = maker.Make(Fingerprint, 3_000_000);
        Assert.True(await maker.Share(store, Fingerprint));
        Assert.Equal(3, Directory.GetFiles(Path.GetDirectoryName(SharedArtifact)!).Length);

        Assert.True(await taker.Fetch(store, Fingerprint));
        Machine.AssertSame(made, taker.Cache.Entry(Fingerprint));
        Assert.Contains(taker.Messages, m => m.Text.StartsWith("fetched 3.0 MB from the remote cache in ", StringComparison.Ordinal));
        Assert.Empty(taker.Warnings);
    }

    [Fact]
    public async Task What_is_not_there_is_no_warning()
    {
        Assert.False(await taker.Fetch(store, Fingerprint));
        Assert.Empty(taker.Messages);
        Assert.False(taker.Cache.Entry(Fingerprint).Exists);
    }

    [Fact]
    public async Task A_damaged_artifact_is_refused_by_its_checksum_and_sharing_again_mends_it()
    {
        CacheEntry made = maker.Make(Fingerprint, 100_000);
        await maker.Share(store, Fingerprint);
        byte[] bytes = File.ReadAllBytes(SharedArtifact);
        bytes[50_000] ^= 1;
        File.WriteAllBytes(SharedArtifact, bytes);

        Assert.False(await taker.Fetch(store, Fingerprint));
        Assert.Equal("QB1011", Assert.Single(taker.Warnings).Code);
        Assert.Empty(Directory.GetFiles(taker.Cache.Root, "*", SearchOption.AllDirectories));

        await maker.Share(store, Fingerprint);
        Assert.True(await taker.Fetch(store, Fingerprint));
        Machine.AssertSame(made, taker.Cache.Entry(Fingerprint));
    }

    [Fact]
    public async Task An_artifact_of_another_declaration_under_this_name_is_refused()
    {
        maker.Make(Fingerprint, 1000);
        await maker.Share(store, Fingerprint);
        Assert.False(await taker.Fetch(store, Fingerprint, says: new string('d', 64)));
        Assert.Contains(new string('d', 64), Assert.Single(taker.Warnings).Text, StringComparison.Ordinal);
        Assert.False(taker.Cache.Entry(Fingerprint).Exists);
    }

    [Theory]
    [InlineData("not json")]
    [InlineData("{}")]
    [InlineData("""{ "ArtifactBytes": "many", "ArtifactSha256": "" }""")]
    public async Task A_damaged_record_is_a_warning(string record)
    {
        maker.Make(Fingerprint, 1000);
        File.WriteAllText(maker.Cache.Entry(Fingerprint).BuildRecordPath, record);
        await maker.Share(store, Fingerprint);
        Assert.False(await taker.Fetch(store, Fingerprint));
        Assert.Equal("QB1009", Assert.Single(taker.Warnings).Code);
    }

    [Fact]
    public async Task A_transfer_goes_on_where_an_earlier_one_ended_and_begins_anew_where_that_was_of_another_artifact()
    {
        CacheEntry made = maker.Make(Fingerprint, 2_500_000), taken = taker.Cache.Entry(Fingerprint);
        await maker.Share(store, Fingerprint);
        string arriving = taken.ArtifactPath + ".fetched.tmp";
        Directory.CreateDirectory(Path.GetDirectoryName(arriving)!);
        File.WriteAllBytes(arriving, File.ReadAllBytes(made.ArtifactPath)[..1_500_000]);
        Assert.True(await taker.Fetch(store, Fingerprint));
        Machine.AssertSame(made, taken);
        Assert.Contains(taker.Messages, m => m.Text.StartsWith("fetched 1.0 MB ", StringComparison.Ordinal));

        taken.Delete();
        File.WriteAllBytes(arriving, new byte[2_000_000]);
        Assert.True(await taker.Fetch(store, Fingerprint));
        Machine.AssertSame(made, taken);
        Assert.Empty(taker.Warnings);
    }

    [Fact]
    public async Task A_folder_that_cannot_be_written_is_a_warning_that_names_it()
    {
        maker.Make(Fingerprint, 1000);
        string file = Path.Combine(shared, "a file");
        File.WriteAllText(file, "");
        Assert.False(await maker.Share(new FolderStore(file), Fingerprint));
        WorkerMessage warning = Assert.Single(maker.Warnings);
        Assert.Equal("QB1009", warning.Code);
        Assert.Contains("the place", warning.Text, StringComparison.Ordinal);
        Assert.Contains("QuantBuildRemoteCacheWrite", warning.Text, StringComparison.Ordinal);
    }
}
