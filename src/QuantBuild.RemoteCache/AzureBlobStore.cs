using Azure;
using Azure.Storage.Blobs;
using Azure.Storage.Blobs.Models;

namespace QuantBuild;

/// <summary>A container of Azure Blob Storage.</summary>
/// <param name="container">The container.</param>
/// <param name="prefix">What the names begin with: empty, or ends with a slash.</param>
internal sealed class AzureBlobStore(BlobContainerClient container, string prefix) : IRemoteStore
{
    private const int BlobMissing = 404;
    private const int RangeBehindEnd = 416;

    /// <inheritdoc/>
    public async Task<RemoteFile?> OpenAsync(string name, long offset, CancellationToken cancellationToken)
    {
        try
        {
            BlobDownloadOptions options = new() { Range = offset > 0 ? new HttpRange(offset) : default };
            Response<BlobDownloadStreamingResult> blob = await container.GetBlobClient(prefix + name).DownloadStreamingAsync(options, cancellationToken).ConfigureAwait(false);
            return new RemoteFile(blob.Value.Content, offset);
        }
        catch (RequestFailedException e) when (e.Status == BlobMissing && e.ErrorCode != "ContainerNotFound")
        {
            return null;
        }
        catch (RequestFailedException e) when (e.Status == RangeBehindEnd)
        {
            return new RemoteFile(Stream.Null, offset);
        }
    }

    /// <inheritdoc/>
    public Task WriteAsync(string name, Stream content, CancellationToken cancellationToken) =>
        // Blocks are put first and then named together: a reader sees all or nothing.
        container.GetBlobClient(prefix + name).UploadAsync(content, overwrite: true, cancellationToken);

    /// <inheritdoc/>
    public void Dispose()
    {
    }
}
