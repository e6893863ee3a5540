using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace QuantBuild.Tests;

/// <summary>Listens on the loopback interface, and hands each request to whoever answers it.</summary>
internal sealed class LoopbackListener : IDisposable
{
    private readonly HttpListener listener = new();
    private readonly Func<HttpListenerRequest, HttpListenerResponse, Task> answer;

    /// <summary>Begins to listen.</summary>
    /// <param name="addresses">Where; each from <see cref="FreeAddress"/>.</param>
    /// <param name="answer">Answers a request. The response is closed afterwards.</param>
    public LoopbackListener(IEnumerable<string> addresses, Func<HttpListenerRequest, HttpListenerResponse, Task> answer)
    {
        this.answer = answer;
        foreach (string address in addresses) listener.Prefixes.Add(address + "/");
        listener.Start();
        _ = Task.Run(Listen);
    }

    /// <summary>An address that nobody listens on, such as <c>http://127.0.0.1:40123</c>.</summary>
    public static string FreeAddress()
    {
        using TcpListener probe = new(IPAddress.Loopback, 0);
        probe.Start();
        return string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{((IPEndPoint)probe.LocalEndpoint).Port}");
    }

    /// <summary>Where the answer begins: where the request's range does, which the response then says.</summary>
    /// <param name="request">The request.</param>
    /// <param name="response">Its answer.</param>
    /// <param name="length">How much there is.</param>
    /// <param name="hasRanges">Whether ranges are heeded.</param>
    public static int Start(HttpListenerRequest request, HttpListenerResponse response, int length, bool hasRanges)
    {
        if (!hasRanges || request.Headers["Range"] is not { } range) return 0;
        int start = int.Parse(range["bytes=".Length..].TrimEnd('-'), CultureInfo.InvariantCulture);
        response.StatusCode = 206;
        response.AddHeader("Content-Range", string.Create(CultureInfo.InvariantCulture, $"bytes {start}-{length - 1}/{length}"));
        return start;
    }

    /// <summary>Sends half of what was announced, and cuts the connection.</summary>
    public static async Task CutAsync(HttpListenerResponse response, ReadOnlyMemory<byte> content)
    {
        await response.OutputStream.WriteAsync(content[..(content.Length / 2)]);
        await response.OutputStream.FlushAsync();
        response.Abort();
    }

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
        try
        {
            await answer(context.Request, context.Response);
            context.Response.Close();
        }
        catch (Exception e) when (e is HttpListenerException or IOException or ObjectDisposedException)
        {
            // The client left, or was cut off.
        }
    }
}
