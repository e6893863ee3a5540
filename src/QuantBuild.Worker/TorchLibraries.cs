using System.Runtime.Loader;
using System.Text.Json;
using QuantBuild.Quantization;

namespace QuantBuild.Worker;

/// <summary>
/// The libraries of torch, for a program that has none beside it: the .NET tool, whose package would have 450 MB with them. They are restored once, from NuGet into the user's package folder as a
/// build does it, and loaded from there.
/// </summary>
internal sealed class TorchLibraries
{
    // What the host looks for native libraries in, and NativeLibraries too.
    private const string NativeFolders = "NATIVE_DLL_SEARCH_DIRECTORIES";

    private static bool used;
    private readonly ModelCache cache = ModelCache.Default();
    private readonly string projectFolder;
    private readonly string hash;

    private readonly bool isCuda;

    private TorchLibraries(string projectFolder, bool isCuda)
    {
        (this.projectFolder, this.isCuda) = (projectFolder, isCuda);
        // Another version of the tool may ask for another torch.
        hash = FileHash.OfText(string.Concat(Directory.GetFiles(projectFolder).Order(StringComparer.Ordinal).Select(File.ReadAllText)))[..16];
    }

    // Those for a processor and those with CUDA are different ones.
    private string Folder => Path.Combine(cache.Root, "libraries", isCuda ? hash + "-cuda" : hash);

    private string Need => isCuda ? "torch with CUDA (some 5 GB; once for this machine)" : "torch (some 450 MB; once for this machine)";

    // Beside the worker of a build and in the repository the host finds them all.
    private static string? ProjectFolder
    {
        get
        {
            string assemblies = AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES") as string ?? "";
            bool isKnown = assemblies.Split(Path.PathSeparator).Any(path => Path.GetFileName(path) == "TorchSharp.dll");
            string project = Path.Combine(AppContext.BaseDirectory, "worker-libraries");
            return isKnown || !Directory.Exists(project) ? null : project;
        }
    }

    /// <summary>Whether those for a device can be used without a restore.</summary>
    /// <param name="device">As <see cref="BuildDevice.Of"/> takes it.</param>
    public static bool AreThere(string device) => ProjectFolder is not { } project || new TorchLibraries(project, Choose(device).IsCuda).Found() is not null;

    /// <summary>Makes them loadable; call before a method runs that names anything of torch. Restores them the first time.</summary>
    /// <param name="device">Where to quantize: as <see cref="BuildDevice.Of"/> takes it. A GPU needs others than the CPU.</param>
    /// <param name="report">Hears of the restore.</param>
    /// <param name="cancellationToken">Ends the restore.</param>
    /// <exception cref="QuantBuildException">QB1007 or, with CUDA, QB1054: the restore failed. QB1003 or QB1004: the cache cannot be written. The errors of <see cref="BuildDevice.Of"/>.</exception>
    public static void Use(string device, IReport report, CancellationToken cancellationToken)
    {
        if (used || ProjectFolder is not { } project) return;
        used = true;
        TorchLibraries missing = new(project, Choose(device).IsCuda);
        Library[] libraries = missing.Found() ?? missing.Restore(report, cancellationToken);
        Dictionary<string, string> managed = libraries.Where(library => library.Kind == LibraryKind.Managed)
            .ToDictionary(library => Path.GetFileNameWithoutExtension(library.FullPath), library => library.FullPath);
        AssemblyLoadContext.Default.Resolving += (context, name) => managed.TryGetValue(name.Name ?? "", out string? path) ? context.LoadFromAssemblyPath(path) : null;
        IEnumerable<string> native = libraries.Where(library => library.Kind == LibraryKind.Native).Select(library => Path.GetDirectoryName(library.FullPath)!).Distinct();
        AppContext.SetData(NativeFolders, string.Join(Path.PathSeparator, native.Append(AppContext.GetData(NativeFolders) as string)));
        AppContext.SetData(NativeLibraries.FolderProperty, string.Join(Path.PathSeparator, libraries.Where(library => library.Kind == LibraryKind.LibTorch).Select(library => library.FullPath)));
    }

    private static BuildDevice Choose(string device) => BuildDevice.Of(device, NvidiaDriver.Ask, BuildDevice.Platform);

    /// <summary>Those of an earlier restore; <see langword="null"/> where there was none, or a file of it is gone.</summary>
    private Library[]? Found()
    {
        try
        {
            using JsonDocument json = JsonDocument.Parse(File.ReadAllText(Path.Combine(Folder, "libraries.json")));
            Library[] libraries =
            [
                .. json.RootElement.GetProperty("TargetResults").GetProperty("GetLibraries").GetProperty("Items").EnumerateArray()
                    .Select(item => new Library(Enum.Parse<LibraryKind>(item.GetProperty("Kind").GetString()!), item.GetProperty("FullPath").GetString()!)),
            ];
            bool isWhole = Enum.GetValues<LibraryKind>().All(kind => libraries.Any(library => library.Kind == kind)) && libraries.All(library => Path.Exists(library.FullPath));
            return isWhole ? libraries : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or KeyNotFoundException or InvalidOperationException or ArgumentException)
        {
            return null;
        }
    }

    private Library[] Restore(IReport report, CancellationToken cancellationToken)
    {
        void Say(string text) => report.Send(new WorkerMessage { Kind = WorkerMessageKind.Information, Text = text });
        using IDisposable held = cache.Lock("libraries-" + Path.GetFileName(Folder), () => Say("waiting for another run that restores the libraries of torch"), cancellationToken);
        // The other run made them.
        if (Found() is { } made) return made;
        Say($"restoring the libraries of {Need}");
        try
        {
            Directory.CreateDirectory(Folder);
            foreach (string file in Directory.GetFiles(projectFolder)) File.Copy(file, Path.Combine(Folder, Path.GetFileName(file)), overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw cache.NotWritable(e);
        }

        // From where a project in this folder would restore.
        Sdk("restore", "-p:RestoreRootConfigDirectory=" + Environment.CurrentDirectory);
        WholeFile.Write(Path.Combine(Folder, "libraries.json"), Sdk("msbuild", "-getTargetResult:GetLibraries"));
        return Found() ?? throw Failed("what was restored is not complete. Delete the folders torchsharp and libtorch-… from the package folder, and try again");

        string Sdk(string command, string option)
        {
            (int exitCode, string output, string error) = SdkProcess.Run(
                Environment.CurrentDirectory, cancellationToken, command, Path.Combine(Folder, "WorkerLibraries.csproj"), option, $"-p:LibTorchDevice={(isCuda ? "cuda" : "cpu")}")
                ?? throw Failed("there is no dotnet command. Install the .NET 10 SDK, and have dotnet on the PATH");
            return exitCode == 0 ? output : throw Failed($"dotnet {command} ended with exit code {exitCode}: {(output + error).Trim()}");
        }
    }

    private QuantBuildException Failed(string why) => isCuda
        ? new(DiagnosticIds.CudaRestoreFailed, $"The libraries that quantize on a GPU (TorchSharp, and libtorch with CUDA) could not be restored: {why}. With --device cpu they are not needed.")
        : new(DiagnosticIds.WorkerRestoreFailed, $"The libraries that quantize (TorchSharp and libtorch) could not be restored: {why}.");

    private enum LibraryKind
    {
        Managed,
        Native,
        LibTorch,
    }

    private sealed record Library(LibraryKind Kind, string FullPath);
}
