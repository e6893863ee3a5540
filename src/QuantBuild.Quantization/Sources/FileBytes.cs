using Microsoft.Win32.SafeHandles;

namespace QuantBuild.Quantization;

/// <summary>
/// Reads a file at a place, past any map: pages of a map that were read count as the process's memory, and what is read once, to be copied or converted, should not.
/// </summary>
internal static class FileBytes
{
    /// <summary>Reads bytes whose place the file itself names.</summary>
    /// <exception cref="InvalidDataException">They are not all within it.</exception>
    public static byte[] Read(SafeFileHandle file, long fileLength, long offset, int count)
    {
        if (offset < 0 || count < 0 || offset > fileLength - count) throw new InvalidDataException($"{count} bytes at {offset} are claimed, and the file has {fileLength} (it may be truncated)");
        byte[] bytes = new byte[count];
        Fill(file, offset, bytes);
        return bytes;
    }

    /// <summary>Reads bytes whose place was checked.</summary>
    /// <exception cref="EndOfStreamException">The file has become shorter.</exception>
    public static void Fill(SafeFileHandle file, long offset, Span<byte> target)
    {
        while (target.Length > 0)
        {
            int read = RandomAccess.Read(file, target, offset);
            if (read == 0) throw new EndOfStreamException("The weight file became shorter since it was opened.");
            offset += read;
            target = target[read..];
        }
    }
}
