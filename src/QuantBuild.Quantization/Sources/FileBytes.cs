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

    /// <summary>Reads of a tensor of a weight file, with errors that name the file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="tensor">The tensor.</param>
    /// <param name="read">Reads.</param>
    public static CheckpointTensor.Reader Reader(string path, string tensor, CheckpointTensor.Reader read) => (offset, target) =>
    {
        try
        {
            read(offset, target);
        }
        catch (EndOfStreamException e)
        {
            throw new QuantBuildException(
                DiagnosticIds.WeightsMalformed,
                $"{path} became shorter while it was read: it ends inside of {tensor}. Let nothing write to the model's files during a build, and copy or download the file again.", e);
        }
        catch (IOException e)
        {
            throw new QuantBuildException(DiagnosticIds.WeightsMalformed, $"{path} cannot be read at {tensor}: {e.Message} Check the disk or the network that it is on, or copy the file again.", e);
        }
    };

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
