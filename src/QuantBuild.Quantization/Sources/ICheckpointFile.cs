namespace QuantBuild.Quantization;

/// <summary>A weight file of some format, open, verified, and not read.</summary>
internal interface ICheckpointFile : IDisposable
{
    /// <summary>Its tensors, under the names that they have in a Hugging Face checkpoint.</summary>
    IReadOnlyCollection<CheckpointTensor> Tensors { get; }
}
