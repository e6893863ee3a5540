using System.Collections.Concurrent;
using System.IO.Compression;

namespace QuantBuild.Cuda.Driver;

/// <summary>The kernels in this assembly, loaded onto a device when they are first asked for: a program pays for those that its artifact needs.</summary>
internal sealed unsafe class KernelLibrary(CudaDevice device)
{
    private const string Extension = ".ptx.gz";

    private readonly Dictionary<string, IntPtr> modules = [];
    private readonly ConcurrentDictionary<(string Module, string Name), (IntPtr Pointer, bool Overlaps)> functions = [];

    // Modules whose kernels may begin while the one before them runs, as they are there for compute capability 9.0.
    private const string OverlappingSuffix = ".90";

    private static readonly HashSet<string> Names = [.. typeof(KernelLibrary).Assembly.GetManifestResourceNames()];

    /// <summary>The device.</summary>
    public CudaDevice Device => device;

    /// <summary>The module as it is there for the newest compute capability that a device has: some are there for 7.5, 8.0 or 9.0 by themselves, and their names end in that.</summary>
    public static string Newest(string module, int capability, bool overlaps)
    {
        foreach (string suffix in (string[])[overlaps ? OverlappingSuffix : "", capability >= 80 ? ".80" : "", ".75"])
        {
            if (suffix.Length > 0 && Names.Contains(module + suffix + Extension)) return module + suffix;
        }

        return module;
    }

    /// <summary>A kernel.</summary>
    /// <param name="module">The file that it is in, without extension and compute capability.</param>
    /// <param name="name">The kernel.</param>
    public IntPtr Find(string module, string name) => Function(module, name).Pointer;

    /// <summary>Queues a kernel.</summary>
    public void Launch(string module, string name, (int X, int Y, int Z) grid, int threads, void** parameters)
    {
        (IntPtr pointer, bool overlaps) = Function(module, name);
        device.Launch(pointer, grid, threads, parameters, overlaps);
    }

    /// <summary>Queues a kernel that takes as much shared memory as its launches say.</summary>
    public void Launch(string module, string name, (int X, int Y, int Z) grid, int threads, int sharedBytes, void** parameters)
    {
        (IntPtr pointer, bool overlaps) = Function(module, name, needsShared: true);
        device.Launch(pointer, grid, threads, parameters, overlaps, sharedBytes);
    }

    private (IntPtr Pointer, bool Overlaps) Function(string module, string name, bool needsShared = false) => functions.GetOrAdd((module, name), key =>
    {
        string newest = Newest(key.Module, device.Capability, device.Overlaps);
        return (device.Function(Module(newest), key.Name, needsShared), newest.EndsWith(OverlappingSuffix, StringComparison.Ordinal));
    });

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
        using Stream packed = typeof(KernelLibrary).Assembly.GetManifestResourceStream(name + Extension) ?? throw new ArgumentException($"There are no kernels {name}.", nameof(name));
        using GZipStream text = new(packed, CompressionMode.Decompress);
        using MemoryStream source = new();
        text.CopyTo(source);
        source.WriteByte(0);
        return source.ToArray();
    }
}
