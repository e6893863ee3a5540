using System.Net;
using System.Net.Http.Headers;

namespace QuantBuild;

/// <summary>An HTTP server that takes GET and PUT, such as WebDAV, a Bazel or a Nexus cache.</summary>
internal sealed class HttpStore : IRemoteStore
{
    private readonly Uri root;
    private readonly HttpClient client;

    /// <summary>Prepares requests to a server.</summary>
    /// <param name="root">Where the files are.</param>
    /// <param name="credentials">What to tell the server of oneself; <see langword="null"/> tells nothing.</param>
    public HttpStore(Uri root, AuthenticationHeaderValue? credentials)
    {
        this.root = new Uri(root.AbsoluteUri.TrimEnd('/') + "/");
        // Credentials are not sent on to where a server redirects. How long a large file takes is not known: only silence is limited, by whoever reads.
        client = new HttpClient(new SocketsHttpHandler { ConnectTimeout = TimeSpan.FromSeconds(15) }) { Timeout = Timeout.InfiniteTimeSpan };
        client.DefaultRequestHeaders.Authorization = credentials;
    }

    /// <inheritdoc/>
    public async Task<RemoteFile?> OpenAsync(string name, long offset, CancellationToken cancellationToken)
    {
        using HttpRequestMessage request = new(HttpMethod.Get, new Uri(root, name));
        if (offset > 0) request.Headers.Range = new RangeHeaderValue(offset, null);
        HttpResponseMessage response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken).ConfigureAwait(false);
        try
        {
            if (response.StatusCode == HttpStatusCode.NotFound) return null;
            // There is nothing after the offset: whoever asks has it all.
            if (response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable) return new RemoteFile(Stream.Null, offset);
            Check(response);
            bool isPart = response.StatusCode == HttpStatusCode.PartialContent;
            long start = isPart ? response.Content.Headers.ContentRange?.From ?? throw new HttpRequestException("the server sends a part without saying which") : 0;
            Stream content = await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false);
            RemoteFile file = new(content, start);
            // The content keeps the connection; what is left of the response is nothing to dispose.
            response = null!;
            return file;
        }
        finally
        {
            response?.Dispose();
        }
    }

    /// <inheritdoc/>
    public async Task WriteAsync(string name, Stream content, CancellationToken cancellationToken)
    {
        using HttpRequestMessage request = new(HttpMethod.Put, new Uri(root, name)) { Content = new StreamContent(content, 1 << 20) };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
        request.Content.Headers.ContentLength = content.Length;
        using HttpResponseMessage response = await client.SendAsync(request, cancellationToken).ConfigureAwait(false);
        Check(response);
    }

    /// <inheritdoc/>
    public void Dispose() => client.Dispose();

    private static void Check(HttpResponseMessage response)
    {
        if (response.IsSuccessStatusCode) return;
        throw new HttpRequestException($"the server answered {(int)response.StatusCode} {response.ReasonPhrase}", null, response.StatusCode);
    }
}
