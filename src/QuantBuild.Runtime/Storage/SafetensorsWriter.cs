using System.Buffers;
using System.Buffers.Binary;
using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace QuantBuild;

/// <summary>
/// Writes safetensors files: data starts at a multiple of 64 bytes, and so does every tensor whose predecessors have lengths that are
/// multiples of 64, which is why those go first. The same tensors in the same order give the same bytes.
/// </summary>
public static class SafetensorsWriter
{
    private const int Alignment = 64;

    // EROFS.
    private const int UnixReadOnly = 30;

    /// <summary>Writes a file. It appears whole, under its name, or not at all.</summary>
    /// <param name="path">The file to make; one that is there is replaced.</param>
    /// <param name="metadata">The header's <c>__metadata__</c>; left out where empty.</param>
    /// <param name="tensors">The tensors; their names differ.</param>
    /// <exception cref="QuantBuildException">QB1003: the disk is full. QB1004: the file cannot be written.</exception>
    /// <exception cref="ArgumentException">Two tensors have one name.</exception>
    public static void Write(string path, IReadOnlyDictionary<string, string> metadata, IReadOnlyCollection<TensorSource> tensors)
    {
        ArgumentNullException.ThrowIfNull(metadata);
        ArgumentNullException.ThrowIfNull(tensors);
        string? duplicate = tensors.GroupBy(t => t.Name).FirstOrDefault(g => g.Count() > 1)?.Key;
        if (duplicate is not null) throw new ArgumentException($"Two tensors are named {duplicate}.", nameof(tensors));

        // The odd-sized go last, and by falling element size, so that even they start at a multiple of their element.
        TensorSource[] ordered =
        [
            .. tensors.Where(t => t.ByteLength % Alignment == 0),
            .. tensors.Where(t => t.ByteLength % Alignment != 0).OrderByDescending(t => t.Type.Size()),
        ];
        byte[] header = Header(metadata, ordered);
        long bytes = header.Length + ordered.Sum(t => t.ByteLength);

        string target = Path.GetFullPath(path);
        string temporary = $"{target}.{Guid.NewGuid():N}.tmp";
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            WriteTemporary(temporary, header, ordered, bytes);
            File.Move(temporary, target, overwrite: true);
        }
        catch (Exception e)
        {
            DeleteQuietly(temporary);
            if (e is IOException or UnauthorizedAccessException) throw Failure(target, bytes, e);
            throw;
        }
    }

    private static void WriteTemporary(string path, byte[] header, TensorSource[] tensors, long bytes)
    {
        // Preallocation meets a full disk before gigabytes were written, not after.
        using FileStream stream = new(path, new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.Write,
            PreallocationSize = bytes,
            BufferSize = 1 << 16,
        });
        stream.Write(header);
        foreach (TensorSource tensor in tensors)
        {
            long before = stream.Position;
            tensor.CopyTo(stream);
            if (stream.Position - before != tensor.ByteLength)
            {
                throw new InvalidOperationException(
                    $"{tensor.Name} wrote {stream.Position - before} bytes, expected {tensor.ByteLength}.");
            }
        }

        stream.Flush(flushToDisk: true);
    }

    private static byte[] Header(IReadOnlyDictionary<string, string> metadata, TensorSource[] tensors)
    {
        ArrayBufferWriter<byte> json = new();
        // Relaxed: the metadata may hold JSON, whose quotes would otherwise take six bytes each. No browser reads this.
        using (Utf8JsonWriter writer = new(json, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            writer.WriteStartObject();
            if (metadata.Count > 0)
            {
                writer.WriteStartObject("__metadata__");
                foreach ((string key, string value) in metadata.OrderBy(m => m.Key, StringComparer.Ordinal)) writer.WriteString(key, value);
                writer.WriteEndObject();
            }

            long offset = 0;
            foreach (TensorSource tensor in tensors)
            {
                writer.WriteStartObject(tensor.Name);
                writer.WriteString("dtype", tensor.Type.HeaderName());
                writer.WriteStartArray("shape");
                foreach (long size in tensor.Shape) writer.WriteNumberValue(size);
                writer.WriteEndArray();
                writer.WriteStartArray("data_offsets");
                writer.WriteNumberValue(offset);
                writer.WriteNumberValue(offset + tensor.ByteLength);
                writer.WriteEndArray();
                writer.WriteEndObject();
                offset += tensor.ByteLength;
            }

            writer.WriteEndObject();
        }

        int total = (SafetensorsHeader.PrefixBytes + json.WrittenCount + Alignment - 1) / Alignment * Alignment;
        byte[] header = new byte[total];
        BinaryPrimitives.WriteInt64LittleEndian(header, total - SafetensorsHeader.PrefixBytes);
        header.AsSpan(SafetensorsHeader.PrefixBytes).Fill((byte)' ');
        json.WrittenSpan.CopyTo(header.AsSpan(SafetensorsHeader.PrefixBytes));
        return header;
    }

    private static QuantBuildException Failure(string path, long bytes, Exception cause)
    {
        long free = FreeBytes(path);
        // A preallocation that fails does not say why: too little room does. A read-only disk may have none either, and says so.
        bool full = WriteFailure.IsDiskFull(cause) || (cause is IOException && cause.HResult != UnixReadOnly && free >= 0 && free < bytes);
        string room = free < 0 ? "an unknown number of" : free.ToString(CultureInfo.InvariantCulture);
        string state = $"needs {bytes} bytes, and the disk has {room} free";
        return full
            ? new QuantBuildException(
                DiagnosticIds.DiskFull, $"{path} cannot be written: the disk is full. The file {state}. Make room, or choose another folder.", cause)
            : new QuantBuildException(
                DiagnosticIds.NotWritable, $"{path} cannot be written: {cause.Message} The file {state}. Allow writing there, or choose another folder.", cause);
    }

    private static long FreeBytes(string path)
    {
        try
        {
            return new DriveInfo(Path.GetDirectoryName(path)!).AvailableFreeSpace;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return -1;
        }
    }

    private static void DeleteQuietly(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The error that led here is the one to report.
        }
    }
}
