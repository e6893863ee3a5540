using System.Runtime.InteropServices;

namespace QuantBuild.Quantization;

/// <summary>
/// Memory that nobody uses and the process keeps. Batches of activations leave glibc's heap full of holes, several times what is in use; a build
/// should not take from others what it does not need.
/// </summary>
internal static class FreedMemory
{
    private static bool canTrim = OperatingSystem.IsLinux();

    // Garbage of .NET's own that may lie about. The collector is in no haste where a processor's cache is large, and the integers of a few linears are as large as a layer.
    private const long MostGarbage = 32 << 20;

    private static long inUse;

    // Of more than these bytes each block is a mapping of its own, and gone when it is freed; smaller ones are quicker to have again.
    private const int MappedBytes = 4 << 20;

    // M_MMAP_THRESHOLD of malloc.h. Setting it keeps glibc from raising it to the size of the largest block so far.
    private const int MappedThreshold = -3;

    /// <summary>Sets the size from which blocks are not kept at all. Before torch needs any.</summary>
    public static void Limit()
    {
        if (!canTrim) return;
        try
        {
            _ = Set(MappedThreshold, MappedBytes);
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            canTrim = false;
        }
    }

    /// <summary>Gives it back to the system, and all garbage: where much of what was in use is so no longer.</summary>
    public static void ReturnAll()
    {
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        inUse = GC.GetTotalMemory(forceFullCollection: false);
        TrimHeap();
    }

    /// <summary>Gives it back to the system, and garbage where there is much.</summary>
    public static void Return()
    {
        if (GC.GetTotalMemory(forceFullCollection: false) - inUse > MostGarbage) ReturnAll();
        else TrimHeap();
    }

    private static void TrimHeap()
    {
        if (!canTrim) return;
        try
        {
            _ = Trim(0);
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            // Another C library, which keeps less or cannot be asked.
            canTrim = false;
        }
    }

    [DllImport("libc", EntryPoint = "mallopt")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Set(int parameter, int value);

    [DllImport("libc", EntryPoint = "malloc_trim")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Trim(nuint pad);
}
