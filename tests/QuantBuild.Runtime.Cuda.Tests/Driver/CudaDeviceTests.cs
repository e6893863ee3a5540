using QuantBuild.Cuda.Driver;

namespace QuantBuild.Cuda.Tests.Driver;

public sealed unsafe class CudaDeviceTests
{
    [Fact]
    public void What_another_thread_queues_while_one_captures_is_not_captured()
    {
        using TestGpu gpu = new();
        using CudaDevice device = new(gpu.Driver(), 0);
        IntPtr ours = device.Allocate(4), theirs = device.Allocate(4);
        uint ones = uint.MaxValue, found = 0;
        device.CopyTo(ours, &ones, 4);
        device.CopyTo(theirs, &ones, 4);
        Thread other = new(() =>
        {
            device.Use();
            device.Clear(theirs, 4);
        });
        IntPtr graph = device.Capture(() =>
        {
            other.Start();
            Assert.False(other.Join(100));
            device.Clear(ours, 4);
        });
        other.Join();
        device.CopyFrom(&found, theirs, 4);
        device.Synchronize();
        Assert.Equal(0u, found);
        device.CopyTo(theirs, &ones, 4);
        device.Repeat(graph);
        device.CopyFrom(&found, theirs, 4);
        device.Synchronize();
        Assert.Equal(uint.MaxValue, found);
        device.CopyFrom(&found, ours, 4);
        device.Synchronize();
        Assert.Equal(0u, found);
    }

    [Fact]
    public void What_was_not_given_back_is_given_back_in_the_end()
    {
        using TestGpu gpu = new();
        using (CudaDevice device = new(gpu.Driver(), 0))
        {
            IntPtr memory = device.Allocate(1000);
            device.Allocate(2000);
            device.AllocateHost(3000);
            device.Free(memory, 1000);
            Assert.Equal(2000, device.Allocated);
            Assert.Equal(1, gpu.Machine.LiveAllocations);
        }

        Assert.Equal(0, gpu.Machine.LiveAllocations);
    }
}
