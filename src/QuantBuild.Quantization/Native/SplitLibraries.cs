using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace QuantBuild.Quantization;

/// <summary>
/// One folder of the libraries that come in many packages, since a package may not be larger than 250 MB: libtorch with CUDA. They find each other beside them, so they have to be in one folder; and
/// a file that is too large for one package comes in pieces, which are put together here. The packages are only read.
/// </summary>
/// <remarks>
/// As TorchSharp's packages have it: <c>x.so</c> in <c>runtimes/…/native</c> of one package is the first piece, <c>x.so.sha</c> beside it the SHA-256 of the whole, <c>x.so.fragment1</c> and so on in
/// <c>fragments/…/native</c> of others are the rest. Where a project on this machine was built with those packages, theirs has put the file together already: then it is whole and has no fragments.
/// </remarks>
internal static class SplitLibraries
{
    private const string ChecksumEnding = ".sha";
    private const string FragmentEnding = ".fragment";

    /// <summary>Brings the libraries together.</summary>
    /// <param name="folders">Where their parts are.</param>
    /// <param name="root">Where the folder goes, named by what is in it; one that is there already is used.</param>
    /// <returns>Full path of the folder.</returns>
    /// <exception cref="InvalidDataException">A file is not whole.</exception>
    /// <exception cref="IOException">The folder cannot be written.</exception>
    public static string Gather(IReadOnlyList<string> folders, string root)
    {
        // The same file can be a part of two packages.
        Dictionary<string, string> files = folders.SelectMany(Directory.EnumerateFiles)
            .GroupBy(path => Path.GetFileName(path), StringComparer.Ordinal).ToDictionary(named => named.Key, named => named.First(), StringComparer.Ordinal);
        string[] libraries = [.. files.Keys.Where(name => !name.EndsWith(ChecksumEnding, StringComparison.Ordinal) && !name.Contains(FragmentEnding, StringComparison.Ordinal)).Order(StringComparer.Ordinal)];
        string? Checksum(string name) => files.TryGetValue(name + ChecksumEnding, out string? path) ? File.ReadAllText(path).Trim() : null;

        StringBuilder content = new();
        foreach (string name in libraries) content.Append(CultureInfo.InvariantCulture, $"{name} {Checksum(name) ?? new FileInfo(files[name]).Length.ToString(CultureInfo.InvariantCulture)}\n");
        string folder = Path.Combine(root, "libtorch-" + FileHash.OfText(content.ToString())[..16]);
        if (IsThere(folder)) return folder;
        // Gigabytes are written: once.
        using IDisposable held = FileLock.Take(folder + ".lock", () => { }, CancellationToken.None);
        if (IsThere(folder)) return folder;
        // Gigabytes that a run left which was killed in here.
        foreach (string left in Directory.GetDirectories(root, Path.GetFileName(folder) + ".*.tmp")) Directory.Delete(left, recursive: true);
        string temporary = $"{folder}.{Guid.NewGuid():N}.tmp";
        try
        {
            Directory.CreateDirectory(temporary);
            foreach (string name in libraries)
            {
                string target = Path.Combine(temporary, name);
                string[] pieces = [files[name], .. Fragments(name, files)];
                if (pieces.Length > 1) Join(pieces, target);
                else Link(files[name], target);
                if (Checksum(name) is { } expected && Hash(target) is var actual && actual != expected)
                {
                    throw new InvalidDataException($"{name}, put together of {string.Join(", ", pieces)}, has the SHA-256 {actual}, expected {expected}");
                }
            }

            if (Directory.Exists(folder)) Directory.Delete(folder, recursive: true);
            Directory.Move(temporary, folder);
            return folder;
        }
        finally
        {
            if (Directory.Exists(temporary)) Directory.Delete(temporary, recursive: true);
        }
    }

    private static IEnumerable<string> Fragments(string name, Dictionary<string, string> files)
    {
        for (int i = 1; files.TryGetValue(string.Create(CultureInfo.InvariantCulture, $"{name}{FragmentEnding}{i}"), out string? fragment); i++) yield return fragment;
    }

    private static void Join(string[] pieces, string target)
    {
        using FileStream whole = new(target, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0);
        foreach (string piece in pieces)
        {
            using FileStream part = new(piece, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
            part.CopyTo(whole, 1 << 20);
        }
    }

    // The loader looks beside the link, not beside what it points to. Windows lets few users make links.
    private static void Link(string source, string target)
    {
        if (OperatingSystem.IsWindows()) File.Copy(source, target);
        else File.CreateSymbolicLink(target, Path.GetFullPath(source));
    }

    // A package folder may have been emptied meanwhile.
    private static bool IsThere(string folder) =>
        Directory.Exists(folder) && new DirectoryInfo(folder).EnumerateFiles().All(file => file.ResolveLinkTarget(returnFinalTarget: true) is not { Exists: false });

    private static string Hash(string path)
    {
        using FileStream file = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(file));
    }
}
