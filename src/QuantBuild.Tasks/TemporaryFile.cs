namespace QuantBuild.Tasks;

/// <summary>A file that only a running build needs.</summary>
internal static class TemporaryFile
{
    /// <summary>Deletes the file if it is there. One that stays is no error, and must not hide one.</summary>
    public static void Delete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (BuildLog.IsFileError(e))
        {
            // Open elsewhere, or its folder no longer allows it.
        }
    }
}
