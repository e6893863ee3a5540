using QuantBuild.Cuda.Driver;
using QuantBuild.Cuda.Emulator;

namespace QuantBuild.Cuda.Tests.Driver;

/// <summary>Kernels that may begin while the one before them runs.</summary>
public sealed unsafe class OverlapTests
{
    private static readonly EmulatedGpuOptions Newest = new() { Devices = [new EmulatedDeviceOptions { Major = 9 }] };

    private const string Header = ".version 7.8\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 from, .param .u64 to)\n{\n.reg .b32 %r<4>; .reg .b64 %a<4>;\nld.param.u64 %a0, [from]; ld.param.u64 %a1, [to];\n";

    private const string Read = "ld.global.u32 %r0, [%a0];\n", Wait = "griddepcontrol.wait;\n", Write = "st.global.u32 [%a1], %r0;\n", End = "ret;\n}\n\0";

    public static TheoryData<string, string?> Kernels { get; } = new()
    {
        { Read + Wait + Write, null },
        { Wait + Read + Write, null },
        { Read + Write + Wait, "writes memory before it waits" },
        { Read, "ends before it waits" },
    };

    /// <summary>The emulated GPU finds what would be a race on one that overlaps kernels.</summary>
    [Theory]
    [MemberData(nameof(Kernels))]
    public void What_a_kernel_does_before_it_waits_is_checked(string body, string? violation)
    {
        using TestGpu gpu = new(Newest);
        using CudaDevice device = new(gpu.Driver(), 0);
        IntPtr from = device.Allocate(4), to = device.Allocate(4);
        device.Clear(from, 4);
        void Run()
        {
            Launch(device, body, from, to);
            device.Synchronize();
        }

        if (violation is null)
        {
            Run();
            Assert.Empty(gpu.Violations);
            return;
        }

        Assert.Throws<QuantBuildException>(Run);
        AssertEach(violation, gpu);
    }

    [Fact]
    public void What_another_kernel_wrote_is_not_read_before_it_waits()
    {
        using TestGpu gpu = new(Newest);
        using CudaDevice device = new(gpu.Driver(), 0);
        IntPtr first = device.Allocate(4), second = device.Allocate(4), third = device.Allocate(4);
        device.Clear(first, 4);
        Launch(device, Read + Wait + Write, first, second);
        Assert.Throws<QuantBuildException>(() =>
        {
            Launch(device, Read + Wait + Write, second, third);
            device.Synchronize();
        });
        AssertEach("reads memory that a kernel wrote before it waits", gpu);
    }

    [Theory]
    [InlineData(8, 12080, true, false)]
    [InlineData(9, 12020, true, false)]
    [InlineData(9, 12080, false, false)]
    [InlineData(9, 12080, true, true)]
    [InlineData(12, 13000, true, true)]
    public void Kernels_overlap_where_device_and_driver_can(int major, int version, bool hasFunction, bool expected)
    {
        using TestGpu gpu = new(new EmulatedGpuOptions
        {
            DriverVersion = version,
            Devices = [new EmulatedDeviceOptions { Major = major }],
            MissingExports = hasFunction ? [] : ["cuLaunchKernelEx"],
        });
        using CudaDevice device = new(gpu.Driver(), 0);
        Assert.Equal(expected, device.Overlaps);
        Assert.Equal(expected ? "decoder.90" : "decoder", KernelLibrary.Newest("decoder", device.Capability, device.Overlaps));
        Assert.Equal("prompt.80", KernelLibrary.Newest("prompt", device.Capability, device.Overlaps));
    }

    // Of blocks that run at the same time each may be heard.
    private static void AssertEach(string violation, TestGpu gpu)
    {
        Assert.NotEmpty(gpu.Violations);
        Assert.All(gpu.Violations, said => Assert.Contains(violation, said));
    }

    private static void Launch(CudaDevice device, string body, IntPtr from, IntPtr to)
    {
        IntPtr module = device.LoadModule(System.Text.Encoding.ASCII.GetBytes(Header + body + End), "k");
        void** parameters = stackalloc void*[] { &from, &to };
        device.Launch(device.Function(module, "k"), (2, 1, 1), 32, parameters, overlaps: true);
    }
}
