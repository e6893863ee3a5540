namespace QuantBuild.Quantization;

/// <summary>The files that a run has open under a temporary name: a run that is killed leaves them.</summary>
public static class HalfWrittenFiles
{
    /// <summary>Those that are there now.</summary>
    /// <param name="request">What the run makes.</param>
    public static IEnumerable<string> Of(WorkerRequest request)
    {
        IEnumerable<(string Folder, string Pattern)> places =
        [
            .. new[] { request.ArtifactPath, request.BuildRecordPath, request.ReportPath }.OfType<string>()
                .Select(path => (Path.GetDirectoryName(path)!, Path.GetFileName(path) + ".*.tmp")),
            (ModelCache.OfArtifact(request.ArtifactPath, request.Fingerprint).WorkFolder(request.Fingerprint), "*.tmp"),
        ];
        return places.Where(place => Directory.Exists(place.Folder)).SelectMany(place => Directory.GetFiles(place.Folder, place.Pattern));
    }

    /// <summary>Deletes them. Nothing else makes the same artifact meanwhile: whoever makes it holds its lock.</summary>
    /// <param name="request">What the run makes.</param>
    public static void Delete(WorkerRequest request)
    {
        foreach (string file in Of(request))
        {
            try
            {
                File.Delete(file);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // Room on the disk is lost, and nothing else; the next run tries again.
            }
        }
    }
}
