using Microsoft.Build.Utilities;

namespace QuantBuild.Tasks;

/// <summary>Errors and warnings in MSBuild's form: with code, page and position.</summary>
internal static class BuildLog
{
    // What the system says of a full disk: ENOSPC, EDQUOT and, on Windows, ERROR_DISK_FULL.
    private static readonly int[] DiskFull = [28, 122, unchecked((int)0x80070070)];

    /// <summary>Logs an error at an item.</summary>
    public static void ErrorAt(this TaskLoggingHelper log, QuantBuildException error, ItemPosition position) =>
        log.ErrorAt(error.Id, error.Message, position);

    /// <summary>Logs an error at an item.</summary>
    public static void ErrorAt(this TaskLoggingHelper log, string id, string message, ItemPosition position) =>
        log.LogError(null, id, null, DiagnosticIds.HelpLink(id), position.File, position.Line, position.Column, 0, 0, message);

    /// <summary>Logs a warning at an item.</summary>
    public static void WarningAt(this TaskLoggingHelper log, string id, string message, ItemPosition position) =>
        log.LogWarning(null, id, null, DiagnosticIds.HelpLink(id), position.File, position.Line, position.Column, 0, 0, message);

    /// <summary>Whether an exception is the file system's.</summary>
    public static bool IsFileError(Exception exception) => exception is IOException or UnauthorizedAccessException;

    /// <summary>The error of a file that cannot be written: the disk is full, or the folder does not allow it.</summary>
    public static QuantBuildException WriteFailed(string path, Exception cause) =>
        DiskFull.Contains(cause.HResult)
            ? new(DiagnosticIds.DiskFull, $"The disk is full: {path} could not be written. Free some space there and build again.", cause)
            : new(DiagnosticIds.NotWritable, $"{path} cannot be written: {cause.Message} Allow writing there and build again.", cause);
}
