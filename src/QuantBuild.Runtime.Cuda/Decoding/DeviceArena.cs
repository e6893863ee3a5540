using QuantBuild.Cuda.Driver;

namespace QuantBuild.Cuda.Decoding;

/// <summary>Memory of a device that is handed out piece by piece, and given back as a whole.</summary>
internal sealed class DeviceArena(CudaDevice device) : IDisposable
{
    private readonly List<(IntPtr Memory, long Bytes)> blocks = [];

    /// <summary>Bytes that were asked for, each piece rounded up as <see cref="Rounded"/> does.</summary>
    public long Bytes { get; private set; }

    /// <summary>What a piece takes: its beginning suits every kind of access.</summary>
    public static long Rounded(long bytes) => (bytes + 255) / 256 * 256;

    /// <summary>Some memory. Its content is whatever was there.</summary>
    public IntPtr Take(long bytes)
    {
        bytes = Rounded(Math.Max(1, bytes));
        IntPtr memory = device.Allocate(bytes);
        blocks.Add((memory, bytes));
        Bytes += bytes;
        return memory;
    }

    public void Dispose()
    {
        foreach ((IntPtr memory, long bytes) in blocks) device.Free(memory, bytes);
        blocks.Clear();
    }
}
