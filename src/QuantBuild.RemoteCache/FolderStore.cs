namespace QuantBuild;

/// <summary>A folder that a team's machines have in common.</summary>
/// <param name="folder">Full path of the folder. It need not exist yet.</param>
internal sealed class FolderStore(string folder) : IRemoteStore
{
    /// <inheritdoc/>
    public Task<RemoteFile?> OpenAsync(string name, long offset, CancellationToken cancellationToken)
    {
        try
        {
            FileStream file = new(Path.Combine(folder, name), FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
            file.Position = Math.Min(offset, file.Length);
            return Task.FromResult<RemoteFile?>(new RemoteFile(file, file.Position));
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            // A folder that is not there yet is empty; a drive that is not there looks the same, and the first write tells.
            return Task.FromResult<RemoteFile?>(null);
        }
    }

    /// <inheritdoc/>
    public async Task WriteAsync(string name, Stream content, CancellationToken cancellationToken)
    {
        string target = Path.Combine(folder, name), temporary = $"{target}.{Guid.NewGuid():N}.tmp";
        Directory.CreateDirectory(Path.GetDirectoryName(target)!);
        try
        {
            await using (FileStream file = new(temporary, FileMode.CreateNew, FileAccess.Write, FileShare.None))
            {
                await content.CopyToAsync(file, cancellationToken).ConfigureAwait(false);
            }

            File.Move(temporary, target, overwrite: true);
        }
        finally
        {
            File.Delete(temporary);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
    }
}
