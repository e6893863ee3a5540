using System.Collections.Concurrent;
using System.IO.Compression;

namespace QuantBuild.Cuda.Driver;

/// <summary>The kernels in this assembly, loaded onto a device when they are first asked for: a program pays for those that its artifact needs.</summary>
internal sealed unsafe class KernelLibrary(CudaDevice device)
{
    private readonly Dictionary<string, IntPtr> modules = [];
    private readonly ConcurrentDictionary<(string Module, string Name), IntPtr> functions = [];

    /// <summary>Modules that are there for compute capability 7.5 and, with better instructions, for 8.0: their names end in either.</summary>
    public string Newest(string module) => $"{module}.{(device.Capability >= 80 ? 80 : 75)}";

    /// <summary>A kernel.</summary>
    /// <param name="module">The file that it is in, without extension.</param>
    /// <param name="name">The kernel.</param>
    public IntPtr Find(string module, string name) => functions.GetOrAdd((module, name), key => device.Function(Module(key.Module), key.Name));

    /// <summary>Queues a kernel.</summary>
    public void Launch(string module, string name, (int X, int Y, int Z) grid, int threads, void** parameters) => device.Launch(Find(module, name), grid, threads, parameters);

    private IntPtr Module(string name)
    {
        lock (modules)
        {
            if (modules.TryGetValue(name, out IntPtr module)) return module;
            return modules[name] = device.LoadModule(Source(name), name);
        }
    }

    /// <summary>The PTX of a module, with a zero behind it.</summary>
    public static byte[] Source(string name)
    {
        using Stream packed = typeof(KernelLibrary).Assembly.GetManifestResourceStream(name + ".ptx.gz") ?? throw new ArgumentException($"There are no kernels {name}.", nameof(name));
        using GZipStream text = new(packed, CompressionMode.Decompress);
        using MemoryStream source = new();
        text.CopyTo(source);
        source.WriteByte(0);
        return source.ToArray();
    }
}
