using System.Runtime.InteropServices;

namespace QuantBuild;

/// <summary>The driver of NVIDIA GPUs, as far as its files tell.</summary>
public static class NvidiaDriver
{
    /// <summary>The files by which the driver is known, on this system.</summary>
    public static IReadOnlyList<string> Places()
    {
        if (RuntimeInformation.IsOSPlatform(OSPlatform.Windows)) return [Path.Combine(Environment.SystemDirectory, "nvcuda.dll")];
        const string library = "libcuda.so.1";
        string[] folders =
        [
            "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/lib/wsl/lib",
            .. (Environment.GetEnvironmentVariable("LD_LIBRARY_PATH") ?? "").Split([':'], StringSplitOptions.RemoveEmptyEntries),
        ];
        return ["/proc/driver/nvidia/version", .. folders.Select(folder => folder.TrimEnd('/') + "/" + library)];
    }

    /// <summary>The first of these files that is there; <see langword="null"/> where there is no driver.</summary>
    public static string? Find() => Places().FirstOrDefault(File.Exists);
}
