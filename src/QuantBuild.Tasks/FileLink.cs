using System.Runtime.InteropServices;
using System.Text;

namespace QuantBuild.Tasks;

/// <summary>A second file of the same bytes that takes no room where that can be had: a copy-on-write clone, else a hard link, else a copy.</summary>
internal static class FileLink
{
    // ioctl of Linux that shares the blocks of another file: _IOW(0x94, 9, int).
    private const ulong CloneBlocks = 0x40049409;

    /// <summary>Puts the file there; one that was there is replaced whole or stays.</summary>
    /// <param name="source">The file.</param>
    /// <param name="target">The other, with the same time of writing.</param>
    /// <exception cref="QuantBuildException">QB1003 or QB1004: it cannot be written.</exception>
    /// <exception cref="IOException">The source cannot be read.</exception>
    public static void Create(string source, string target)
    {
        if (!File.Exists(source)) throw new FileNotFoundException($"{source} is gone.", source);
        string temporary = target + "." + Guid.NewGuid().ToString("N");
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(target))!);
            if (!TryClone(source, temporary) && !TryHardLink(source, temporary)) File.Copy(source, temporary);
            Replace(temporary, target);
        }
        catch (FileNotFoundException e) when (!File.Exists(source))
        {
            throw new FileNotFoundException(e.Message, source, e);
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

    /// <summary>Renames a file to a name that may be taken; whoever opens that sees the one or the other, whole.</summary>
    /// <remarks>File.Replace refuses where both are links to one file; the system's rename then does nothing, which is right.</remarks>
    public static void Replace(string source, string target)
    {
        if (!RuntimeInformation.IsOSPlatform(OSPlatform.Windows) && Rename(Utf8(Path.GetFullPath(source)), Utf8(Path.GetFullPath(target))) == 0) return;
        // Elsewhere; and where it failed, this says what hinders it. what hinders it.
        if (File.Exists(target)) File.Replace(source, target, null);
        else File.Move(source, target);
    }

    // Btrfs, XFS and others of Linux; APFS. Windows clones in File.Copy where it can.
    private static bool TryClone(string source, string target)
    {
        if (RuntimeInformation.IsOSPlatform(OSPlatform.OSX)) return CloneFile(Utf8(source), Utf8(Path.GetFullPath(target)), 0) == 0;
        if (!RuntimeInformation.IsOSPlatform(OSPlatform.Linux)) return false;
        using (FileStream from = new(source, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete))
        using (FileStream to = new(target, FileMode.CreateNew, FileAccess.Write, FileShare.None))
        {
            if (Control(to.SafeFileHandle.DangerousGetHandle().ToInt32(), CloneBlocks, from.SafeFileHandle.DangerousGetHandle().ToInt32()) != 0)
            {
                to.Dispose();
                File.Delete(target);
                return false;
            }
        }

        File.SetLastWriteTimeUtc(target, File.GetLastWriteTimeUtc(source));
        return true;
    }

    // Another volume, or a file system without links.
    private static bool TryHardLink(string source, string target) =>
        RuntimeInformation.IsOSPlatform(OSPlatform.Windows)
            ? CreateHardLink(Path.GetFullPath(target), source, IntPtr.Zero)
            : Link(Utf8(source), Utf8(Path.GetFullPath(target))) == 0;

    private static byte[] Utf8(string path) => Encoding.UTF8.GetBytes(path + "\0");

    [DllImport("libc", EntryPoint = "rename")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Rename(byte[] source, byte[] target);

    [DllImport("libc", EntryPoint = "link")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Link(byte[] source, byte[] target);

    [DllImport("libc", EntryPoint = "ioctl")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Control(int target, ulong request, int source);

    [DllImport("libc", EntryPoint = "clonefile")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int CloneFile(byte[] source, byte[] target, int flags);

    [DllImport("kernel32", EntryPoint = "CreateHardLinkW", CharSet = CharSet.Unicode)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static extern bool CreateHardLink(string target, string source, IntPtr security);
}
