using QuantBuild.Cuda.Driver;
using QuantBuild.Cuda.Emulator;

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
    public void Where_the_machine_is_full_the_error_does_not_say_that_the_GPU_is()
    {
        using TestGpu gpu = new(new EmulatedGpuOptions { LockableMemory = 1000 });
        using CudaDevice device = new(gpu.Driver(), 0);
        device.AllocateHost(600);
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => device.AllocateHost(500));
        Assert.Equal(DiagnosticIds.GpuMemoryFull, error.Id);
        Assert.StartsWith("The machine has no memory left", error.Message);
        Assert.Contains("could not lock 500 bytes", error.Message);
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
