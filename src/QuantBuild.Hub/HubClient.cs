using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text;

namespace QuantBuild;

/// <summary>Asks the hub over HTTP: what a revision has, and the bytes of a file.</summary>
/// <param name="endpoint">Where it is, and who asks.</param>
internal sealed class HubClient(HubEndpoint endpoint) : IDisposable
{
    // A server that says nothing for this long says nothing more.
    private static readonly TimeSpan Silence = TimeSpan.FromSeconds(30);
    private const int MostRedirects = 8;
    private const int LargestListing = 32_000_000;

    // Redirects are followed here, since the token may go along to one place and not to another.
    private readonly HttpClient client = new(new SocketsHttpHandler { AllowAutoRedirect = false, ConnectTimeout = TimeSpan.FromSeconds(15), UseCookies = false })
    {
        Timeout = Timeout.InfiniteTimeSpan,
        DefaultRequestHeaders = { UserAgent = { new ProductInfoHeaderValue("quantbuild", typeof(HubClient).Assembly.GetName().Version!.ToString(3)) } },
    };

    /// <inheritdoc/>
    public void Dispose() => client.Dispose();

    /// <summary>What a revision has.</summary>
    /// <param name="model">The model.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="QuantBuildException">QB2030 or QB2031: the hub does not show it. QB1040: it answers with something else.</exception>
    /// <exception cref="HubTransferException">Asking again may help.</exception>
    public async Task<HubListing> ListAsync(HubModel model, CancellationToken cancellationToken)
    {
        string address = $"{endpoint.Address}/api/models/{model.Id}/revision/{Uri.EscapeDataString(model.Revision)}?blobs=true";
        using HttpResponseMessage response = await SendAsync(model, new Uri(address), 0, cancellationToken).ConfigureAwait(false);
        await using Stream content = await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false);
        using MemoryStream text = new();
        byte[] buffer = new byte[1 << 16];
        while (await ReadAsync(content, buffer, cancellationToken).ConfigureAwait(false) is > 0 and int read)
        {
            if (text.Length + read > LargestListing) throw Unintelligible(model, $"the list has more than {LargestListing} bytes");
            text.Write(buffer, 0, read);
        }

        try
        {
            return HubListing.Parse(Encoding.UTF8.GetString(text.GetBuffer(), 0, (int)text.Length)) with { Gguf = model.File };
        }
        catch (FormatException e)
        {
            throw Unintelligible(model, e.Message.TrimEnd('.'));
        }
    }

    /// <summary>Opens a file.</summary>
    /// <param name="model">The model.</param>
    /// <param name="commit">The commit.</param>
    /// <param name="file">The file.</param>
    /// <param name="offset">The first byte that is wanted.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>The response with the content, and where it begins: what was asked for, or 0 where a server cannot begin in the middle.</returns>
    /// <exception cref="QuantBuildException">QB2030 or QB2031: the hub does not give it.</exception>
    /// <exception cref="HubTransferException">Asking again may help.</exception>
    public async Task<(HttpResponseMessage Response, long Offset)> OpenAsync(HubModel model, string commit, HubFile file, long offset, CancellationToken cancellationToken)
    {
        HttpResponseMessage response = await SendAsync(
            model, new Uri($"{endpoint.Address}/{model.Id}/resolve/{commit}/{Uri.EscapeDataString(file.Name)}"), offset, cancellationToken).ConfigureAwait(false);
        long start = response.StatusCode == HttpStatusCode.PartialContent ? response.Content.Headers.ContentRange?.From ?? -1 : 0;
        if (start == 0 || start == offset) return (response, start);
        response.Dispose();
        throw new HubTransferException($"a server was asked for {file.Name} from byte {offset} on, and sends another part");
    }

    /// <summary>Reads from a response.</summary>
    /// <exception cref="HubTransferException">The connection broke, or nothing comes any more.</exception>
    public static Task<int> ReadAsync(Stream content, Memory<byte> buffer, CancellationToken cancellationToken) =>
        Listen(token => content.ReadAsync(buffer, token).AsTask(), cancellationToken);

    private async Task<HttpResponseMessage> SendAsync(HubModel model, Uri address, long offset, CancellationToken cancellationToken)
    {
        for (int redirects = 0; ; redirects++)
        {
            using HttpRequestMessage request = new(HttpMethod.Get, address);
            request.Headers.Authorization = endpoint.CredentialsFor(address);
            if (offset > 0) request.Headers.Range = new RangeHeaderValue(offset, null);
            HttpResponseMessage response = await Listen(token => client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, token), cancellationToken).ConfigureAwait(false);
            if (response.IsSuccessStatusCode) return response;
            using (response)
            {
                if (response.StatusCode is not (HttpStatusCode.MovedPermanently or HttpStatusCode.Found or HttpStatusCode.SeeOther or HttpStatusCode.TemporaryRedirect or HttpStatusCode.PermanentRedirect))
                {
                    throw Refusal(model, response);
                }

                Uri next = response.Headers.Location is { } location ? new Uri(address, location) : throw Unintelligible(model, "a redirect leads nowhere");
                if (next.Scheme != "https" && (next.Scheme != "http" || address.Scheme == "https")) throw Unintelligible(model, $"a redirect leads from {address.Scheme} to {next.Scheme}");
                if (redirects == MostRedirects) throw Unintelligible(model, $"more than {MostRedirects} redirects");
                address = next;
            }
        }
    }

    private static async Task<T> Listen<T>(Func<CancellationToken, Task<T>> question, CancellationToken cancellationToken)
    {
        using CancellationTokenSource limited = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limited.CancelAfter(Silence);
        try
        {
            return await question(limited.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new HubTransferException($"nothing came for {Silence.TotalSeconds:F0} seconds");
        }
        catch (Exception e) when (e is IOException or HttpRequestException)
        {
            throw new HubTransferException(e.Message.TrimEnd('.'), e);
        }
    }

    private Exception Refusal(HubModel model, HttpResponseMessage response)
    {
        string Header(string name) => response.Headers.TryGetValues(name, out IEnumerable<string>? values) ? endpoint.Shown(string.Join(' ', values)) : "";
        string code = Header("X-Error-Code"), message = Header("X-Error-Message");
        int status = (int)response.StatusCode;
        string answer = message.Length > 0 ? $"the hub answered {status}: {message.TrimEnd('.')}" : $"the hub answered {status}";
        string page = $"{endpoint.Address}/{model.Id}";
        string signIn = endpoint.HasToken
            ? $"make sure that the token in {HubEndpoint.TokenVariable} (or of hf auth login) is of that account and may read it"
            : $"set the environment variable {HubEndpoint.TokenVariable} to a token of that account ({endpoint.Address}/settings/tokens)";
        switch (status)
        {
            case 401 or 403 when code == "GatedRepo":
                return new QuantBuildException(
                    DiagnosticIds.HubAccessDenied,
                    $"{model.Id} is a gated model, which the hub gives to those who accepted its conditions; {answer}. Accept them at {page} and {signIn}.");
            case 401 when message.Contains("Invalid credentials", StringComparison.OrdinalIgnoreCase):
                return new QuantBuildException(
                    DiagnosticIds.HubAccessDenied,
                    $"The hub does not know the token that it was given for {model.Id}: {answer}. The token may have been revoked or have expired: set {HubEndpoint.TokenVariable} to one from {endpoint.Address}/settings/tokens, or remove it.");
            case 403:
                return new QuantBuildException(DiagnosticIds.HubAccessDenied, $"The hub does not give {model.Id}: {answer}. If {page} shows it to an account of yours, {signIn}.");
            case 404 when code == "RevisionNotFound":
                return new QuantBuildException(
                    DiagnosticIds.HubModelMissing,
                    $"{model.Id} has no revision {model.Revision}: {answer}. {HubModel.RevisionName} is a branch, a tag or a commit: {page}/tree/main lists them. Correct it, or leave it out for {HubModel.DefaultRevision}.");
            // The hub does not tell a model that others may see from one that is not there.
            case 401 or 404 or 410:
                return new QuantBuildException(
                    DiagnosticIds.HubModelMissing,
                    $"There is no folder {model.Id}, and no model {model.Id} at {endpoint.Address}: {answer}. Correct the name or the path; if the model is private, {signIn}.");
            case 429:
                return new HubTransferException(answer) { IsRateLimit = true, Wait = WaitOf(response) };
            case 408 or 416 or >= 500:
                return new HubTransferException(answer) { Wait = WaitOf(response) };
            default:
                return Unintelligible(model, answer);
        }
    }

    // Retry-After has seconds or a date; the hub's own header has seconds in a list such as "api";r=0;t=55.
    private static TimeSpan? WaitOf(HttpResponseMessage response)
    {
        if (response.Headers.RetryAfter is { } after) return after.Delta ?? (after.Date is { } date ? date - DateTimeOffset.UtcNow : null);
        if (!response.Headers.TryGetValues("RateLimit", out IEnumerable<string>? values)) return null;
        string? seconds = string.Join(';', values).Split(';').Select(part => part.Trim()).FirstOrDefault(part => part.StartsWith("t=", StringComparison.Ordinal))?[2..];
        return double.TryParse(seconds, NumberStyles.None, CultureInfo.InvariantCulture, out double wait) && wait < 1e6 ? TimeSpan.FromSeconds(wait) : null;
    }

    private QuantBuildException Unintelligible(HubModel model, string what) => new(
        DiagnosticIds.HubUnreachable,
        $"What {endpoint.Address} says of {model.Id} is not an answer of a hub: {what}. If {HubEndpoint.EndpointVariable} names a mirror, correct it; else a proxy may stand between.");
}
