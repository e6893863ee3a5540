namespace QuantBuild.Quantization;

/// <summary>A safetensors file as a source of weights.</summary>
internal sealed class SafetensorsCheckpoint : ICheckpointFile
{
    private readonly SafetensorsFile file;

    private SafetensorsCheckpoint(SafetensorsFile file)
    {
        this.file = file;
        Tensors = [.. file.Tensors.Values.Select(entry => new CheckpointTensor(entry.Name, entry.Type, entry.Shape, FileBytes.Reader(file.Path, entry.Name, (offset, target) => file.Read(entry, offset, target))))];
    }

    /// <inheritdoc/>
    public IReadOnlyCollection<CheckpointTensor> Tensors { get; }

    /// <summary>Maps a file.</summary>
    /// <exception cref="QuantBuildException">QB2005.</exception>
    public static SafetensorsCheckpoint Open(string path) => new(SafetensorsFile.Open(path, DiagnosticIds.WeightsMalformed));

    /// <inheritdoc/>
    public void Dispose() => file.Dispose();
}
