using System.Net.Http.Headers;
using System.Text;
using Azure;
using Azure.Core;
using Azure.Identity;
using Azure.Storage.Blobs;

namespace QuantBuild;

/// <summary>
/// Where a remote cache is, as <c>QuantBuildRemoteCache</c> names it, and with which credentials it is asked. Credentials come from the environment or from what
/// the machine is signed in with, never from the location: that one is in logs.
/// </summary>
internal static class RemoteCacheLocation
{
    /// <summary>The environment variable with a token for an HTTP server.</summary>
    public const string TokenVariable = "QUANTBUILD_REMOTE_CACHE_TOKEN";

    /// <summary>The environment variable with a user and a password for an HTTP server, with a colon between.</summary>
    public const string UserVariable = "QUANTBUILD_REMOTE_CACHE_USER";

    private const string ConnectionStringVariable = "AZURE_STORAGE_CONNECTION_STRING";
    private const string SasVariable = "AZURE_STORAGE_SAS_TOKEN";
    private const string Forms = "a folder, https://server/path, https://account.blob.core.windows.net/container, or azure://container with " + ConnectionStringVariable + " in the environment";

    /// <summary>Opens a location.</summary>
    /// <param name="location">A folder, an address, or <c>azure://container/prefix</c>.</param>
    /// <param name="environment">Gives an environment variable.</param>
    /// <exception cref="QuantBuildException">QB1012: it is none of these, or has a secret in it.</exception>
    public static IRemoteStore Open(string location, Func<string, string?> environment)
    {
        // "C:\cache" and "/cache" are addresses of files to Uri, "cache" is none.
        if (!location.Contains("://", StringComparison.Ordinal)) return new FolderStore(Path.GetFullPath(location));
        if (!Uri.TryCreate(location, UriKind.Absolute, out Uri? address)) throw Invalid($"\"{location}\" is not an address");
        if (address.UserInfo.Length > 0 || address.Query.Length > 0)
        {
            throw Invalid(
                $"the address of {address.Host} has a user, a password or a query in it, and everybody who reads a log of the build would have them as well. Take them out, and put a token " +
                $"into the environment variable {TokenVariable} (or {UserVariable}, {SasVariable})");
        }

        string? Variable(string name) => environment(name) is { Length: > 0 } value ? value : null;
        return address switch
        {
            { IsFile: true } => new FolderStore(address.LocalPath),
            { Scheme: "azure" } => AzureOf(address, Variable),
            { Scheme: "https" or "http" } when address.Host.Contains(".blob.", StringComparison.OrdinalIgnoreCase) => AzureAt(address, Variable),
            { Scheme: "https" or "http" } => new HttpStore(address, HttpCredentials(address, Variable)),
            _ => throw Invalid($"nothing is known of {address.Scheme}://"),
        };
    }

    // azure://container/prefix: the account is the connection string's.
    private static AzureBlobStore AzureOf(Uri address, Func<string, string?> variable)
    {
        string connection = variable(ConnectionStringVariable)
            ?? throw Invalid($"azure://{address.Host} needs the storage account in the environment variable {ConnectionStringVariable}, and it is not set");
        try
        {
            return new AzureBlobStore(new BlobContainerClient(connection, address.Host, Patience(new BlobClientOptions())), Prefix(address.AbsolutePath));
        }
        catch (FormatException)
        {
            // Its message may quote the key.
            throw Invalid($"the environment variable {ConnectionStringVariable} is not a connection string of a storage account");
        }
    }

    // https://account.blob.core.windows.net/container/prefix
    private static AzureBlobStore AzureAt(Uri address, Func<string, string?> variable)
    {
        string[] parts = address.AbsolutePath.Trim('/').Split('/', 2);
        if (parts[0].Length == 0) throw Invalid($"{address} names no container");
        BlobClientOptions options = Patience(new BlobClientOptions());
        Uri account = new(address.GetLeftPart(UriPartial.Authority));
        BlobServiceClient service = variable(SasVariable) is { } sas
            ? new BlobServiceClient(account, new AzureSasCredential(sas), options)
            : new BlobServiceClient(account, (TokenCredential)new DefaultAzureCredential(), options);
        return new AzureBlobStore(service.GetBlobContainerClient(parts[0]), parts.Length > 1 ? Prefix(parts[1]) : "");
    }

    private static AuthenticationHeaderValue? HttpCredentials(Uri address, Func<string, string?> variable)
    {
        AuthenticationHeaderValue? credentials = variable(TokenVariable) is { } token ? new AuthenticationHeaderValue("Bearer", token)
            : variable(UserVariable) is { } user ? new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(user)))
            : null;
        if (credentials is null || address.Scheme == "https" || address.IsLoopback) return credentials;
        throw Invalid($"{address} is not https, and the credentials in {TokenVariable} or {UserVariable} would be sent for everybody to read. Use https, or remove the variable");
    }

    // A build waits for an answer: what is not there after some seconds is not there.
    private static BlobClientOptions Patience(BlobClientOptions options)
    {
        options.Retry.MaxRetries = 2;
        options.Retry.NetworkTimeout = TimeSpan.FromSeconds(30);
        return options;
    }

    private static string Prefix(string path) => path.Trim('/') is { Length: > 0 } prefix ? prefix + "/" : "";

    private static QuantBuildException Invalid(string why) =>
        new(DiagnosticIds.RemoteCacheInvalid, $"QuantBuildRemoteCache cannot be used: {why}. Expected {Forms}.");
}
