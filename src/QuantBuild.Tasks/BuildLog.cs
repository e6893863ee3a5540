using Microsoft.Build.Utilities;

namespace QuantBuild.Tasks;

/// <summary>Errors and warnings in MSBuild's form: with code, page and position.</summary>
internal static class BuildLog
{
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
}
