using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace QuantBuild.Tests;

/// <summary>An HTTP server on the loopback interface that keeps files in memory, and misbehaves on demand.</summary>
internal sealed class LoopbackServer : IDisposable
{
    private readonly HttpListener listener = new();
    private int cuts;
    private int failures;

    public LoopbackServer()
    {
        using (TcpListener probe = new(IPAddress.Loopback, 0))
        {
            probe.Start();
            Address = new Uri(string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{((IPEndPoint)probe.LocalEndpoint).Port}/models"));
        }

        listener.Prefixes.Add(Address.GetLeftPart(UriPartial.Authority) + "/");
        listener.Start();
        _ = Task.Run(Listen);
    }

    public Uri Address { get; }

    public ConcurrentDictionary<string, byte[]> Files { get; } = new();

    /// <summary>Each request, such as <c>GET /models/ab/x 100-</c> with its range.</summary>
    public ConcurrentQueue<string> Requests { get; } = new();

    public ConcurrentQueue<string?> Credentials { get; } = new();

    public bool HasRanges { get; set; } = true;

    /// <summary>How many of the next large answers end in the middle.</summary>
    public int Cuts { set => cuts = value; }

    /// <summary>How many of the next requests are answered with the status.</summary>
    public (int Count, int Status) Failures { set => (failures, FailureStatus) = value; }

    /// <summary>Where every request is sent on to.</summary>
    public Uri? RedirectsTo { get; set; }

    private int FailureStatus { get; set; }

    public void Dispose() => ((IDisposable)listener).Dispose();

    private async Task Listen()
    {
        try
        {
            while (true)
            {
                HttpListenerContext context = await listener.GetContextAsync();
                _ = Task.Run(() => Answer(context));
            }
        }
        catch (Exception e) when (e is HttpListenerException or ObjectDisposedException or InvalidOperationException)
        {
            // The test is over.
        }
    }

    private async Task Answer(HttpListenerContext context)
    {
        HttpListenerRequest request = context.Request;
        HttpListenerResponse response = context.Response;
        try
        {
            Requests.Enqueue($"{request.HttpMethod} {request.Url!.AbsolutePath} {request.Headers["Range"]}".Trim());
            Credentials.Enqueue(request.Headers["Authorization"]);
            string name = request.Url.AbsolutePath;
            if (RedirectsTo is { } target)
            {
                response.StatusCode = 307;
                response.RedirectLocation = new Uri(target, name).AbsoluteUri;
            }
            else if (Interlocked.Decrement(ref failures) >= 0)
            {
                response.StatusCode = FailureStatus;
            }
            else if (request.HttpMethod == "PUT")
            {
                using MemoryStream body = new();
                await request.InputStream.CopyToAsync(body);
                Files[name] = body.ToArray();
                response.StatusCode = 201;
            }
            else if (!Files.TryGetValue(name, out byte[]? file))
            {
                response.StatusCode = 404;
            }
            else
            {
                int start = 0;
                if (HasRanges && request.Headers["Range"] is { } range)
                {
                    start = int.Parse(range["bytes=".Length..].TrimEnd('-'), CultureInfo.InvariantCulture);
                    response.StatusCode = 206;
                    response.AddHeader("Content-Range", string.Create(CultureInfo.InvariantCulture, $"bytes {start}-{file.Length - 1}/{file.Length}"));
                }

                response.ContentLength64 = file.Length - start;
                bool cut = file.Length > 100_000 && Interlocked.Decrement(ref cuts) >= 0;
                await response.OutputStream.WriteAsync(file.AsMemory(start, cut ? (file.Length - start) / 2 : file.Length - start));
                if (cut)
                {
                    await response.OutputStream.FlushAsync();
                    response.Abort();
                    return;
                }
            }

            response.Close();
        }
        catch (Exception e) when (e is HttpListenerException or IOException or ObjectDisposedException)
        {
            // The client left.
        }
    }
}
