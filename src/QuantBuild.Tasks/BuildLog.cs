using System.Diagnostics;
using System.Globalization;
using Microsoft.Build.Framework;
using Microsoft.Build.Utilities;

namespace QuantBuild.Tasks;

/// <summary>Errors and warnings in MSBuild's form: with code, page and position; and a sign of life where something takes long.</summary>
internal static class BuildLog
{
    /// <summary>Without a sign of life for longer, one wonders whether the build hangs.</summary>
    public static readonly TimeSpan LongestSilence = TimeSpan.FromSeconds(10);

    /// <summary>Logs an error at an item.</summary>
    public static void ErrorAt(this TaskLoggingHelper log, QuantBuildException error, ItemPosition position) =>
        log.ErrorAt(error.Id, error.Message, position);

    /// <summary>Logs an error at an item.</summary>
    public static void ErrorAt(this TaskLoggingHelper log, string id, string message, ItemPosition position) =>
        log.LogError(null, id, null, DiagnosticIds.HelpLink(id), position.File, position.Line, position.Column, 0, 0, message);

    /// <summary>Logs a warning at an item.</summary>
    public static void WarningAt(this TaskLoggingHelper log, string id, string message, ItemPosition position) =>
        log.LogWarning(null, id, null, DiagnosticIds.HelpLink(id), position.File, position.Line, position.Column, 0, 0, message);

    /// <summary>Hashes a file on a thread of its own: this one, on which alone a task may log, says what the build is at.</summary>
    public static string HashOf(this TaskLoggingHelper log, string path, FileHash hash)
    {
        Stopwatch watch = Stopwatch.StartNew();
        Task<string> hashing = System.Threading.Tasks.Task.Run(() => hash.Compute(path));
        while (System.Threading.Tasks.Task.WaitAny([hashing], LongestSilence) < 0)
        {
            log.LogMessage(
                MessageImportance.High,
                string.Format(CultureInfo.InvariantCulture, "reading {0} to see whether it has changed, {1:F0} s so far", path, watch.Elapsed.TotalSeconds));
        }

        return hashing.GetAwaiter().GetResult();
    }

    /// <summary>Whether an exception is the file system's.</summary>
    public static bool IsFileError(Exception exception) => exception is IOException or UnauthorizedAccessException;
}
