using QuantBuild.Kernels;

namespace QuantBuild.Decoding;

/// <summary>The weights of a decoder: views of an artifact's memory map, and the norms as float32.</summary>
internal sealed class DecoderWeights
{
    private readonly Artifact artifact;

    // The orders of columns of the layer that is being opened.
    private readonly List<TensorEntry> orders = [];

    public DecoderWeights(Artifact artifact)
    {
        this.artifact = artifact;
        DecoderConfig config = artifact.Config;
        Embedding = Linear(config.Embedding);
        Head = config.TieWordEmbeddings ? Embedding : Linear(config.Head);
        FinalNorm = Vector(DecoderConfig.FinalNormName, config.HiddenSize);
        Layers = [.. Enumerable.Range(0, config.Layers).Select(Layer)];
    }

    /// <summary>[vocabulary, hidden].</summary>
    public WeightMatrix Embedding { get; }

    /// <summary>[vocabulary, hidden].</summary>
    public WeightMatrix Head { get; }

    /// <summary>[hidden].</summary>
    public float[] FinalNorm { get; }

    public LayerWeights[] Layers { get; }

    private LayerWeights Layer(int layer)
    {
        DecoderConfig config = artifact.Config;
        IReadOnlyList<LinearShape> linears = config.Linears(layer);
        orders.Clear();
        WeightMatrix Find(string name) => Linear(linears.Single(l => l.Name.EndsWith(name, StringComparison.Ordinal)));
        return new LayerWeights(
            Vector(DecoderConfig.AttentionNormName(layer), config.HiddenSize),
            Find("q_proj"),
            Find("k_proj"),
            Find("v_proj"),
            Find("o_proj"),
            Vector(DecoderConfig.MlpNormName(layer), config.HiddenSize),
            Find("gate_proj"),
            Find("up_proj"),
            Find("down_proj"));
    }

    private WeightMatrix Linear(LinearShape linear) => artifact.Manifest.Layers.GetValueOrDefault(linear.Name) is { } format
        ? format.Open(linear, Pointer)
        : Float(linear.WeightName, linear.Outputs, linear.Inputs);

    private WeightMatrix Float(string name, int outputs, int inputs)
    {
        IntPtr weight = Pointer(name);
        return artifact.File.Tensors[name].Type switch
        {
            ElementType.F32 => new FloatMatrix<F32Element>(outputs, inputs, weight),
            ElementType.F16 => new FloatMatrix<F16Element>(outputs, inputs, weight),
            _ => new FloatMatrix<BF16Element>(outputs, inputs, weight),
        };
    }

    private unsafe float[] Vector(string name, int length)
    {
        WeightMatrix row = Float(name, 1, length);
        float[] values = new float[row.PaddedInputs];
        fixed (float* target = values) row.ReadRows(0, 1, target);
        return values[..length];
    }

    private unsafe IntPtr Pointer(string name)
    {
        TensorEntry entry = artifact.File.Tensors[name];
        if (!name.EndsWith(IntAffine.OrderSuffix, StringComparison.Ordinal)) return (IntPtr)artifact.File.Pointer(entry);
        // Linears with one input mostly have one order, each its own copy of it: with one pointer for all, the input is put in order once.
        TensorEntry? same = orders.Find(other => artifact.File.Bytes(other).SequenceEqual(artifact.File.Bytes(entry)));
        if (same is null) orders.Add(entry);
        return (IntPtr)artifact.File.Pointer(same ?? entry);
    }
}

/// <summary>The weights of one decoder layer.</summary>
internal sealed record LayerWeights(
    float[] AttentionNorm,
    WeightMatrix Query,
    WeightMatrix Key,
    WeightMatrix Value,
    WeightMatrix Output,
    float[] MlpNorm,
    WeightMatrix Gate,
    WeightMatrix Up,
    WeightMatrix Down);
