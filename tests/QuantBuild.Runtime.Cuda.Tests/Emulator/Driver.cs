using System.Runtime.InteropServices;
using System.Text;
using QuantBuild.Cuda.Emulator;

namespace QuantBuild.Runtime.Cuda.Tests.Emulator;

/// <summary>An emulated machine with a current context, called as a program calls the driver: through function pointers by name.</summary>
internal sealed unsafe class Driver : IDisposable
{
    public const string Header = ".version 7.5\n.target sm_80\n.address_size 64\n";

    private readonly nint _device;

    public Driver(EmulatedGpuOptions? options = null, bool context = true)
    {
        Gpu = new(options);
        if (!context) return;
        Check(Call("cuInit", 0));
        nint primary;
        Check(Call("cuDevicePrimaryCtxRetain", (nint)(&primary), 0));
        _device = primary;
        Check(Call("cuCtxSetCurrent", primary));
    }

    public EmulatedGpu Gpu { get; }

    public nint Context => _device;

    public static void Check(int result) => Assert.Equal(0, result);

    public int Call(string name) => ((delegate* unmanaged[Cdecl]<int>)Function(name))();

    public int Call(string name, nint a) => ((delegate* unmanaged[Cdecl]<nint, int>)Function(name))(a);

    public int Call(string name, nint a, nint b) => ((delegate* unmanaged[Cdecl]<nint, nint, int>)Function(name))(a, b);

    public int Call(string name, nint a, nint b, nint c) => ((delegate* unmanaged[Cdecl]<nint, nint, nint, int>)Function(name))(a, b, c);

    public int Call(string name, nint a, nint b, nint c, nint d) => ((delegate* unmanaged[Cdecl]<nint, nint, nint, nint, int>)Function(name))(a, b, c, d);

    public int Call(string name, nint a, nint b, nint c, nint d, nint e) => ((delegate* unmanaged[Cdecl]<nint, nint, nint, nint, nint, int>)Function(name))(a, b, c, d, e);

    private nint Function(string name)
    {
        nint function = Gpu.Resolve(name);
        Assert.NotEqual(0, function);
        return function;
    }

    public int TryLoad(string ptx, out nint module)
    {
        fixed (byte* text = Encoding.UTF8.GetBytes(ptx + "\0"))
        {
            nint loaded;
            int result = Call("cuModuleLoadData", (nint)(&loaded), (nint)text);
            module = loaded;
            return result;
        }
    }

    /// <summary>Loads PTX and says what is wrong with it.</summary>
    public (int Result, string Log) LoadWithLog(string ptx)
    {
        const int room = 4096;
        byte* log = stackalloc byte[room];
        int* options = stackalloc int[] { 5, 6 };
        nint* values = stackalloc nint[] { (nint)log, room };
        fixed (byte* text = Encoding.UTF8.GetBytes(ptx + "\0"))
        {
            nint loaded;
            int result = Call("cuModuleLoadDataEx", (nint)(&loaded), (nint)text, 2, (nint)options, (nint)values);
            return (result, values[1] == 0 ? "" : Marshal.PtrToStringUTF8((nint)log)!);
        }
    }

    public nint Load(string ptx)
    {
        (int result, string log) = LoadWithLog(ptx);
        Assert.True(result == 0, log);
        Check(TryLoad(ptx, out nint module));
        return module;
    }

    public nint Kernel(nint module, string name)
    {
        fixed (byte* text = Encoding.UTF8.GetBytes(name + "\0"))
        {
            nint function;
            Check(Call("cuModuleGetFunction", (nint)(&function), module, (nint)text));
            return function;
        }
    }

    public nint Allocate(long bytes)
    {
        nint pointer;
        Check(Call("cuMemAlloc_v2", (nint)(&pointer), (nint)bytes));
        return pointer;
    }

    public nint Upload<T>(ReadOnlySpan<T> values) where T : unmanaged
    {
        nint pointer = Allocate((long)values.Length * sizeof(T));
        fixed (T* from = values) Check(Call("cuMemcpyHtoD_v2", pointer, (nint)from, values.Length * sizeof(T)));
        return pointer;
    }

    public T[] Download<T>(nint pointer, int count) where T : unmanaged
    {
        T[] values = new T[count];
        fixed (T* to = values) Check(Call("cuMemcpyDtoH_v2", (nint)to, pointer, count * sizeof(T)));
        return values;
    }

    public nint Stream()
    {
        nint stream;
        Check(Call("cuStreamCreate", (nint)(&stream), 1));
        return stream;
    }

    public void Launch(nint kernel, (int X, int Y, int Z) grid, (int X, int Y, int Z) block, int shared, nint stream, params object[] parameters) => Check(TryLaunch(kernel, grid, block, shared, stream, parameters));

    public int TryLaunch(nint kernel, (int X, int Y, int Z) grid, (int X, int Y, int Z) block, int shared, nint stream, params object[] parameters)
    {
        nint* pointers = stackalloc nint[parameters.Length];
        ulong* values = stackalloc ulong[parameters.Length];
        List<GCHandle> structures = [];
        for (int i = 0; i < parameters.Length; i++)
        {
            if (parameters[i] is byte[] structure)
            {
                structures.Add(GCHandle.Alloc(structure, GCHandleType.Pinned));
                pointers[i] = structures[^1].AddrOfPinnedObject();
                continue;
            }
            values[i] = parameters[i] switch
            {
                int x => (uint)x,
                uint x => x,
                float x => BitConverter.SingleToUInt32Bits(x),
                nint x => (ulong)x,
                long x => (ulong)x,
                var other => throw new NotSupportedException(other.GetType().Name),
            };
            pointers[i] = (nint)(values + i);
        }
        var launch = (delegate* unmanaged[Cdecl]<nint, uint, uint, uint, uint, uint, uint, uint, nint, nint*, nint*, int>)Function("cuLaunchKernel");
        int result = launch(kernel, (uint)grid.X, (uint)grid.Y, (uint)grid.Z, (uint)block.X, (uint)block.Y, (uint)block.Z, (uint)shared, stream, pointers, null);
        foreach (GCHandle structure in structures) structure.Free();
        return result;
    }

    /// <summary>Runs a body in one warp: lane l's input is <c>%x</c>, <c>%y</c>, <c>%z</c>, and what it leaves in <c>%d</c> comes back. All are of <paramref name="type"/> (b32 or b64).</summary>
    public T[] Warp<T>(string body, T[] x, T[]? y = null, T[]? z = null) where T : unmanaged
    {
        string type = "b" + (sizeof(T) * 8);
        string ptx = Header + $$"""
            .visible .entry k(.param .u64 d, .param .u64 x, .param .u64 y, .param .u64 z)
            {
                .reg .{{type}} %x, %y, %z, %d;
                .reg .b32 %t<16>;
                .reg .b16 %h<16>;
                .reg .b64 %a<16>, %l<16>;
                .reg .pred %p<8>;
                mov.u32 %t0, %tid.x;
                mul.wide.u32 %a0, %t0, {{sizeof(T)}};
                ld.param.u64 %a1, [x];
                add.s64 %a1, %a1, %a0;
                ld.global.{{type}} %x, [%a1];
                ld.param.u64 %a1, [y];
                add.s64 %a1, %a1, %a0;
                ld.global.{{type}} %y, [%a1];
                ld.param.u64 %a1, [z];
                add.s64 %a1, %a1, %a0;
                ld.global.{{type}} %z, [%a1];
                mov.{{type}} %d, 0;
                {{body}}
                ld.param.u64 %a1, [d];
                add.s64 %a1, %a1, %a0;
                st.global.{{type}} [%a1], %d;
                ret;
            }
            """;
        int threads = x.Length;
        nint d = Allocate(threads * sizeof(T));
        Launch(Kernel(Load(ptx), "k"), (1, 1, 1), (threads, 1, 1), 0, 0, d, Upload<T>(x), Upload<T>(y ?? new T[threads]), Upload<T>(z ?? new T[threads]));
        return Download<T>(d, threads);
    }

    public void Dispose() => Gpu.Dispose();
}
