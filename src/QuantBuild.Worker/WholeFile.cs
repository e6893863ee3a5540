namespace QuantBuild.Worker;

/// <summary>A text file that appears whole or not at all.</summary>
internal static class WholeFile
{
    /// <summary>Writes the file; one that was there is replaced.</summary>
    /// <exception cref="QuantBuildException">QB1003: the disk is full. QB1004: it cannot be written.</exception>
    public static void Write(string path, string text)
    {
        string temporary = $"{path}.{Guid.NewGuid():N}.tmp";
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
            File.WriteAllText(temporary, text);
            File.Move(temporary, path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Delete(temporary);
            throw WriteFailure.Of(path, e);
        }
    }

    /// <summary>Deletes a file if it is there. One that stays is no error, and must not hide one.</summary>
    public static void Delete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Open elsewhere, or its folder no longer allows it.
        }
    }
}
