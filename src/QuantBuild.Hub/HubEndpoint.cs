using System.Net.Http.Headers;

namespace QuantBuild;

/// <summary>Where the hub is, and who asks: the environment variables of huggingface_hub.</summary>
/// <param name="root">The hub's address.</param>
/// <param name="token">The user's token; <see langword="null"/> asks as nobody.</param>
internal sealed class HubEndpoint(Uri root, string? token)
{
    /// <summary>The environment variable that names another hub, or a mirror.</summary>
    public const string EndpointVariable = "HF_ENDPOINT";

    /// <summary>The environment variable that has the user's token.</summary>
    public const string TokenVariable = "HF_TOKEN";

    private const string DefaultEndpoint = "https://huggingface.co";

    // Of a token file. A token has some forty characters.
    private const int LongestToken = 1000;

    /// <summary>The hub's address, without a slash at its end.</summary>
    public string Address { get; } = root.AbsoluteUri.TrimEnd('/');

    /// <summary>Whether the user has told who asks.</summary>
    public bool HasToken => token is not null;

    /// <summary>Reads the environment.</summary>
    /// <exception cref="QuantBuildException">QB1043: a variable has a value that cannot be used.</exception>
    public static HubEndpoint FromEnvironment()
    {
        string address = Environment.GetEnvironmentVariable(EndpointVariable) is { Length: > 0 } value ? value.Trim() : DefaultEndpoint;
        bool isAddress = Uri.TryCreate(address, UriKind.Absolute, out Uri? root) && root.Scheme is "https" or "http";
        if (!isAddress || root!.UserInfo.Length > 0 || root.Query.Length > 0)
        {
            // A secret may be in it.
            string what = root is { UserInfo.Length: > 0 } or { Query.Length: > 0 } ? "has a user or a query in it" : $"is \"{address}\"";
            throw new QuantBuildException(
                DiagnosticIds.HubSettingInvalid,
                $"{EndpointVariable} {what}, expected the address of a hub such as {DefaultEndpoint}. Correct the environment variable, or remove it; a token belongs in {TokenVariable}.");
        }

        return new HubEndpoint(root!, Token());
    }

    /// <summary>
    /// What to tell a server of oneself: the token, to the hub itself alone. Whoever it redirects to has the right in the address; and an unencrypted line shows the token to everyone on it.
    /// </summary>
    public AuthenticationHeaderValue? CredentialsFor(Uri address) =>
        token is not null && IsHub(address) && (address.Scheme == "https" || address.IsLoopback) ? new AuthenticationHeaderValue("Bearer", token) : null;

    /// <summary>A text of a server as it may be shown: one line, not long, and without the token.</summary>
    public string Shown(string text)
    {
        const int most = 300;
        string line = string.Concat(text.Select(c => char.IsControl(c) ? ' ' : c)).Trim();
        if (token is not null) line = line.Replace(token, "…", StringComparison.Ordinal);
        return line.Length > most ? line[..most] + "…" : line;
    }

    private bool IsHub(Uri address) => address.Scheme == root.Scheme && address.IdnHost == root.IdnHost && address.Port == root.Port;

    private static string? Token()
    {
        foreach (string name in new[] { TokenVariable, "HUGGING_FACE_HUB_TOKEN" })
        {
            if (Clean(Environment.GetEnvironmentVariable(name) ?? "", $"the environment variable {name}") is { } given) return given;
        }

        // Where `hf auth login` leaves it.
        string path = HubCache.Variable("HF_TOKEN_PATH") ?? Path.Combine(HubCache.Home, "token");
        try
        {
            return File.Exists(path) && new FileInfo(path).Length <= LongestToken ? Clean(File.ReadAllText(path), path) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A token that may not be read is none: most models need none.
            return null;
        }
    }

    private static string? Clean(string text, string where)
    {
        string token = text.Trim();
        if (token.Length == 0) return null;
        if (token.All(c => c is > ' ' and <= '~')) return token;
        throw new QuantBuildException(DiagnosticIds.HubSettingInvalid, $"What {where} has is not a token of the hub: a token is one word of ASCII characters. Take it from {DefaultEndpoint}/settings/tokens again.");
    }
}
