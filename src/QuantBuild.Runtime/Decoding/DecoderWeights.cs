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
        FinalNorm = config.FinalNorm ? Norm(DecoderConfig.FinalNormName, config.HiddenSize, config.NormBias) : null;
        if (config.EmbeddingWidth is { } width)
        {
            InputProjection = Float(DecoderConfig.InputProjectionName, config.HiddenSize, width);
            OutputProjection = Float(DecoderConfig.OutputProjectionName, width, config.HiddenSize);
        }

        Positions = config.LearnedPositions ? Float(DecoderConfig.PositionsName, config.ContextLength, config.HiddenSize) : null;
        EmbeddingNorm = config.EmbeddingNorm ? Norm(DecoderConfig.EmbeddingNormName, config.HiddenSize, config.NormBias) : null;
        Layers = [.. Enumerable.Range(0, config.Layers).Select(Layer)];
    }

    /// <summary>[vocabulary, embedding].</summary>
    public WeightMatrix Embedding { get; }

    /// <summary>[vocabulary, embedding].</summary>
    public WeightMatrix Head { get; }

    /// <summary>The last norm, where there is one.</summary>
    public NormVectors? FinalNorm { get; }

    /// <summary>[hidden, embedding], where embedding and residual stream have different widths.</summary>
    public WeightMatrix? InputProjection { get; }

    /// <summary>[embedding, hidden], likewise.</summary>
    public WeightMatrix? OutputProjection { get; }

    /// <summary>The learned vectors of positions, [context, hidden], where there are any.</summary>
    public WeightMatrix? Positions { get; }

    /// <summary>The norm of a token's embedding, where there is one.</summary>
    public NormVectors? EmbeddingNorm { get; }

    public LayerWeights[] Layers { get; }

    private LayerWeights Layer(int layer)
    {
        DecoderConfig config = artifact.Config;
        Dictionary<string, LinearShape> linears = config.Linears(layer).ToDictionary(linear => linear.Name, StringComparer.Ordinal);
        orders.Clear();
        string prefix = DecoderConfig.LayerPrefix(layer);
        WeightMatrix Find(string name) => Linear(linears[prefix + name]);
        NormVectors? Have(bool there, string name) => there ? Norm(name, config.HiddenSize, config.NormBias) : null;
        NormVectors? HaveOf(string name, int heads) => config.QueryKeyNorm == QueryKeyNorm.None ? null : Norm(name, config.QueryKeyNormWidth(heads), false);
        MlpWeights Mlp(string name) => new(config.GatedMlp ? Find(name + "gate_proj") : null, Find(name + "up_proj"), Find(name + "down_proj"));
        return new LayerWeights(Find("self_attn.q_proj"), Find("self_attn.k_proj"), Find("self_attn.v_proj"), Find("self_attn.o_proj"))
        {
            AttentionNorm = Have(config.PreNorms, DecoderConfig.AttentionNormName(layer)),
            QueryNorm = HaveOf(DecoderConfig.QueryNormName(layer), config.Heads),
            KeyNorm = HaveOf(DecoderConfig.KeyNormName(layer), config.KvHeads),
            AttentionPostNorm = Have(config.PostNorms, DecoderConfig.AttentionPostNormName(layer)),
            MlpNorm = Have(config.HasMlpNorm, DecoderConfig.MlpNormName(layer)),
            MlpPostNorm = Have(config.PostNorms, DecoderConfig.MlpPostNormName(layer)),
            Sinks = config.AttentionSinks ? Vector(DecoderConfig.SinksName(layer), config.Heads) : null,
            Router = config.HasExperts(layer) ? Router(layer) : null,
            SharedGate = config.HasExperts(layer) && config.SharedExpertGate ? Float(DecoderConfig.SharedGateName(layer), 1, config.HiddenSize) : null,
            Mlps = [.. config.Mlps(layer).Select(mlp => Mlp(mlp.Name))],
        };
    }

    private WeightMatrix Router(int layer)
    {
        string name = DecoderConfig.RouterName(layer);
        WeightMatrix router = Float(name, artifact.Config.Experts, artifact.Config.HiddenSize);
        if (artifact.Config.RouterBias) router.Bias = Vector(DecoderConfig.BiasName(name), artifact.Config.Experts);
        return router;
    }

    private WeightMatrix Linear(LinearShape linear)
    {
        WeightMatrix weight = artifact.Manifest.Layers.GetValueOrDefault(linear.Name) is { } format
            ? format.Open(linear, Pointer)
            : Float(linear.WeightName, linear.Outputs, linear.Inputs);
        if (linear.HasBias) weight.Bias = Vector(linear.BiasName, linear.Outputs);
        return weight;
    }

    private NormVectors Norm(string name, int width, bool bias)
    {
        float[] weight = Vector(name, width);
        for (int i = 0; i < width; i++) weight[i] += artifact.Config.NormOffset;
        return new NormVectors(weight, bias ? Vector(DecoderConfig.BiasName(name), width) : null);
    }

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

/// <summary>The weights of one decoder layer. What a family does not have is <see langword="null"/>.</summary>
internal sealed record LayerWeights(WeightMatrix Query, WeightMatrix Key, WeightMatrix Value, WeightMatrix Output)
{
    /// <summary>Before attention.</summary>
    public NormVectors? AttentionNorm { get; init; }

    /// <summary>Of queries: [headDim] or [heads * headDim].</summary>
    public NormVectors? QueryNorm { get; init; }

    /// <summary>Of keys: [headDim] or [kvHeads * headDim].</summary>
    public NormVectors? KeyNorm { get; init; }

    /// <summary>Behind attention.</summary>
    public NormVectors? AttentionPostNorm { get; init; }

    /// <summary>Before the MLP.</summary>
    public NormVectors? MlpNorm { get; init; }

    /// <summary>Behind the MLP.</summary>
    public NormVectors? MlpPostNorm { get; init; }

    /// <summary>The scores of query heads beside those of the tokens, [heads].</summary>
    public float[]? Sinks { get; init; }

    /// <summary>Gives each expert's score, [experts, hidden].</summary>
    public WeightMatrix? Router { get; init; }

    /// <summary>Gives the share of the MLP that sees every token beside the experts, [1, hidden], where it has one.</summary>
    public WeightMatrix? SharedGate { get; init; }

    /// <summary>The MLP; or the experts, and behind them the one that sees every token.</summary>
    public required MlpWeights[] Mlps { get; init; }
}

/// <summary>The weights of an MLP.</summary>
internal sealed record MlpWeights(WeightMatrix? Gate, WeightMatrix Up, WeightMatrix Down);

/// <summary>The weights of a norm.</summary>
internal sealed record NormVectors(float[] Weight, float[]? Bias);
