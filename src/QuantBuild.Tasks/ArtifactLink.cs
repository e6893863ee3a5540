using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace QuantBuild.Tasks;

/// <summary>The artifact under <c>obj</c>: a hard link to the one in the cache, or a copy where links cannot be made.</summary>
internal static class ArtifactLink
{
    /// <summary>Whether the artifact under <c>obj</c> is already the one that is declared.</summary>
    public static bool IsCurrent(DeclaredModel model)
    {
        try
        {
            return File.Exists(model.BuildRecordPath) && File.ReadAllText(model.StampPath) == Stamp(model);
        }
        catch (Exception e) when (BuildLog.IsFileError(e))
        {
            return false;
        }
    }

    /// <summary>Whether the cache has the artifact that is declared.</summary>
    public static bool IsCached(DeclaredModel model, ModelCache cache) =>
        File.Exists(cache.ArtifactPath(model.Fingerprint)) && File.Exists(cache.BuildRecordPath(model.Fingerprint));

    /// <summary>Puts the cache's artifact under <c>obj</c>; one that was there is replaced whole or stays.</summary>
    /// <exception cref="QuantBuildException">QB1003 or QB1004: it cannot be written.</exception>
    public static void Create(DeclaredModel model, ModelCache cache)
    {
        Place(cache.BuildRecordPath(model.Fingerprint), model.BuildRecordPath);
        // The report is for people: an artifact without one is whole, but must not have another's.
        if (File.Exists(cache.ReportPath(model.Fingerprint))) Place(cache.ReportPath(model.Fingerprint), model.ReportPath);
        else TemporaryFile.Delete(model.ReportPath);
        Place(cache.ArtifactPath(model.Fingerprint), model.ArtifactPath);
        try
        {
            File.WriteAllText(model.StampPath, Stamp(model));
        }
        catch (Exception e) when (BuildLog.IsFileError(e))
        {
            throw WriteFailure.Of(model.StampPath, e);
        }
    }

    /// <summary>Says that the artifact under <c>obj</c> is what its inputs, as they are now, give: what an IDE compares the times of.</summary>
    public static void Confirm(DeclaredModel model)
    {
        try
        {
            File.SetLastWriteTimeUtc(model.StampPath, DateTime.UtcNow);
        }
        catch (Exception e) when (BuildLog.IsFileError(e))
        {
            // The IDE builds once more than it must.
        }
    }

    private static string Stamp(DeclaredModel model)
    {
        FileInfo artifact = new(model.ArtifactPath);
        return string.Format(CultureInfo.InvariantCulture, "{0} {1} {2}", model.Fingerprint, artifact.Length, artifact.LastWriteTimeUtc.Ticks);
    }

    private static void Place(string source, string target)
    {
        string temporary = target + "." + Guid.NewGuid().ToString("N");
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            if (!TryHardLink(source, temporary)) File.Copy(source, temporary);
            if (File.Exists(target)) File.Replace(temporary, target, null);
            else File.Move(temporary, target);
        }
        catch (Exception e) when (BuildLog.IsFileError(e))
        {
            throw WriteFailure.Of(target, e);
        }
        finally
        {
            // Still there after a failure, and after a rename over a link to the same file, which the system answers with doing nothing.
            TemporaryFile.Delete(temporary);
        }
    }

    // Another volume, or a file system without links.
    private static bool TryHardLink(string source, string target) =>
        RuntimeInformation.IsOSPlatform(OSPlatform.Windows)
            ? CreateHardLink(Path.GetFullPath(target), source, IntPtr.Zero)
            : Link(Utf8(source), Utf8(Path.GetFullPath(target))) == 0;

    private static byte[] Utf8(string path) => Encoding.UTF8.GetBytes(path + "\0");

    [DllImport("libc", EntryPoint = "link")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Link(byte[] source, byte[] target);

    [DllImport("kernel32", EntryPoint = "CreateHardLinkW", CharSet = CharSet.Unicode)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static extern bool CreateHardLink(string target, string source, IntPtr security);
}
