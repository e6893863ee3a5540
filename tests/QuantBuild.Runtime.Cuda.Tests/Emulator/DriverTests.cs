using System.Runtime.InteropServices;
using QuantBuild.Cuda.Emulator;

namespace QuantBuild.Runtime.Cuda.Tests.Emulator;

public sealed unsafe class DriverTests
{
    /// <summary>Adds a number to an element of each thread.</summary>
    private const string Add = Driver.Header + """
        .visible .entry add(.param .u64 d, .param .u32 n)
        {
            .reg .b32 %r<8>; .reg .b64 %a<4>;
            ld.param.u64 %a0, [d]; ld.param.u32 %r1, [n];
            mov.u32 %r0, %ctaid.x;
            mov.u32 %r2, %ntid.x;
            mov.u32 %r3, %tid.x;
            mad.lo.u32 %r0, %r0, %r2, %r3;
            mad.wide.u32 %a1, %r0, 4, %a0;
            ld.global.u32 %r4, [%a1];
            add.u32 %r4, %r4, %r1;
            st.global.u32 [%a1], %r4;
            ret;
        }
        """;

    [Fact]
    public void A_driver_tells_of_its_devices()
    {
        using Driver driver = new(new() { DriverVersion = 12040, Devices = [new() { Name = "First" }, new() { Name = "Second", Major = 7, Minor = 5, TotalMemory = 4L << 30, Multiprocessors = 40 }] });
        int version, count, value;
        Driver.Check(driver.Call("cuDriverGetVersion", (nint)(&version)));
        Driver.Check(driver.Call("cuDeviceGetCount", (nint)(&count)));
        Assert.Equal((12040, 2), (version, count));
        byte* name = stackalloc byte[64];
        Driver.Check(driver.Call("cuDeviceGetName", (nint)name, 64, 1));
        Assert.Equal("Second", Marshal.PtrToStringUTF8((nint)name));
        int[] expected = [40, 7, 5, 32, 49152, 4 << 20];
        int[] attributes = [16, 75, 76, 10, 8, 38];
        for (int i = 0; i < attributes.Length; i++)
        {
            Driver.Check(driver.Call("cuDeviceGetAttribute", (nint)(&value), attributes[i], 1));
            Assert.Equal(expected[i], value);
        }
        long bytes;
        Driver.Check(driver.Call("cuDeviceTotalMem_v2", (nint)(&bytes), 1));
        Assert.Equal(4L << 30, bytes);
        Driver.Check(driver.Call("cuDeviceGetPCIBusId", (nint)name, 64, 1));
        Assert.Equal("0000:02:00.0", Marshal.PtrToStringUTF8((nint)name));
        Assert.Equal((int)CuResult.InvalidDevice, driver.Call("cuDeviceGet", (nint)(&value), 2));
    }

    [Fact]
    public void A_driver_may_fail_to_start_and_may_lack_a_function()
    {
        using Driver driver = new(new() { FailInit = 803, MissingExports = ["cuGraphLaunch"] }, context: false);
        Assert.Equal(803, driver.Call("cuInit", 0));
        int count;
        Assert.Equal((int)CuResult.NotInitialized, driver.Call("cuDeviceGetCount", (nint)(&count)));
        Assert.Equal(0, driver.Gpu.Resolve("cuGraphLaunch"));
        Assert.Equal(0, driver.Gpu.Resolve("cuNoSuchFunction"));
    }

    [Fact]
    public void Every_function_that_a_runtime_asks_for_is_there()
    {
        using EmulatedGpu gpu = new();
        string[] names =
        [
            "cuInit", "cuDriverGetVersion", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName", "cuDeviceGetAttribute", "cuDeviceTotalMem_v2", "cuDeviceGetUuid_v2", "cuDeviceGetPCIBusId",
            "cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease_v2", "cuCtxSetCurrent", "cuCtxGetCurrent", "cuCtxPushCurrent_v2", "cuCtxPopCurrent_v2", "cuCtxSynchronize", "cuCtxCreate_v2", "cuCtxDestroy_v2",
            "cuMemGetInfo_v2", "cuMemAlloc_v2", "cuMemFree_v2", "cuMemHostAlloc", "cuMemFreeHost", "cuMemHostRegister_v2", "cuMemHostUnregister", "cuMemcpyHtoD_v2", "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoH_v2",
            "cuMemcpyDtoHAsync_v2", "cuMemcpyDtoDAsync_v2", "cuMemsetD8Async", "cuMemsetD32Async", "cuStreamCreate", "cuStreamDestroy_v2", "cuStreamSynchronize", "cuStreamQuery", "cuStreamWaitEvent",
            "cuEventCreate", "cuEventRecord", "cuEventSynchronize", "cuEventElapsedTime", "cuEventDestroy_v2", "cuModuleLoadData", "cuModuleLoadDataEx", "cuModuleUnload", "cuModuleGetFunction",
            "cuModuleGetGlobal_v2", "cuFuncGetAttribute", "cuFuncSetAttribute", "cuLaunchKernel", "cuLaunchKernelEx", "cuOccupancyMaxActiveBlocksPerMultiprocessor", "cuStreamBeginCapture_v2", "cuStreamEndCapture",
            "cuGraphInstantiateWithFlags", "cuGraphLaunch", "cuGraphExecDestroy", "cuGraphDestroy", "cuGetErrorName", "cuGetErrorString",
        ];
        Assert.All(names, n => Assert.NotEqual(0, gpu.Resolve(n)));
    }

    [Fact]
    public void A_call_needs_a_current_context_of_its_own_thread()
    {
        using Driver driver = new();
        nint pointer;
        Driver.Check(driver.Call("cuMemAlloc_v2", (nint)(&pointer), 100));
        int elsewhere = 0;
        Thread thread = new(() =>
        {
            nint other;
            elsewhere = driver.Call("cuMemAlloc_v2", (nint)(&other), 100);
        });
        thread.Start();
        thread.Join();
        Assert.Equal((int)CuResult.InvalidContext, elsewhere);
        nint popped, current;
        Driver.Check(driver.Call("cuCtxPopCurrent_v2", (nint)(&popped)));
        Assert.Equal(driver.Context, popped);
        Driver.Check(driver.Call("cuCtxGetCurrent", (nint)(&current)));
        Assert.Equal(0, current);
        Assert.Equal((int)CuResult.InvalidContext, driver.Call("cuMemFree_v2", pointer));
        Driver.Check(driver.Call("cuCtxPushCurrent_v2", popped));
        Driver.Check(driver.Call("cuMemFree_v2", pointer));
    }

    [Fact]
    public void Memory_is_counted_and_ends()
    {
        using Driver driver = new(new() { Devices = [new() { TotalMemory = 1 << 20 }] });
        nint first = driver.Allocate(600_000), second;
        Assert.Equal(0, first % 256);
        Assert.Equal((int)CuResult.OutOfMemory, driver.Call("cuMemAlloc_v2", (nint)(&second), 600_000));
        Assert.Equal((600_000L, 1), (driver.Gpu.AllocatedBytes, driver.Gpu.LiveAllocations));
        long free, total;
        Driver.Check(driver.Call("cuMemGetInfo_v2", (nint)(&free), (nint)(&total)));
        Assert.Equal(((1 << 20) - 600_000L, 1L << 20), (free, total));
        Driver.Check(driver.Call("cuMemFree_v2", first));
        Driver.Check(driver.Call("cuMemAlloc_v2", (nint)(&second), 600_000));
        Driver.Check(driver.Call("cuMemFree_v2", second));
        Assert.Equal((0L, 0), (driver.Gpu.AllocatedBytes, driver.Gpu.LiveAllocations));
        Assert.Equal((int)CuResult.InvalidValue, driver.Call("cuMemFree_v2", second));
        Assert.Contains("no live allocation", Assert.Single(driver.Gpu.Violations));
    }

    [Fact]
    public void A_copy_must_stay_within_an_allocation()
    {
        using Driver driver = new();
        nint pointer = driver.Upload<int>([1, 2, 3, 4]), host;
        Driver.Check(driver.Call("cuMemHostAlloc", (nint)(&host), 64, 0));
        Assert.Equal((int)CuResult.InvalidValue, driver.Call("cuMemcpyDtoH_v2", host, pointer + 8, 12));
        Assert.Contains("beyond the 16 bytes", Assert.Single(driver.Gpu.Violations));
        Driver.Check(driver.Call("cuMemcpyDtoHAsync_v2", host, pointer + 8, 8, 0));
        Assert.Equal([3, 4], new Span<int>((void*)host, 2).ToArray());
        Driver.Check(driver.Call("cuMemsetD8Async", pointer + 4, 0xAB, 4, 0));
        Assert.Equal(0xABABABAB, driver.Download<uint>(pointer, 2)[1]);
        Driver.Check(driver.Call("cuMemcpyDtoDAsync_v2", pointer, pointer + 8, 4, 0));
        Assert.Equal(3, driver.Download<int>(pointer, 1)[0]);
        Driver.Check(driver.Call("cuMemFreeHost", host));
    }

    [Fact]
    public void What_is_wrong_with_PTX_is_said()
    {
        using Driver driver = new();
        string body(string text) => Driver.Header + ".visible .entry k()\n{\n.reg .b32 %r<4>;\n" + text + "\nret;\n}";
        (int Result, string Log)[] seen =
        [
            driver.LoadWithLog(body("frobnicate.u32 %r0, %r1;")), driver.LoadWithLog(body("add.u32 %r0, %r9, %r1;")), driver.LoadWithLog(body("add.u32 %r0, %r1")), driver.LoadWithLog(body("add.u64 %r0, %r1, %r2;")),
            driver.LoadWithLog(body("bra NOWHERE;")), driver.LoadWithLog("no PTX at all"),
        ];
        string[] expected = ["line 7; error : Not a name of any known instruction: 'frobnicate.u32'", "unknown symbol '%r9'", "',' expected", "a .u64 is expected", "a label expected in 'bra NOWHERE'", "Missing .version"];
        for (int i = 0; i < seen.Length; i++)
        {
            Assert.Equal((int)CuResult.InvalidPtx, seen[i].Result);
            Assert.Contains(expected[i], seen[i].Log);
        }
    }

    [Fact]
    public void PTX_for_a_newer_device_or_a_newer_driver_is_refused()
    {
        using Driver driver = new(new() { DriverVersion = 11040, Devices = [new() { Major = 7, Minor = 5 }] });
        Assert.Equal((int)CuResult.NoBinaryForGpu, driver.LoadWithLog(".version 7.0\n.target sm_80\n.address_size 64\n").Result);
        Assert.Equal((int)CuResult.UnsupportedPtxVersion, driver.LoadWithLog(".version 7.5\n.target sm_75\n.address_size 64\n").Result);
        Driver.Check(driver.LoadWithLog(".version 7.4\n.target sm_75\n.address_size 64\n").Result);
    }

    [Fact]
    public void A_launch_that_asks_for_too_much_is_refused()
    {
        using Driver driver = new();
        nint module = driver.Load(Add + """
            .extern .shared .align 16 .b8 dynamic[];
            .visible .entry small() .maxntid 64, 1, 1 { ret; }
            .visible .entry exact() .reqntid 32, 2, 1 { ret; }
            """);
        nint small = driver.Kernel(module, "small"), exact = driver.Kernel(module, "exact"), add = driver.Kernel(module, "add");
        Assert.Equal((int)CuResult.LaunchOutOfResources, driver.TryLaunch(small, (1, 1, 1), (65, 1, 1), 0, 0));
        Driver.Check(driver.TryLaunch(small, (1, 1, 1), (64, 1, 1), 48 << 10, 0));
        Assert.Equal((int)CuResult.InvalidValue, driver.TryLaunch(small, (1, 1, 1), (64, 1, 1), 64 << 10, 0));
        Assert.Equal((int)CuResult.InvalidValue, driver.Call("cuFuncSetAttribute", small, 8, 200 << 10));
        Driver.Check(driver.Call("cuFuncSetAttribute", small, 8, 64 << 10));
        Driver.Check(driver.TryLaunch(small, (1, 1, 1), (64, 1, 1), 64 << 10, 0));
        Assert.Equal((int)CuResult.InvalidValue, driver.TryLaunch(exact, (1, 1, 1), (64, 1, 1), 0, 0));
        Driver.Check(driver.TryLaunch(exact, (1, 1, 1), (32, 2, 1), 0, 0));
        Assert.Equal((int)CuResult.InvalidValue, driver.TryLaunch(add, (1, 1, 1), (1025, 1, 1), 0, 0, 0L, 0));
        Assert.Equal((int)CuResult.InvalidValue, driver.TryLaunch(add, (0, 1, 1), (1, 1, 1), 0, 0, 0L, 0));
        Assert.Equal((int)CuResult.InvalidHandle, driver.TryLaunch(12345, (1, 1, 1), (1, 1, 1), 0, 0));
        int blocks;
        Driver.Check(driver.Call("cuOccupancyMaxActiveBlocksPerMultiprocessor", (nint)(&blocks), add, 256, 0));
        Assert.Equal(8, blocks);
        Assert.Empty(driver.Gpu.Violations);
    }

    [Fact]
    public void A_captured_stream_runs_nothing_until_its_graph_is_launched_and_keeps_the_parameters_of_then()
    {
        using Driver driver = new();
        nint d = driver.Upload<int>(new int[64]), stream = driver.Stream(), kernel = driver.Kernel(driver.Load(Add), "add"), graph, instance;
        Driver.Check(driver.Call("cuStreamBeginCapture_v2", stream, 0));
        driver.Launch(kernel, (2, 1, 1), (32, 1, 1), 0, stream, d, 5);
        driver.Launch(kernel, (1, 1, 1), (32, 1, 1), 0, stream, d, 100);
        Driver.Check(driver.Call("cuStreamEndCapture", stream, (nint)(&graph)));
        Assert.Equal(new int[64], driver.Download<int>(d, 64));
        Assert.Equal(0, driver.Gpu.Launches);
        Driver.Check(driver.Call("cuGraphInstantiateWithFlags", (nint)(&instance), graph, 0));
        Driver.Check(driver.Call("cuGraphDestroy", graph));
        for (int i = 0; i < 3; i++) Driver.Check(driver.Call("cuGraphLaunch", instance, stream));
        Driver.Check(driver.Call("cuStreamSynchronize", stream));
        Assert.Equal([.. Enumerable.Range(0, 64).Select(i => i < 32 ? 315 : 15)], driver.Download<int>(d, 64));
        Assert.Equal((3L, 6L), (driver.Gpu.GraphLaunches, driver.Gpu.Launches));
        Driver.Check(driver.Call("cuGraphExecDestroy", instance));
        Assert.Equal((int)CuResult.InvalidHandle, driver.Call("cuGraphLaunch", instance, stream));
    }

    [Theory]
    [InlineData("cuStreamSynchronize", 0)]
    [InlineData("cuStreamSynchronize", 2)]
    [InlineData("cuCtxSynchronize", 2)]
    [InlineData("cuMemAlloc_v2", 0)]
    [InlineData("cuMemcpyDtoH_v2", 0)]
    public void A_call_that_may_not_be_made_during_a_capture_fails_and_spoils_it(string call, int mode)
    {
        using Driver driver = new();
        nint d = driver.Upload<int>(new int[64]), stream = driver.Stream(), graph;
        int host;
        Driver.Check(driver.Call("cuStreamBeginCapture_v2", stream, mode));
        Assert.Equal((int)CuResult.StreamCaptureUnsupported, call switch
        {
            "cuStreamSynchronize" => driver.Call(call, stream),
            "cuCtxSynchronize" => driver.Call(call),
            "cuMemAlloc_v2" => driver.Call(call, (nint)(&graph), 16),
            _ => driver.Call(call, (nint)(&host), d, 4),
        });
        Assert.Equal((int)CuResult.StreamCaptureInvalidated, driver.Call("cuStreamEndCapture", stream, (nint)(&graph)));
        Driver.Check(driver.Call("cuStreamSynchronize", stream));
    }

    [Fact]
    public void A_relaxed_capture_lets_memory_be_allocated()
    {
        using Driver driver = new();
        nint stream = driver.Stream(), graph;
        Driver.Check(driver.Call("cuStreamBeginCapture_v2", stream, 2));
        driver.Allocate(16);
        Driver.Check(driver.Call("cuStreamEndCapture", stream, (nint)(&graph)));
    }

    [Fact]
    public void A_second_stream_joins_a_capture_by_an_event_and_must_come_back()
    {
        using Driver driver = new();
        nint d = driver.Upload<int>(new int[64]), first = driver.Stream(), second = driver.Stream(), kernel = driver.Kernel(driver.Load(Add), "add"), begun, done, graph = 0, instance;
        Driver.Check(driver.Call("cuEventCreate", (nint)(&begun), 2));
        Driver.Check(driver.Call("cuEventCreate", (nint)(&done), 2));
        foreach (bool join in (bool[])[false, true])
        {
            Driver.Check(driver.Call("cuStreamBeginCapture_v2", first, 0));
            Driver.Check(driver.Call("cuEventRecord", begun, first));
            Driver.Check(driver.Call("cuStreamWaitEvent", second, begun, 0));
            driver.Launch(kernel, (1, 1, 1), (32, 1, 1), 0, second, d, 1);
            Driver.Check(driver.Call("cuEventRecord", done, second));
            if (join) Driver.Check(driver.Call("cuStreamWaitEvent", first, done, 0));
            Assert.Equal(join ? 0 : (int)CuResult.StreamCaptureUnjoined, driver.Call("cuStreamEndCapture", first, (nint)(&graph)));
        }
        Assert.Equal(0, driver.Gpu.Launches);
        Driver.Check(driver.Call("cuGraphInstantiateWithFlags", (nint)(&instance), graph, 0));
        Driver.Check(driver.Call("cuGraphLaunch", instance, first));
        Assert.Equal(1, driver.Download<int>(d, 1)[0]);
    }

    [Fact]
    public void A_lost_device_fails_every_call_until_its_context_is_gone()
    {
        using Driver driver = new(new() { LaunchFault = (launch, kernel) => launch == 2 && kernel == "add" ? 214 : 0 });
        nint d = driver.Upload<int>(new int[64]), kernel = driver.Kernel(driver.Load(Add), "add"), pointer;
        driver.Launch(kernel, (1, 1, 1), (32, 1, 1), 0, 0, d, 5);
        Assert.Equal(214, driver.TryLaunch(kernel, (1, 1, 1), (32, 1, 1), 0, 0, d, 5));
        Assert.Equal(214, driver.Call("cuMemAlloc_v2", (nint)(&pointer), 4));
        Assert.Equal(214, driver.Call("cuMemFree_v2", d));
        Driver.Check(driver.Call("cuDevicePrimaryCtxRelease_v2", 0));
        nint context;
        Driver.Check(driver.Call("cuDevicePrimaryCtxRetain", (nint)(&context), 0));
        Driver.Check(driver.Call("cuCtxSetCurrent", context));
        Assert.Equal(0, driver.Gpu.AllocatedBytes);
        d = driver.Upload<int>(new int[64]);
        driver.Launch(driver.Kernel(driver.Load(Add), "add"), (1, 1, 1), (32, 1, 1), 0, 0, d, 5);
        Assert.Equal(5, driver.Download<int>(d, 1)[0]);
    }

    [Fact]
    public void Events_measure_time_and_errors_have_names()
    {
        using Driver driver = new();
        nint start, end, untimed, text;
        Driver.Check(driver.Call("cuEventCreate", (nint)(&start), 0));
        Driver.Check(driver.Call("cuEventCreate", (nint)(&end), 0));
        Driver.Check(driver.Call("cuEventCreate", (nint)(&untimed), 2));
        Driver.Check(driver.Call("cuEventRecord", start, 0));
        Thread.Sleep(20);
        Driver.Check(driver.Call("cuEventRecord", end, 0));
        Driver.Check(driver.Call("cuEventSynchronize", end));
        float milliseconds;
        Driver.Check(driver.Call("cuEventElapsedTime", (nint)(&milliseconds), start, end));
        Assert.InRange(milliseconds, 19, 10_000);
        Assert.Equal((int)CuResult.InvalidHandle, driver.Call("cuEventElapsedTime", (nint)(&milliseconds), start, untimed));
        (int, string)[] names = [(0, "CUDA_SUCCESS"), (2, "CUDA_ERROR_OUT_OF_MEMORY"), (100, "CUDA_ERROR_NO_DEVICE"), (700, "CUDA_ERROR_ILLEGAL_ADDRESS"), (803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH")];
        foreach ((int result, string name) in names)
        {
            Driver.Check(driver.Call("cuGetErrorName", result, (nint)(&text)));
            Assert.Equal(name, Marshal.PtrToStringUTF8(text));
            Driver.Check(driver.Call("cuGetErrorString", result, (nint)(&text)));
            Assert.NotEmpty(Marshal.PtrToStringUTF8(text)!);
        }
        Assert.Equal((int)CuResult.InvalidValue, driver.Call("cuGetErrorName", 12345, (nint)(&text)));
    }
}
