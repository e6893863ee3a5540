using System.IO.MemoryMappedFiles;
using Microsoft.Win32.SafeHandles;

namespace QuantBuild;

/// <summary>
/// A safetensors file as one read-only memory map: an 8-byte header length, a JSON header, then the tensors' bytes. The header is verified
/// against the file before anything in it is trusted. Safe to read from several threads at once.
/// </summary>
public sealed unsafe class SafetensorsFile : IDisposable
{
    private readonly SafeFileHandle handle;
    private readonly MemoryMappedFile map;
    private readonly MemoryMappedViewAccessor view;
    private readonly byte* start;
    private int disposed;

    private SafetensorsFile(string path, SafeFileHandle handle, MemoryMappedFile map, MemoryMappedViewAccessor view, byte* start, long length, SafetensorsHeader header)
    {
        Path = path;
        Length = length;
        Metadata = header.Metadata;
        Tensors = header.Tensors;
        this.handle = handle;
        this.map = map;
        this.view = view;
        this.start = start;
    }

    /// <summary>The file's path, as it was opened.</summary>
    public string Path { get; }

    /// <summary>Bytes of the whole file.</summary>
    public long Length { get; }

    /// <summary>The header's <c>__metadata__</c>.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>The tensors by name.</summary>
    public IReadOnlyDictionary<string, TensorEntry> Tensors { get; }

    /// <summary>Maps a file and verifies its header.</summary>
    /// <param name="path">The file.</param>
    /// <param name="diagnosticId">The id of the error if the file is malformed or cannot be read: QB2005 for weights, QB4002 for artifacts.</param>
    /// <exception cref="QuantBuildException">The file is not a valid safetensors file, with <paramref name="diagnosticId"/>.</exception>
    public static SafetensorsFile Open(string path, string diagnosticId)
    {
        SafeFileHandle? handle = null;
        MemoryMappedFile? map = null;
        MemoryMappedViewAccessor? view = null;
        byte* start = null;
        try
        {
            // A build may replace the file while a program runs from it: Delete allows that where the system asks.
            handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
            long length = RandomAccess.GetLength(handle);
            // An empty file cannot be mapped.
            if (length < SafetensorsHeader.PrefixBytes) throw SafetensorsHeader.TooShort(path, diagnosticId, length);
            map = MemoryMappedFile.CreateFromFile(handle, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
            view = map.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read);
            view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
            // A view may begin before the offset that was asked for, at the boundary of a page.
            byte* data = start + view.PointerOffset;
            SafetensorsHeader header = SafetensorsHeader.Read(path, diagnosticId, data, length);
            return new SafetensorsFile(path, handle, map, view, data, length, header);
        }
        catch (Exception e)
        {
            if (start is not null) view!.SafeMemoryMappedViewHandle.ReleasePointer();
            view?.Dispose();
            map?.Dispose();
            handle?.Dispose();
            if (e is IOException or UnauthorizedAccessException)
            {
                throw new QuantBuildException(
                    diagnosticId, $"{path} cannot be read: {e.Message} Check that the file is there and that this user may read it.", e);
            }

            throw;
        }
    }

    /// <summary>The first byte of a tensor. Valid until the file is disposed.</summary>
    /// <exception cref="ObjectDisposedException">The file was disposed.</exception>
    public byte* Pointer(TensorEntry entry)
    {
        ArgumentNullException.ThrowIfNull(entry);
        ObjectDisposedException.ThrowIf(disposed != 0, this);
        return start + entry.Offset;
    }

    /// <summary>The bytes of a tensor. Valid until the file is disposed.</summary>
    /// <exception cref="OverflowException">The tensor has more than 2 GiB: use <see cref="Pointer"/>.</exception>
    /// <exception cref="ObjectDisposedException">The file was disposed.</exception>
    public ReadOnlySpan<byte> Bytes(TensorEntry entry)
    {
        ArgumentNullException.ThrowIfNull(entry);
        return new ReadOnlySpan<byte>(Pointer(entry), checked((int)entry.ByteLength));
    }

    /// <summary>
    /// Copies bytes of a tensor, past the map: pages of a map that were read count as the process's memory, and what is read once, to be copied or converted, should
    /// not.
    /// </summary>
    /// <param name="entry">The tensor.</param>
    /// <param name="offset">The first byte, from the tensor's first.</param>
    /// <param name="target">Receives the bytes; as many as it is long.</param>
    /// <exception cref="EndOfStreamException">The file became shorter since it was opened.</exception>
    public void Read(TensorEntry entry, long offset, Span<byte> target)
    {
        ArgumentNullException.ThrowIfNull(entry);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset + target.Length, entry.ByteLength, nameof(offset));
        while (target.Length > 0)
        {
            int read = RandomAccess.Read(handle, target, entry.Offset + offset);
            if (read == 0) throw new EndOfStreamException($"{Path} ends inside of {entry.Name}: it became shorter since it was opened.");
            offset += read;
            target = target[read..];
        }
    }

    /// <summary>Unmaps the file.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref disposed, 1) != 0) return;
        view.SafeMemoryMappedViewHandle.ReleasePointer();
        view.Dispose();
        map.Dispose();
        handle.Dispose();
    }
}
