using QuantBuild.Cuda.Driver;

namespace QuantBuild.Cuda.Decoding;

/// <summary>Memory of a device that is handed out piece by piece, and lives as long as the device is used.</summary>
internal sealed class DeviceArena(CudaDevice device)
{
    /// <summary>What a piece takes: its beginning suits every kind of access.</summary>
    public static long Rounded(long bytes) => (bytes + 255) / 256 * 256;

    /// <summary>Some memory. Its content is whatever was there.</summary>
    public IntPtr Take(long bytes) => device.Allocate(Rounded(Math.Max(1, bytes)));
}
