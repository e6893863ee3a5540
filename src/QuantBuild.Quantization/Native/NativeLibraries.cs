using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace QuantBuild.Quantization;

/// <summary>Finds libtorch and makes TorchSharp's native library load; call <see cref="Load"/> before anything of torch.</summary>
public static class NativeLibraries
{
    /// <summary>The environment variable that names the folder of libtorch; or the folders of its parts, as a path does.</summary>
    public const string FolderVariable = "QUANTBUILD_LIBTORCH";

    /// <summary>The property of <c>runtimeconfig.json</c> that names the folder of libtorch, or the folders of its parts.</summary>
    public const string FolderProperty = "QuantBuild.LibTorch";

    // The one symbol of this version that LibTorchSharp asks for is never used, and GCC 12's libstdc++ lacks the version.
    private const string UnusedVersion = "GLIBCXX_3.4.32";

    private static readonly Lock Gate = new();
    private static string? loadedFrom;

    /// <summary>The folder from which libtorch was loaded, or <see langword="null"/> before <see cref="Load"/>.</summary>
    public static string? LoadedFrom => loadedFrom;

    /// <summary>Loads libtorch and TorchSharp's native library. Does nothing the second time.</summary>
    /// <exception cref="QuantBuildException">QB1002: a library is missing or does not load; says what was looked for where.</exception>
    public static void Load()
    {
        lock (Gate)
        {
            if (loadedFrom is not null) return;
            ComputeOnOneThread();
            FreedMemory.Limit();
            string folder = FindFolder();
            foreach (string name in new[] { "c10", "torch_cpu", "torch" }) LoadFile(Path.Combine(folder, FileName(name)));
            // Present only in a CUDA build of libtorch; loading it is what makes torch see the GPU.
            string cuda = Path.Combine(folder, FileName("torch_cuda"));
            if (File.Exists(cuda)) NativeLibrary.TryLoad(cuda, out _);
            LoadTorchSharp();
            loadedFrom = folder;
        }
    }

    /// <summary>The file name of a native library on this system: <c>libc10.so</c>, <c>libc10.dylib</c>, <c>c10.dll</c>.</summary>
    internal static string FileName(string name) =>
        OperatingSystem.IsWindows() ? name + ".dll" : OperatingSystem.IsMacOS() ? "lib" + name + ".dylib" : "lib" + name + ".so";

    /// <summary>Where the native parts of packages are: the folders that the host found for this program.</summary>
    internal static IReadOnlyList<string> SearchFolders =>
        ((string?)AppContext.GetData("NATIVE_DLL_SEARCH_DIRECTORIES"))?.Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries) ?? [];

    /// <summary>Writes a copy of a library that loads without <c>GLIBCXX_3.4.32</c>; the original is only read.</summary>
    /// <param name="original">The library.</param>
    /// <param name="folder">Where the copy goes, named by its content; a copy that is already there and whole is used.</param>
    /// <returns>Full path of the copy, or <see langword="null"/> where the library does not ask for that version.</returns>
    internal static string? WriteLoadableCopy(string original, string folder)
    {
        byte[] library = File.ReadAllBytes(original);
        if (!ElfSymbolVersions.MarkWeak(library, UnusedVersion)) return null;
        byte[] hash = SHA256.HashData(library);
        string copy = Path.Combine(folder, $"{Path.GetFileNameWithoutExtension(original)}-{Convert.ToHexStringLower(hash)[..16]}{Path.GetExtension(original)}");
        if (File.Exists(copy) && SHA256.HashData(File.ReadAllBytes(copy)).AsSpan().SequenceEqual(hash)) return copy;
        Directory.CreateDirectory(folder);
        string temporary = $"{copy}.{Guid.NewGuid():N}.tmp";
        try
        {
            File.WriteAllBytes(temporary, library);
            File.Move(temporary, copy, overwrite: true);
        }
        finally
        {
            File.Delete(temporary);
        }

        return copy;
    }

    private static string FindFolder()
    {
        string library = FileName("torch_cpu");
        if (Environment.GetEnvironmentVariable(FolderVariable) is { Length: > 0 } given)
        {
            if (FolderOf(given, library) is { } named) return Path.GetFullPath(named);
            throw Missing($"{FolderVariable} names {given}, and {library} is not there. Correct the variable, or remove it");
        }

        List<string> folders = [.. SearchFolders];
        if (AppContext.GetData(FolderProperty) is string property) folders.Insert(0, property);
        return folders.Select(folder => FolderOf(folder, library)).FirstOrDefault(folder => folder is not null)
            ?? throw Missing(
                $"{library} is in none of the folders that were looked at: {string.Join(", ", folders)}. Restore the package libtorch-cpu of this system " +
                $"again, or set {FolderVariable} to the folder that has the library");
    }

    /// <summary>The folder that has a library, of one that should have it, or of several that have its parts.</summary>
    private static string? FolderOf(string given, string library)
    {
        if (File.Exists(Path.Combine(given, library))) return given;
        string[] parts = [.. given.Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries).Where(Directory.Exists)];
        if (parts.Length < 2) return null;
        ModelCache cache = ModelCache.Default();
        try
        {
            string folder = SplitLibraries.Gather(parts, Path.Combine(cache.Root, "libraries"));
            return File.Exists(Path.Combine(folder, library)) ? folder : null;
        }
        catch (InvalidDataException e)
        {
            throw Missing($"{e.Message}. A download was cut short: delete the folders libtorch-cuda-… from the package folder, and restore them again", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw cache.NotWritable(e);
        }
    }

    private static void LoadFile(string path)
    {
        if (!File.Exists(path)) throw Missing($"{path} does not exist. Restore its package again");
        try
        {
            NativeLibrary.Load(path);
        }
        catch (Exception e) when (e is DllNotFoundException or BadImageFormatException)
        {
            throw Missing($"{path} does not load: {e.Message}", e);
        }
    }

    private static void LoadTorchSharp()
    {
        string name = FileName("LibTorchSharp");
        string[] folders = [.. SearchFolders, AppContext.BaseDirectory];
        string original = folders.Select(folder => Path.Combine(folder, name)).FirstOrDefault(File.Exists)
            ?? throw Missing($"{name} is in none of the folders that were looked at: {string.Join(", ", folders)}. Restore the package TorchSharp again");
        try
        {
            NativeLibrary.Load(original);
            return;
        }
        catch (Exception e) when (e is DllNotFoundException or BadImageFormatException)
        {
            if (!OperatingSystem.IsLinux()) throw Missing($"{original} does not load: {e.Message}", e);
            ModelCache cache = ModelCache.Default();
            try
            {
                // TorchSharp asks for the library by its soname, which the copy has too: what is loaded here is what it gets.
                string copy = WriteLoadableCopy(original, Path.Combine(cache.Root, "native"))
                    ?? throw Missing($"{original} does not load: {e.Message}", e);
                NativeLibrary.Load(copy);
            }
            catch (Exception second) when (second is DllNotFoundException or BadImageFormatException)
            {
                throw Missing($"{original} does not load: {e.Message} Nor does a copy that asks for less: {second.Message}", second);
            }
            catch (Exception second) when (second is IOException or UnauthorizedAccessException)
            {
                throw cache.NotWritable(second);
            }
        }
    }

    /// <summary>
    /// Each step of torch computes on the thread that asks for it, and steps run side by side: see <see cref="OrderedSteps"/>. OpenMP's own threads would change
    /// bits with their number, and spin while they wait. libgomp reads the C environment once, when it is loaded, and .NET's own setter does not reach it.
    /// </summary>
    private static void ComputeOnOneThread()
    {
        foreach ((string name, string value) in new[] { ("OMP_NUM_THREADS", "1"), ("OMP_WAIT_POLICY", "PASSIVE") })
        {
            if (OperatingSystem.IsWindows())
            {
                Environment.SetEnvironmentVariable(name, value);
                continue;
            }

            try
            {
                _ = SetNativeVariable(name, value, 1);
            }
            catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
            {
                // A C library of another name: torch works, only less considerately.
            }
        }
    }

    [DllImport("libc", EntryPoint = "setenv", CharSet = CharSet.Ansi, BestFitMapping = false, ThrowOnUnmappableChar = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int SetNativeVariable(string name, string value, int overwrite);

    private static QuantBuildException Missing(string what, Exception? cause = null) =>
        new(DiagnosticIds.NativeLibraryMissing, $"The native library of torch cannot be used: {what.TrimEnd('.')}.", cause);
}
