namespace QuantBuild.Tests;

public sealed class RemoteCacheLocationTests
{
    private const string Key = "c2VjcmV0c2VjcmV0";
    private const string Connection = "DefaultEndpointsProtocol=https;AccountName=team;AccountKey=" + Key + ";EndpointSuffix=core.windows.net";

    [Theory]
    [InlineData("../shared", typeof(FolderStore))]
    [InlineData("/mnt/models with spaces", typeof(FolderStore))]
    [InlineData("file:///mnt/models", typeof(FolderStore))]
    [InlineData("https://cache.example.org/models", typeof(HttpStore))]
    [InlineData("http://127.0.0.1:8080", typeof(HttpStore))]
    [InlineData("https://team.blob.core.windows.net/models/quantbuild", typeof(AzureBlobStore))]
    [InlineData("azure://models/quantbuild", typeof(AzureBlobStore))]
    public void Every_form_opens_its_store(string location, Type type)
    {
        using IRemoteStore store = RemoteCacheLocation.Open(location, name => name == "AZURE_STORAGE_CONNECTION_STRING" ? Connection : null);
        Assert.IsType(type, store);
    }

    [Theory]
    [InlineData("https://me:hunter2@cache.example.org/models")]
    [InlineData("https://team.blob.core.windows.net/models?sv=2024&sig=hunter2")]
    public void A_secret_in_the_location_is_refused_and_not_repeated(string location)
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => RemoteCacheLocation.Open(location, _ => null));
        Assert.Equal("QB1012", error.Id);
        Assert.DoesNotContain("hunter2", error.Message, StringComparison.Ordinal);
        Assert.Contains("QUANTBUILD_REMOTE_CACHE_TOKEN", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("ftp://cache.example.org/models", null)]
    [InlineData("https://", null)]
    [InlineData("https://team.blob.core.windows.net/", null)]
    [InlineData("azure://models", null)]
    [InlineData("azure://models", "AccountKey=" + Key)]
    public void What_is_no_place_for_a_cache_is_an_error_that_lists_what_is(string location, string? connection)
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => RemoteCacheLocation.Open(location, name => name == "AZURE_STORAGE_CONNECTION_STRING" ? connection : null));
        Assert.Equal("QB1012", error.Id);
        Assert.Contains("azure://container", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(Key, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Credentials_are_sent_over_https_and_to_this_machine_and_never_over_http()
    {
        static string? Environment(string name) => name == "QUANTBUILD_REMOTE_CACHE_TOKEN" ? "hunter2" : null;
        RemoteCacheLocation.Open("https://cache.example.org", Environment).Dispose();
        RemoteCacheLocation.Open("http://localhost:8080", Environment).Dispose();
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => RemoteCacheLocation.Open("http://cache.example.org", Environment));
        Assert.Equal("QB1012", error.Id);
        Assert.DoesNotContain("hunter2", error.Message, StringComparison.Ordinal);
    }
}
