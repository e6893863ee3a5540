using System.Collections.Concurrent;
using System.Net;

namespace QuantBuild.Tests;

/// <summary>An HTTP server on the loopback interface that keeps files in memory, and misbehaves on demand.</summary>
internal sealed class LoopbackServer : IDisposable
{
    private readonly LoopbackListener listener;
    private int cuts;
    private int failures;

    public LoopbackServer()
    {
        string address = LoopbackListener.FreeAddress();
        Address = new Uri(address + "/models");
        listener = new LoopbackListener([address], Answer);
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

    public void Dispose() => listener.Dispose();

    private async Task Answer(HttpListenerRequest request, HttpListenerResponse response)
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
            Memory<byte> part = file.AsMemory(LoopbackListener.Start(request, response, file.Length, HasRanges));
            response.ContentLength64 = part.Length;
            if (file.Length > 100_000 && Interlocked.Decrement(ref cuts) >= 0) await LoopbackListener.CutAsync(response, part);
            else await response.OutputStream.WriteAsync(part);
        }
    }
}
