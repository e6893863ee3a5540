namespace QuantBuild;

/// <summary>Tells a full disk from a folder that does not allow writing.</summary>
public static class WriteFailure
{
    /// <summary>Whether the system says that the disk is full, or the user's share of it.</summary>
    public static bool IsDiskFull(Exception cause)
    {
        // ENOSPC and EDQUOT; ERROR_DISK_FULL and ERROR_HANDLE_DISK_FULL.
        const int noSpace = 28;
        const int overQuota = 122;
        const int windowsDiskFull = unchecked((int)0x80070070);
        const int windowsHandleDiskFull = unchecked((int)0x80070027);
        return cause is IOException && cause.HResult is noSpace or overQuota or windowsDiskFull or windowsHandleDiskFull;
    }

    /// <summary>The error of a file that could not be written: QB1003 where the disk is full, else QB1004.</summary>
    public static QuantBuildException Of(string path, Exception cause) => IsDiskFull(cause)
        ? new(DiagnosticIds.DiskFull, $"{path} cannot be written: the disk is full. Make room, and build again.", cause)
        : new(DiagnosticIds.NotWritable, $"{path} cannot be written: {cause.Message} Allow writing there, and build again.", cause);
}
