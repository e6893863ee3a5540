using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace QuantBuild.Tests;

/// <summary>A hub on the loopback interface: repositories with revisions, large files by way of another address as from its delivery network, and every refusal that the real one has.</summary>
internal sealed class LoopbackHub : IDisposable
{
    private readonly LoopbackListener listener;
    private readonly Lock counting = new();
    private readonly ConcurrentDictionary<string, byte[]> large = new();
    private readonly string deliveryAddress;
    private int cuts;
    private int failures;

    public LoopbackHub()
    {
        Address = LoopbackListener.FreeAddress();
        deliveryAddress = LoopbackListener.FreeAddress();
        listener = new LoopbackListener([Address, deliveryAddress], Answer);
    }

    /// <summary>What <c>HF_ENDPOINT</c> is set to.</summary>
    public string Address { get; }

    /// <summary>What each repository has.</summary>
    public ConcurrentDictionary<string, LoopbackRepository> Repositories { get; } = new();

    /// <summary>Each request, such as <c>GET /org/tiny/resolve/…/model.safetensors 100-</c> with its range.</summary>
    public ConcurrentQueue<string> Requests { get; } = new();

    /// <summary>Each request of the delivery network with what it was told of the user.</summary>
    public ConcurrentQueue<(string Request, string? Credentials)> Told { get; } = new();

    /// <summary>How many files are on their way at once at most.</summary>
    public int MostAtOnce { get; private set; }

    /// <summary>How long each file takes to begin.</summary>
    public TimeSpan Delay { get; set; }

    public bool HasRanges { get; set; } = true;

    /// <summary>How many of the next files end in the middle.</summary>
    public int Cuts { set => cuts = value; }

    /// <summary>Whether large files stop in the middle, and nothing more comes.</summary>
    public bool Stalls { get; set; }

    /// <summary>How many of the next files have a wrong byte.</summary>
    public int Damages { get; set; }

    /// <summary>How many of the next requests are answered so.</summary>
    public (int Count, int Status, string? RetryAfter) Failures { set => (failures, FailureStatus, RetryAfter) = value; }

    private int FailureStatus { get; set; }

    private string? RetryAfter { get; set; }

    private int atOnce;

    public LoopbackRepository Add(string id) => Repositories[id] = new LoopbackRepository();

    public void Dispose() => listener.Dispose();

    private async Task Answer(HttpListenerRequest request, HttpListenerResponse response)
    {
        string path = Uri.UnescapeDataString(request.RawUrl!.Split('?')[0]);
        Requests.Enqueue($"{request.HttpMethod} {path} {request.Headers["Range"]?["bytes=".Length..]}".Trim());
        Told.Enqueue((path, request.Headers["Authorization"]));
        string[] parts = path.Trim('/').Split('/');
        if (Interlocked.Decrement(ref failures) >= 0)
        {
            response.StatusCode = FailureStatus;
            if (RetryAfter is not null) response.AddHeader("Retry-After", RetryAfter);
        }
        else if (parts is ["delivery", string sha256])
        {
            await Send(request, response, large[sha256]);
        }
        else if (parts is ["api", "models", string org, string name, "revision", ..])
        {
            AnswerList(request, response, $"{org}/{name}", string.Join('/', parts[5..]));
        }
        else if (parts is [string owner, string model, "resolve", string commit, string file])
        {
            await AnswerFile(request, response, $"{owner}/{model}", commit, file);
        }
        else
        {
            response.StatusCode = 404;
        }
    }

    private void AnswerList(HttpListenerRequest request, HttpListenerResponse response, string id, string revision)
    {
        if (Repository(request, response, id, isFile: false) is not { } repository) return;
        if (repository.RenamedTo is { } other)
        {
            response.StatusCode = 307;
            response.RedirectLocation = $"/api/models/{other}/revision/{Uri.EscapeDataString(revision)}?blobs=true";
        }
        else if (repository.Commit(revision) is not { } commit)
        {
            Refuse(response, 404, "RevisionNotFound", $"Invalid rev id: {revision}");
        }
        else
        {
            byte[] list = repository.Listing is { } listing ? Encoding.UTF8.GetBytes(listing) : JsonSerializer.SerializeToUtf8Bytes(new
            {
                id,
                sha = commit,
                gated = repository.IsGated ? (object)"manual" : false,
                siblings = repository.Revisions[commit].Select(f => repository.IsLarge(f.Key)
                    ? (object)new { rfilename = f.Key, size = f.Value.Length, blobId = GitHash(f.Value), lfs = new { sha256 = Sha256(f.Value), size = f.Value.Length, pointerSize = 134 } }
                    : new { rfilename = f.Key, size = f.Value.Length, blobId = GitHash(f.Value) }),
            });
            response.ContentType = "application/json";
            response.ContentLength64 = list.Length;
            response.OutputStream.Write(list);
        }
    }

    private async Task AnswerFile(HttpListenerRequest request, HttpListenerResponse response, string id, string commit, string file)
    {
        if (Repository(request, response, id, isFile: true) is not { } repository) return;
        if (repository.RenamedTo is { } other)
        {
            response.StatusCode = 307;
            response.RedirectLocation = $"/{other}/resolve/{commit}/{file}";
            return;
        }

        if (!repository.Revisions.TryGetValue(commit, out Dictionary<string, byte[]>? files) || !files.TryGetValue(file, out byte[]? content))
        {
            Refuse(response, 404, "EntryNotFound", "Entry not found");
            return;
        }

        response.AddHeader("X-Repo-Commit", commit);
        if (!repository.IsLarge(file))
        {
            await Send(request, response, content);
            return;
        }

        string sha256 = Sha256(content);
        large[sha256] = content;
        response.AddHeader("X-Linked-Etag", $"\"{sha256}\"");
        response.StatusCode = 302;
        response.RedirectLocation = $"{deliveryAddress}/delivery/{sha256}?signature=right-in-the-address";
    }

    private LoopbackRepository? Repository(HttpListenerRequest request, HttpListenerResponse response, string id, bool isFile)
    {
        string? token = request.Headers["Authorization"]?["Bearer ".Length..];
        if (!Repositories.TryGetValue(id, out LoopbackRepository? repository) || (repository.Token is not null && !repository.IsGated && token is null))
        {
            // As of a private one.
            Refuse(response, 401, null, "Invalid username or password.");
        }
        else if (token is not null && repository.Token is not null && repository.Token != token)
        {
            Refuse(response, 401, null, "Invalid credentials in Authorization header");
        }
        else if (repository.IsGated && isFile && token is null)
        {
            Refuse(response, 401, "GatedRepo", $"Access to model {id} is restricted. You must have access to it and be authenticated to access it.");
        }
        else if (repository.IsGated && isFile && !repository.IsAccepted)
        {
            Refuse(response, 403, "GatedRepo", $"Access to model {id} is restricted and you are not in the authorized list.");
        }
        else
        {
            return repository;
        }

        return null;
    }

    private static void Refuse(HttpListenerResponse response, int status, string? code, string message)
    {
        response.StatusCode = status;
        if (code is not null) response.AddHeader("X-Error-Code", code);
        response.AddHeader("X-Error-Message", message);
    }

    private async Task Send(HttpListenerRequest request, HttpListenerResponse response, byte[] content)
    {
        lock (counting) MostAtOnce = Math.Max(MostAtOnce, ++atOnce);
        try
        {
            if (Delay > TimeSpan.Zero) await Task.Delay(Delay);
            byte[] part = content[LoopbackListener.Start(request, response, content.Length, HasRanges)..];
            if (part.Length > 0 && Damages > 0)
            {
                Damages--;
                part[^1] ^= 1;
            }

            response.ContentLength64 = part.Length;
            if (Stalls && part.Length > 1_000_000)
            {
                await response.OutputStream.WriteAsync(part.AsMemory(0, part.Length / 2));
                await response.OutputStream.FlushAsync();
                await Task.Delay(TimeSpan.FromMinutes(1));
            }

            if (part.Length > 100_000 && Interlocked.Decrement(ref cuts) >= 0) await LoopbackListener.CutAsync(response, part);
            else await response.OutputStream.WriteAsync(part);
        }
        finally
        {
            lock (counting) atOnce--;
        }
    }

    public static string Sha256(byte[] content) => Convert.ToHexStringLower(SHA256.HashData(content));

#pragma warning disable CA5350 // Git's.
    public static string GitHash(byte[] content) =>
        Convert.ToHexStringLower(SHA1.HashData([.. Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"blob {content.Length}\0")), .. content]));
#pragma warning restore CA5350
}

/// <summary>A repository of <see cref="LoopbackHub"/>.</summary>
internal sealed class LoopbackRepository
{
    public Dictionary<string, Dictionary<string, byte[]>> Revisions { get; } = [];

    public Dictionary<string, string> Branches { get; } = [];

    /// <summary>The token that shows it, where not everyone sees it.</summary>
    public string? Token { get; set; }

    public bool IsGated { get; set; }

    /// <summary>Whether the owner of the token accepted its conditions.</summary>
    public bool IsAccepted { get; set; }

    public string? RenamedTo { get; set; }

    /// <summary>What is said in place of the list.</summary>
    public string? Listing { get; set; }

    /// <summary>A new commit on a branch.</summary>
    /// <returns>Its hash.</returns>
    public string Push(string branch, params (string Name, byte[] Content)[] files)
    {
        string commit = LoopbackHub.GitHash(Encoding.UTF8.GetBytes($"{branch} {Revisions.Count} {files.Length}"));
        Revisions[commit] = files.ToDictionary(f => f.Name, f => f.Content);
        Branches[branch] = commit;
        return commit;
    }

    public string? Commit(string revision) => Revisions.ContainsKey(revision) ? revision : Branches.GetValueOrDefault(revision);

#pragma warning disable CA1822
    public bool IsLarge(string file) => file.EndsWith(".safetensors", StringComparison.Ordinal) || file.EndsWith(".bin", StringComparison.Ordinal) || file.EndsWith(".gguf", StringComparison.Ordinal);
#pragma warning restore CA1822
}
