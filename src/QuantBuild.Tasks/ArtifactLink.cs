using System.Globalization;

namespace QuantBuild.Tasks;

/// <summary>The artifact under <c>obj</c>: it shares the bytes of the one in the cache where the file system can do that.</summary>
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

    /// <summary>Puts the cache's artifact under <c>obj</c>; one that was there is replaced whole or stays.</summary>
    /// <exception cref="QuantBuildException">QB1003 or QB1004: it cannot be written.</exception>
    /// <exception cref="IOException">The cache has it no more.</exception>
    public static void Create(DeclaredModel model, CacheEntry entry)
    {
        FileLink.Create(entry.BuildRecordPath, model.BuildRecordPath);
        // The report is for people: an artifact without one is whole, but must not have another's.
        if (File.Exists(entry.ReportPath)) FileLink.Create(entry.ReportPath, model.ReportPath);
        else TemporaryFile.Delete(model.ReportPath);
        FileLink.Create(entry.ArtifactPath, model.ArtifactPath);
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
}
