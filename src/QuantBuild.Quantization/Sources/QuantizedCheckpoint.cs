namespace QuantBuild.Quantization;

/// <summary>
/// The linears of a checkpoint that is quantized already: the same integers, scales and zero points in an artifact's formats. Nothing is rounded.
/// </summary>
/// <param name="quantization">What <c>config.json</c> says.</param>
/// <param name="names">Where the checkpoint holds the linears.</param>
/// <param name="tensors">The checkpoint's tensors.</param>
internal sealed class QuantizedCheckpoint(CheckpointQuantization quantization, WeightNames names, IReadOnlyDictionary<string, CheckpointTensor> tensors)
{
    /// <summary>Checks that nothing is to be computed beside what both forward passes compute.</summary>
    /// <exception cref="QuantBuildException">QB2011: AWQ divides activations, where an MLP has no gate to divide.</exception>
    public void Check()
    {
        if (tensors.Keys.FirstOrDefault(name => name.EndsWith(".act.scales", StringComparison.Ordinal)) is not { } scales) return;
        throw new QuantBuildException(
            DiagnosticIds.ConfigUnsupported, $"AWQ divides the activations of an MLP by {scales}, which is not computed here. Take the model as it was before it was quantized, or one that GPTQ has quantized.");
    }

    /// <summary>The bytes that a linear takes in its files: its share of a tensor that several are fused in. Every tensor is found to have the type and shape that it should have.</summary>
    /// <param name="shape">The linear.</param>
    /// <param name="spec">How it is quantized.</param>
    /// <exception cref="QuantBuildException">QB2006 one is missing, QB2007 one has another type or shape, QB2011 they cannot be taken apart.</exception>
    public long Bytes(LinearShape shape, QuantizationSpec spec)
    {
        long bytes = 0;
        Linear(shape, spec, tensor => bytes += tensor.StoredBytes);
        return (long)((double)bytes / (names.Of(shape.WeightName).Expert?.Count ?? 1) / Whole(shape).Outputs * shape.Outputs);
    }

    /// <summary>Reads a linear.</summary>
    /// <exception cref="QuantBuildException">QB2007: its values contradict <c>config.json</c>, or each other. QB2011: it shares scales with others that it is fused with.</exception>
    public QuantizedLinear Read(LinearShape shape, QuantizationSpec spec)
    {
        QuantizedLinear whole = Linear(shape, spec, _ => { })();
        if (names.Of(shape.WeightName) is not { Rows: { } rows } place) return whole;
        return whole.Take(rows) ?? throw new QuantBuildException(
            DiagnosticIds.ConfigUnsupported,
            $"The weight {place.Name} is quantized already, and holds several linears, of which {shape.Name} does not begin and end with a block that shares a scale: taking it apart would need rounding again. " +
            "Take the model as it was before it was quantized.");
    }

    /// <summary>The linear that the checkpoint has: of several fused ones, all rows. The tools turn those that are stored as [inputs, outputs] before they quantize them.</summary>
    private LinearShape Whole(LinearShape shape) => names.Of(shape.WeightName).Rows is { } rows ? shape with { Outputs = rows.Total } : shape;

    private Func<QuantizedLinear> Linear(LinearShape part, QuantizationSpec spec, Action<CheckpointTensor> found)
    {
        TensorPlace place = names.Of(part.WeightName);
        string name = place.Name;
        if (place.Expert is not null && quantization.Format != CheckpointFormat.Mxfp4)
        {
            throw new QuantBuildException(
                DiagnosticIds.ConfigUnsupported, $"The weight {name} holds all experts of a layer, and is quantized already in a form that is not read. Take the model as it was before it was quantized.");
        }

        LinearShape shape = Whole(part);
        if (name.EndsWith(".weight", StringComparison.Ordinal)) name = name.Substring(0, name.Length - ".weight".Length);
        CheckpointLinear linear = new(name, shape, tensors, found);
        return (quantization.Format, LinearFormats.Of(spec, shape)) switch
        {
            (CheckpointFormat.Gptq, IntAffineFormat format) => GptqLinear.Find(linear, format, quantization.ZerosLessOne),
            (CheckpointFormat.Awq, IntAffineFormat format) => AwqLinear.Find(linear, format),
            (CheckpointFormat.BitsAndBytes, Codebook4Format format) => BitsAndBytesLinear.Find(linear, format),
            (CheckpointFormat.Mxfp4, Codebook4Format format) => Mxfp4.Find(linear, format, place.Expert ?? new ExpertPart(0, 1)),
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
