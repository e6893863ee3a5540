using QuantBuild.Cuda.Driver;

namespace QuantBuild.Cuda.Decoding;

/// <summary>
/// Copies weights from an artifact's memory map to a device: through two buffers of locked memory in turn, so that the device copies one while the processor fills the other, at the speed of the bus.
/// </summary>
internal sealed unsafe class Uploader : IDisposable
{
    private const int PieceBytes = 8 << 20;

    private readonly CudaDevice device;
    private readonly (IntPtr Memory, IntPtr Copied)[] buffers;
    private int next;

    public Uploader(CudaDevice device)
    {
        this.device = device;
        buffers = [.. Enumerable.Range(0, 2).Select(_ => ((IntPtr)device.AllocateHost(PieceBytes), device.CreateEvent()))];
    }

    /// <summary>Queues a copy; the source may change once this returns.</summary>
    public void Copy(IntPtr target, void* source, long bytes)
    {
        for (long done = 0; done < bytes; done += PieceBytes)
        {
            (IntPtr memory, IntPtr copied) = buffers[next++ % buffers.Length];
            // What was copied from it before.
            device.WaitFor(copied);
            long piece = Math.Min(PieceBytes, bytes - done);
            Buffer.MemoryCopy((byte*)source + done, (void*)memory, PieceBytes, piece);
            device.CopyTo(target + (nint)done, (void*)memory, piece);
            device.Record(copied);
        }
    }

    /// <summary>Waits for the copies.</summary>
    public void Dispose()
    {
        foreach ((IntPtr memory, IntPtr copied) in buffers)
        {
            device.WaitFor(copied);
            device.DestroyEvent(copied);
            device.FreeHost((void*)memory);
        }
    }
}
