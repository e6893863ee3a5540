using System.Diagnostics;

namespace QuantBuild;

/// <summary>A file that one process at a time has open. The operating system frees it when the process ends, however it ends.</summary>
public static class FileLock
{
    /// <summary>Opens the file, waiting for whoever has it.</summary>
    /// <param name="path">Path of the file, which is made where it is not there.</param>
    /// <param name="waiting">Called if another process has it, and again every ten seconds as long as it does.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="IOException">It cannot be written: a read-only file system, a full disk.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be written.</exception>
    public static IDisposable Take(string path, Action waiting, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        TimeSpan interval = TimeSpan.FromSeconds(10);
        for (Stopwatch? sinceSaid = null; ;)
        {
            cancellationToken.ThrowIfCancellationRequested();
            try
            {
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException e) when (IsHeld(e))
            {
                if (sinceSaid is null || sinceSaid.Elapsed >= interval)
                {
                    waiting();
                    sinceSaid = Stopwatch.StartNew();
                }

                cancellationToken.WaitHandle.WaitOne(TimeSpan.FromMilliseconds(200));
            }
        }
    }

    // Another process has the file open: ERROR_SHARING_VIOLATION and ERROR_LOCK_VIOLATION of Windows, EWOULDBLOCK of Linux (11) and of macOS (35).
    private static bool IsHeld(IOException e) => (e.HResult & 0xFFFF) is 32 or 33 or 11 or 35;
}
