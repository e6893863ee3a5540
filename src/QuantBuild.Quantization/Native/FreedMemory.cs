using System.Runtime.InteropServices;

namespace QuantBuild.Quantization;

/// <summary>
/// Memory that torch freed and the C library keeps. Batches of activations leave glibc's heap full of holes, several times what is in use; a build
/// should not take from others what it does not need.
/// </summary>
internal static class FreedMemory
{
    private static bool canTrim = OperatingSystem.IsLinux();

    /// <summary>Gives it back to the system.</summary>
    public static void Return()
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

    [DllImport("libc", EntryPoint = "malloc_trim")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Trim(nuint pad);
}
