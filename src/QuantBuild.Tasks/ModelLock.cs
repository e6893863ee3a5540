using System.Text;

namespace QuantBuild.Tasks;

/// <summary>Holds what is declared against the lock file, and locks what is new.</summary>
internal static class ModelLock
{
    private const int DifferencesShown = 6;

    /// <summary>Checks one model.</summary>
    /// <param name="path">Path of the lock file. It need not exist yet.</param>
    /// <param name="className">The model's class.</param>
    /// <param name="declared">What the build would make.</param>
    /// <param name="update">Whether that is the new agreement, whatever is locked.</param>
    /// <param name="lockedMode">Whether a model that is not locked is an error.</param>
    /// <exception cref="QuantBuildException">QB0010: it is not what is locked. QB0011: the lock file cannot be read. QB1003 or QB1004: it cannot be written.</exception>
    public static void Check(string path, string className, LockedModel declared, bool update, bool lockedMode)
    {
        LockedModel? locked = LockFile.Read(path).Models.TryGetValue(className, out LockedModel? found) ? found : null;
        if (locked?.Fingerprint == declared.Fingerprint && (locked.Source == declared.Source || lockedMode)) return;
        if (update || (locked is null && !lockedMode) || locked?.Fingerprint == declared.Fingerprint)
        {
            Write(path, className, declared);
            return;
        }

        throw new QuantBuildException(
            DiagnosticIds.LockFileMismatch,
            locked is null
                ? $"{className} is not in the lock file {path}, and this build (ContinuousIntegrationBuild) takes only what is. Build it where that is not set, and commit the file."
                : $"{className} would be made of something else than the lock file {path} says: {Describe(locked.DifferencesTo(declared))}. Bring back what is locked, or agree to what is new with " +
                "dotnet build -p:QuantBuildUpdateLockFile=true, and commit the file.");
    }

    private static string Describe(IReadOnlyList<string> differences)
    {
        if (differences.Count == 0) return "the fingerprint alone, which was edited";
        if (differences.All(difference => difference.StartsWith("quantizer/", StringComparison.Ordinal))) return "QuantBuild itself is another version";
        // Which files of the quantizer differ tells nobody anything.
        string[] others = [.. differences.Where(difference => !difference.StartsWith("quantizer/", StringComparison.Ordinal))];
        string more = others.Length > DifferencesShown ? $"; and {others.Length - DifferencesShown} more" : "";
        return string.Join("; ", others.Take(DifferencesShown)) + more + (others.Length < differences.Count ? "; and QuantBuild itself is another version" : "");
    }

    // Two target frameworks may add their models at once.
    private static void Write(string path, string className, LockedModel model)
    {
        string temporary = path + "." + Guid.NewGuid().ToString("N");
        using (ModelCache.Default().Lock(FileHash.OfText(Path.GetFullPath(path)), () => { }, CancellationToken.None))
        {
            LockFile file = LockFile.Read(path);
            file.Set(className, model);
            try
            {
                File.WriteAllText(temporary, file.ToJson(), new UTF8Encoding(encoderShouldEmitUTF8Identifier: false));
                FileLink.Replace(temporary, path);
            }
            catch (Exception e) when (BuildLog.IsFileError(e))
            {
                throw WriteFailure.Of(path, e);
            }
            finally
            {
                TemporaryFile.Delete(temporary);
            }
        }
    }
}
