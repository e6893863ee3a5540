namespace QuantBuild;

/// <summary>A place that keeps files by name for a team.</summary>
internal interface IRemoteStore : IDisposable
{
    /// <summary>Opens a file.</summary>
    /// <param name="name">Its name, such as <c>ab/abcd….safetensors</c>.</param>
    /// <param name="offset">The first byte that is wanted.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>The file; <see langword="null"/> where there is none.</returns>
    Task<RemoteFile?> OpenAsync(string name, long offset, CancellationToken cancellationToken);

    /// <summary>Writes a file; others see it whole or not at all.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="content">Its bytes: a stream that knows its length and can be read again.</param>
    /// <param name="cancellationToken">Ends it.</param>
    Task WriteAsync(string name, Stream content, CancellationToken cancellationToken);
}

/// <summary>A file in a remote store, being read.</summary>
/// <param name="Content">Its bytes from <paramref name="Offset"/> on.</param>
/// <param name="Offset">Where the content begins: what was asked for, or 0 where the store cannot begin in the middle.</param>
internal sealed record RemoteFile(Stream Content, long Offset) : IDisposable
{
    /// <inheritdoc/>
    public void Dispose() => Content.Dispose();
}
