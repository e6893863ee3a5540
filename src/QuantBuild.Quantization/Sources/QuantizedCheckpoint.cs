namespace QuantBuild.Quantization;

/// <summary>
/// The linears of a checkpoint that is quantized already: the same integers, scales and zero points in an artifact's formats. Nothing is rounded.
/// </summary>
/// <param name="quantization">What <c>config.json</c> says.</param>
/// <param name="names">Where the checkpoint holds the linears.</param>
/// <param name="tensors">The checkpoint's tensors.</param>
internal sealed class QuantizedCheckpoint(CheckpointQuantization quantization, WeightNames names, IReadOnlyDictionary<string, CheckpointTensor> tensors)
{
    /// <summary>The tensors that a linear consists of, each found to have the type and shape that it should have.</summary>
    /// <param name="shape">The linear.</param>
    /// <param name="spec">How it is quantized.</param>
    /// <exception cref="QuantBuildException">QB2006 one is missing, QB2007 one has another type or shape.</exception>
    public IReadOnlyList<CheckpointTensor> Tensors(LinearShape shape, QuantizationSpec spec)
    {
        List<CheckpointTensor> found = [];
        Linear(shape, spec, found.Add);
        return found;
    }

    /// <summary>Reads a linear.</summary>
    /// <exception cref="QuantBuildException">QB2007: its values contradict <c>config.json</c>, or each other.</exception>
    public QuantizedLinear Read(LinearShape shape, QuantizationSpec spec) => Linear(shape, spec, _ => { })();

    private Func<QuantizedLinear> Linear(LinearShape shape, QuantizationSpec spec, Action<CheckpointTensor> found)
    {
        TensorPlace place = names.Of(shape.WeightName);
        if (place.Rows is not null || place.Transposed)
        {
            throw new QuantBuildException(
                DiagnosticIds.ConfigUnsupported,
                $"\"quantization_config\" in config.json says that {place.Name} is quantized already, and of models whose checkpoints hold several linears in one tensor, as {shape.Name} is there, only those in " +
                "floating point are read. Take the model as it was before it was quantized.");
        }

        CheckpointLinear linear = new(place.Name.Substring(0, place.Name.Length - ".weight".Length), shape, tensors, found);
        return (quantization.Format, LinearFormats.Of(spec, shape)) switch
        {
            (CheckpointFormat.Gptq, IntAffineFormat format) => GptqLinear.Find(linear, format, quantization.ZerosLessOne),
            (CheckpointFormat.Awq, IntAffineFormat format) => AwqLinear.Find(linear, format),
            (CheckpointFormat.BitsAndBytes, Codebook4Format format) => BitsAndBytesLinear.Find(linear, format),
            (CheckpointFormat.BitsAndBytes, Int8RowOutlierFormat format) => BitsAndBytesLinear.Find(linear, format),
            var (format, layer) => throw new InvalidOperationException($"{format} has no {layer}."),
        };
    }
}

/// <summary>Finds and checks the tensors of a quantized linear.</summary>
/// <param name="Name">Its name in the checkpoint.</param>
/// <param name="Shape">The linear.</param>
/// <param name="Tensors">The checkpoint's tensors.</param>
/// <param name="Found">Hears of each.</param>
internal sealed record CheckpointLinear(string Name, LinearShape Shape, IReadOnlyDictionary<string, CheckpointTensor> Tensors, Action<CheckpointTensor> Found)
{
    /// <summary>The tensor with the linear's name and a suffix.</summary>
    /// <exception cref="QuantBuildException">QB2006, QB2007.</exception>
    public CheckpointTensor Part(string suffix, ElementType type, params long[] shape)
    {
        string name = Name + suffix;
        if (!Tensors.TryGetValue(name, out CheckpointTensor? tensor))
        {
            throw new QuantBuildException(
                DiagnosticIds.TensorMissing,
                $"The weights lack the tensor {name}, and config.json says with \"quantization_config\" that they are quantized. Copy the model again, with all its files.");
        }

        if (tensor.Type != type || !tensor.Shape.SequenceEqual(shape))
        {
            throw Wrong($"is {tensor.Type.HeaderName()} [{string.Join(", ", tensor.Shape)}], expected {type.HeaderName()} [{string.Join(", ", shape)}]", suffix);
        }

        Found(tensor);
        return tensor;
    }

    /// <summary>The error of a tensor that is not as <c>config.json</c> says.</summary>
    public QuantBuildException Wrong(string what, string suffix) => new(
        DiagnosticIds.TensorMismatch,
        $"The tensor {Name}{suffix} {what}. \"quantization_config\" in config.json and the weights are not of the same model, or a file is damaged: copy the model again.");
}
