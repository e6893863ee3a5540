using System.Globalization;
using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// Keeps activations between layers: in memory up to a budget, beyond it in files that live as long as the activations do. A calibration text's activations can
/// be many times larger than the layer that they go through.
/// </summary>
/// <param name="folder">Where files go; made when the first is needed.</param>
/// <param name="memoryBudget">Bytes that may be in memory.</param>
internal sealed class ActivationStore(string folder, long memoryBudget) : IDisposable
{
    private readonly Lock gate = new();
    private readonly HashSet<string> files = [];
    private long inMemory;
    private int filesMade;

    /// <summary>A store that never needs a file.</summary>
    public static ActivationStore InMemory { get; } = new("", long.MaxValue);

    /// <summary>The most bytes that were on disk at the same time.</summary>
    public long PeakFileBytes { get; private set; }

    private long FileBytes { get; set; }

    /// <summary>Keeps a tensor.</summary>
    /// <param name="tensor">float32, on the host, contiguous.</param>
    /// <exception cref="QuantBuildException">QB1003, QB1004: a file cannot be written.</exception>
    public StoredActivation Keep(torch.Tensor tensor)
    {
        long bytes = tensor.numel() * sizeof(float);
        string? path = null;
        lock (gate)
        {
            if (bytes <= memoryBudget - inMemory)
            {
                inMemory += bytes;
            }
            else
            {
                path = Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"activations-{filesMade++}.tmp"));
                files.Add(path);
                FileBytes += bytes;
                PeakFileBytes = Math.Max(PeakFileBytes, FileBytes);
            }
        }

        if (path is null) return new StoredActivation(this, tensor.DetachFromDisposeScope(), null, [.. tensor.shape]);
        try
        {
            Directory.CreateDirectory(folder);
            using FileStream file = new(path, FileMode.Create, FileAccess.Write, FileShare.Read, bufferSize: 0);
            file.Write(tensor.bytes);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw WriteFailure.Of(path, e);
        }

        return new StoredActivation(this, null, path, [.. tensor.shape]);
    }

    /// <summary>Deletes the files that are left: those of a run that failed.</summary>
    public void Dispose()
    {
        foreach (string file in files) Delete(file);
    }

    /// <summary>Forgets what is kept no longer.</summary>
    internal void Release(StoredActivation stored, long bytes)
    {
        lock (gate)
        {
            if (stored.Path is null)
            {
                inMemory -= bytes;
                return;
            }

            FileBytes -= bytes;
            files.Remove(stored.Path);
        }

        Delete(stored.Path);
    }

    private static void Delete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The next run removes it.
        }
    }
}

/// <summary>A tensor that an <see cref="ActivationStore"/> keeps.</summary>
internal sealed class StoredActivation(ActivationStore store, torch.Tensor? tensor, string? path, long[] shape) : IDisposable
{
    private bool disposed;

    /// <summary>The file, where it is in one.</summary>
    public string? Path => path;

    /// <summary>Its sizes.</summary>
    public long[] Shape => shape;

    /// <summary>How many rows of its last dimension it has.</summary>
    public long Rows => shape[..^1].Aggregate(1L, (product, size) => product * size);

    /// <summary>The tensor, for the current dispose scope: not to be changed.</summary>
    public torch.Tensor Load() => Load(0, Rows).view(shape);

    /// <summary>Some of its rows, [count, last dimension], for the current dispose scope: not to be changed.</summary>
    /// <param name="first">The first row.</param>
    /// <param name="count">How many.</param>
    public torch.Tensor Load(long first, long count)
    {
        long width = shape[^1];
        if (tensor is not null) return tensor.view(-1, width).narrow(0, first, count);
        torch.Tensor read = torch.empty([count, width], torch.float32);
        using FileStream file = new(path!, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        file.Position = first * width * sizeof(float);
        file.ReadExactly(read.bytes);
        return read;
    }

    /// <summary>Copies some of its rows, whichever they are.</summary>
    /// <param name="rows">Their numbers.</param>
    /// <param name="into">Where they go, float32 [rows, last dimension].</param>
    public unsafe void Copy(ReadOnlySpan<int> rows, Span<byte> into)
    {
        int width = (int)shape[^1] * sizeof(float);
        using FileStream? file = path is null ? null : new(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        using torch.Tensor? table = tensor?.view(-1, shape[^1]);
        // All of it may be larger than a span.
        using torch.Tensor? first = table?.narrow(0, 0, 1);
        fixed (byte* start = first is null ? [] : first.bytes)
        {
            for (int i = 0, end; i < rows.Length; i = end)
            {
                // Neighbours are read together.
                for (end = i + 1; end < rows.Length && rows[end] == rows[end - 1] + 1;) end++;
                Span<byte> run = into.Slice(i * width, (end - i) * width);
                if (file is null)
                {
                    new ReadOnlySpan<byte>(start + ((long)rows[i] * width), run.Length).CopyTo(run);
                    continue;
                }

                file.Position = (long)rows[i] * width;
                file.ReadExactly(run);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (disposed) return;
        disposed = true;
        tensor?.Dispose();
        store.Release(this, Rows * shape[^1] * sizeof(float));
    }
}
