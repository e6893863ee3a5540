using QuantBuild.Cuda.Driver;
using QuantBuild.Decoding;

namespace QuantBuild.Cuda.Decoding;

/// <summary>Memory of a device for pages of keys and values.</summary>
/// <param name="device">The device.</param>
/// <param name="pageBytes">Bytes of a page.</param>
internal sealed unsafe class DeviceMemory(CudaDevice device, long pageBytes) : IPageMemory
{
    public IntPtr Allocate(long bytes)
    {
        IntPtr memory = device.Allocate(bytes);
        Clear(memory, bytes);
        return memory;
    }

    public void Free(IntPtr memory) => device.Free(memory, pageBytes);

    public void Clear(IntPtr memory, long bytes)
    {
        device.Use();
        device.Clear(memory, bytes);
    }

    public void Copy(IntPtr from, IntPtr to, long bytes)
    {
        device.Use();
        device.Copy(to, from, bytes);
    }

    public void Read(IntPtr memory, Span<byte> target)
    {
        device.Use();
        fixed (byte* to = target)
        {
            device.CopyFrom(to, memory, target.Length);
            device.Synchronize();
        }
    }

    public void Write(ReadOnlySpan<byte> source, IntPtr memory)
    {
        device.Use();
        fixed (byte* from = source)
        {
            device.CopyTo(memory, from, source.Length);
            device.Synchronize();
        }
    }
}
