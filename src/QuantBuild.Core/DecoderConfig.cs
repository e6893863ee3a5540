using System.Globalization;

namespace QuantBuild;

/// <summary>
/// Everything that the build and both forward passes need to know of a decoder, read from the model's <c>config.json</c>.
/// A weight is <c>[outputs, inputs]</c>, and named as in the checkpoints of Llama, whose decoder is what the defaults describe; <see cref="Names"/> says where a checkpoint has it.
/// </summary>
/// <remarks>Families differ in what this record says, and in nothing else: each is a mapping of its <c>config.json</c> to it, in the folder Families.</remarks>
public sealed record DecoderConfig
{
    /// <summary>The architectures that are supported, as <c>config.json</c> names them.</summary>
    public static IReadOnlyList<string> SupportedArchitectures { get; } = [.. DecoderFamily.All.Select(family => family.Architecture)];

    /// <summary>The architecture, as <c>config.json</c> names it.</summary>
    public required string Architecture { get; init; }

    /// <summary>Width of the residual stream.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Width of the MLP between its projections; in a layer with experts it is that of each, unless <see cref="ExpertSize"/> says another.</summary>
    public required int IntermediateSize { get; init; }

    /// <summary>Number of decoder layers.</summary>
    public required int Layers { get; init; }

    /// <summary>Query heads.</summary>
    public required int Heads { get; init; }

    /// <summary>Key and value heads; divides <see cref="Heads"/>.</summary>
    public required int KvHeads { get; init; }

    /// <summary>Width of one head.</summary>
    public required int HeadDim { get; init; }

    /// <summary>Rows of the embedding.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>The longest sequence, in tokens.</summary>
    public required int ContextLength { get; init; }

    /// <summary>
    /// Tokens that a text may have where nobody says how many: <see cref="ContextLength"/>, or of LongRoPE the original context, whose texts a model reads best with the factors for them.
    /// </summary>
    public int UsualContext => RopeScaling is { Kind: RopeScalingKind.LongRope, OriginalContext: int original } ? Math.Min(ContextLength, original) : ContextLength;

    /// <summary>Epsilon of the norms.</summary>
    public required double NormEpsilon { get; init; }

    /// <summary>Base of the rotary embedding's frequencies.</summary>
    public required double RopeTheta { get; init; }

    /// <summary>Whether the head shares the embedding's weight.</summary>
    public required bool TieWordEmbeddings { get; init; }

    /// <summary>Token that begins a text, if the model has one.</summary>
    public int? BosTokenId { get; init; }

    /// <summary>Tokens that end a text.</summary>
    public IReadOnlyList<int> EosTokenIds { get; init; } = [];

    /// <summary>How the checkpoint's weights are quantized already, where they are.</summary>
    public CheckpointQuantization? Quantization { get; init; }

    /// <summary>What the norms compute.</summary>
    public NormKind Norm { get; init; }

    /// <summary>What is added to the weight of a norm: 1 where the checkpoint holds how far it is from that.</summary>
    public float NormOffset { get; init; }

    /// <summary>Whether norms have a bias.</summary>
    public bool NormBias { get; init; }

    /// <summary>Whether attention and MLP each read the residual stream through a norm.</summary>
    public bool PreNorms { get; init; } = true;

    /// <summary>Whether what attention and MLP give goes through a norm before it is added to the residual stream.</summary>
    public bool PostNorms { get; init; }

    /// <summary>With <see cref="PostNorms"/>: whether they are norms of the residual stream with that added to it (Vaswani et al., 2017), and not of what is added.</summary>
    public bool SumNorms { get; init; }

    /// <summary>Whether there is a norm between the last layer and the head.</summary>
    public bool FinalNorm { get; init; } = true;

    /// <summary>Width of a token's embedding, where it is another than that of the residual stream: a linear is between, and another one before the head.</summary>
    public int? EmbeddingWidth { get; init; }

    /// <summary>Whether the MLP reads the residual stream as it is before attention, and both are added to it.</summary>
    public bool ParallelResidual { get; init; }

    /// <summary>With <see cref="ParallelResidual"/>: whether the MLP reads what attention reads, through one norm.</summary>
    public bool SharedNorm { get; init; }

    /// <summary>What queries and keys go through before they are turned.</summary>
    public QueryKeyNorm QueryKeyNorm { get; init; }

    /// <summary>Whether q, k and v have a bias.</summary>
    public bool AttentionBias { get; init; }

    /// <summary>Whether o has a bias.</summary>
    public bool OutputBias { get; init; }

    /// <summary>Whether the linears of the MLP have a bias.</summary>
    public bool MlpBias { get; init; }

    /// <summary>Whether the head has a bias, where it is not tied.</summary>
    public bool HeadBias { get; init; }

    /// <summary>The activation of the MLP.</summary>
    public ActivationKind Activation { get; init; }

    /// <summary>Whether the MLP is <c>down(activation(gate x) * up x)</c>; else it is <c>down(activation(up x))</c>.</summary>
    public bool GatedMlp { get; init; } = true;

    /// <summary>What the gate is capped at, and up at both ends, before one is added to it: <c>down(activation(min(gate x, c)) * (clamp(up x, -c, c) + 1))</c>; <see langword="null"/> where it is not so.</summary>
    public double? GateLimit { get; init; }

    /// <summary>Experts of a layer that has them, each an MLP; 0 where no layer has.</summary>
    public int Experts { get; init; }

    /// <summary>For each layer, whether it has experts and not one MLP; empty where all do, if there are experts.</summary>
    public IReadOnlyList<bool> ExpertLayers { get; init; } = [];

    /// <summary>Width of an expert between its projections, where it is not <see cref="IntermediateSize"/>.</summary>
    public int? ExpertSize { get; init; }

    /// <summary>Width of the MLP that sees every token beside a layer's experts; 0 where there is none.</summary>
    public int SharedExpertSize { get; init; }

    /// <summary>Whether what that one gives for a token is multiplied by <c>sigmoid(g x)</c>, with x as it reads it.</summary>
    public bool SharedExpertGate { get; init; }

    /// <summary>Experts that see a token: those whose router gives it the highest probabilities.</summary>
    public int ExpertsPerToken { get; init; }

    /// <summary>Whether the probabilities of a token's experts are divided by their sum.</summary>
    public bool NormalizesExperts { get; init; }

    /// <summary>Whether the router's scores have a bias.</summary>
    public bool RouterBias { get; init; }

    /// <summary>How many dimensions of a head are turned by its position, the first ones; <see langword="null"/> for all.</summary>
    public int? RotaryDim { get; init; }

    /// <summary>Whether dimension 2i is turned with 2i + 1; else i with i + half of them.</summary>
    public bool RopeInterleaved { get; init; }

    /// <summary>How the frequencies of the rotary embedding were changed, if they were.</summary>
    public RopeScaling? RopeScaling { get; init; }

    /// <summary>Base of the rotary frequencies of layers with a sliding window, unscaled, where it is another.</summary>
    public double? LocalRopeTheta { get; init; }

    /// <summary>For each layer, whether it turns queries and keys by their position; empty where all do.</summary>
    public IReadOnlyList<bool> RotaryLayers { get; init; } = [];

    /// <summary>Whether a learned vector for its position is added to each token's embedding, and nothing is turned.</summary>
    public bool LearnedPositions { get; init; }

    /// <summary>
    /// What the score of a key falls by for each token that it lies before the query, one number for each query head, where positions are told so (Press et al., 2022: ALiBi); then nothing is turned. Empty without.
    /// </summary>
    public IReadOnlyList<double> AlibiSlopes { get; init; } = [];

    /// <summary>How many tokens a token sees in a layer with a sliding window, itself among them; <see langword="null"/> where no layer has one.</summary>
    public int? SlidingWindow { get; init; }

    /// <summary>For each layer, whether it has the sliding window; empty where all have.</summary>
    public IReadOnlyList<bool> SlidingLayers { get; init; } = [];

    /// <summary>What scores are multiplied by; <see langword="null"/> for <c>1 / sqrt(HeadDim)</c>.</summary>
    public double? AttentionScale { get; init; }

    /// <summary>The cap c of scores, <c>c tanh(s / c)</c>, where they have one.</summary>
    public double? ScoreCap { get; init; }

    /// <summary>Whether each query head has a learned score beside those of the tokens, which takes its part of the weights and gives nothing (Xiao et al., 2023, arXiv:2309.17453).</summary>
    public bool AttentionSinks { get; init; }

    /// <summary>The cap of logits, likewise.</summary>
    public double? LogitCap { get; init; }

    /// <summary>What a token's embedding is multiplied by.</summary>
    public double EmbeddingScale { get; init; } = 1;

    /// <summary>Whether a token's embedding goes through a norm of its own.</summary>
    public bool EmbeddingNorm { get; init; }

    /// <summary>What is multiplied with everything that is added to the residual stream.</summary>
    public double ResidualScale { get; init; } = 1;

    /// <summary>What logits are multiplied by.</summary>
    public double LogitScale { get; init; } = 1;

    /// <summary>Where a checkpoint holds the weights.</summary>
    public WeightNames Names { get; init; } = new();

    /// <summary>Name of the learned vectors of positions.</summary>
    public const string PositionsName = "model.embed_positions.weight";

    /// <summary>Name of the linear between embedding and residual stream, [hidden, embedding], where they have different widths.</summary>
    public const string InputProjectionName = "model.project_in.weight";

    /// <summary>Name of the linear between residual stream and head, [embedding, hidden], likewise.</summary>
    public const string OutputProjectionName = "model.project_out.weight";

    /// <summary>What the head reads, and the embedding gives.</summary>
    public int EmbeddingSize => EmbeddingWidth ?? HiddenSize;

    /// <summary>Name of the norm of a token's embedding.</summary>
    public const string EmbeddingNormName = "model.embed_norm.weight";

    /// <summary>Whether there is a norm of the MLP's own before it.</summary>
    public bool HasMlpNorm => PreNorms && !SharedNorm;

    /// <summary>What the scores of attention are multiplied by.</summary>
    public float ScoreScale => (float)(AttentionScale ?? 1 / Math.Sqrt(HeadDim));

    /// <summary>How many dimensions of a head are turned by its position.</summary>
    public int TurnedDimensions => RotaryDim ?? HeadDim;

    /// <summary>Whether a layer has experts.</summary>
    public bool HasExperts(int layer) => Experts > 0 && (ExpertLayers.Count == 0 || ExpertLayers[layer]);

    /// <summary>The MLPs of a layer, by what their names begin with in it, and their widths: the one; or the experts, and behind them the one that sees every token.</summary>
    public IReadOnlyList<(string Name, int Width)> Mlps(int layer)
    {
        if (!HasExperts(layer)) return [("mlp.", IntermediateSize)];
        IEnumerable<(string Name, int Width)> experts = Enumerable.Range(0, Experts).Select(expert => ("mlp.experts." + expert.ToString(CultureInfo.InvariantCulture) + ".", ExpertSize ?? IntermediateSize));
        return [.. experts, .. SharedExpertSize > 0 ? [("mlp.shared_expert.", SharedExpertSize)] : Array.Empty<(string, int)>()];
    }

    /// <summary>Which of the MLPs of a layer sees every token; <see langword="null"/> where each token has its experts alone.</summary>
    public int? EveryTokenMlp(int layer) => !HasExperts(layer) ? 0 : SharedExpertSize > 0 ? Experts : null;

    /// <summary>The widths that MLPs have.</summary>
    public IReadOnlyList<int> MlpWidths => [.. Enumerable.Range(0, Layers).GroupBy(HasExperts).SelectMany(alike => Mlps(alike.First())).Select(mlp => mlp.Width).Distinct()];

    /// <summary>How many tokens a token sees in a layer; <see langword="null"/> for all before it.</summary>
    public int? WindowOf(int layer) => SlidingLayers.Count == 0 || SlidingLayers[layer] ? SlidingWindow : null;

    /// <summary>Whether there are layers that turn queries and keys by their position.</summary>
    public bool HasRotary => !LearnedPositions && AlibiSlopes.Count == 0;

    /// <summary>Whether a layer turns queries and keys by their position.</summary>
    public bool IsRotary(int layer) => HasRotary && (RotaryLayers.Count == 0 || RotaryLayers[layer]);

    /// <summary>Whether a layer turns them by the frequencies of <see cref="LocalRopeTheta"/>.</summary>
    public bool IsLocal(int layer) => LocalRopeTheta is not null && WindowOf(layer) is not null;

    /// <summary>The frequencies of the rotary embedding, in radians a token, one for each pair of <see cref="TurnedDimensions"/>.</summary>
    /// <param name="local">Those of layers for which <see cref="IsLocal"/> holds.</param>
    /// <param name="context">Tokens that a text may have: LongRoPE has other ones beyond the original context.</param>
    public double[] RotaryFrequencies(bool local, int context)
    {
        double theta = local ? LocalRopeTheta!.Value : RopeTheta;
        double[] frequencies = [.. Enumerable.Range(0, TurnedDimensions / 2).Select(i => Math.Pow(theta, -2.0 * i / TurnedDimensions))];
        return local || RopeScaling is null ? frequencies : RopeScaling.Apply(frequencies, theta, context);
    }

    /// <summary>Whether texts of up to <paramref name="context"/> tokens are turned by LongRoPE's factors for long ones.</summary>
    public bool HasLongFactors(int context) => RopeScaling?.IsLong(context) == true;

    /// <summary>What cosine and sine are multiplied by.</summary>
    /// <param name="local">Those of layers for which <see cref="IsLocal"/> holds.</param>
    /// <param name="context">Tokens that a text may have.</param>
    public double RotaryScale(bool local, int context) => local || RopeScaling is null ? 1 : RopeScaling.AttentionFactorFor(context);

    /// <summary>Name of the embedding's weight.</summary>
    public const string EmbeddingName = EmbeddingLinearName + ".weight";

    /// <summary>Name of the last norm's weight.</summary>
    public const string FinalNormName = "model.norm.weight";

    /// <summary>Name of the head's weight, where it is not tied.</summary>
    public const string HeadName = HeadLinearName + ".weight";

    /// <summary>Name of the embedding, as a linear with a row for each token; of the head too, where they are tied.</summary>
    public const string EmbeddingLinearName = "model.embed_tokens";

    /// <summary>Name of the head, where it is not tied.</summary>
    public const string HeadLinearName = "lm_head";

    /// <summary>Whether a linear is the head or the embedding, which are quantized only on request.</summary>
    internal static bool IsHeadOrEmbedding(string name) => name is HeadLinearName or EmbeddingLinearName;

    /// <summary>The embedding, as a linear with a row for each token.</summary>
    public LinearShape Embedding => new(EmbeddingLinearName, EmbeddingSize, VocabularySize);

    /// <summary>The head; the embedding, where they are tied.</summary>
    public LinearShape Head => TieWordEmbeddings ? Embedding : new(HeadLinearName, EmbeddingSize, VocabularySize, HeadBias);

    /// <summary>Every linear that can be quantized, in the order of a forward pass: those of the decoder layers, and embedding and head on request.</summary>
    public IEnumerable<LinearShape> QuantizableLinears()
    {
        yield return Embedding;
        foreach (LinearShape linear in Enumerable.Range(0, Layers).SelectMany(Linears)) yield return linear;
        if (!TieWordEmbeddings) yield return Head;
    }

    /// <summary>The linears of a decoder layer in the order in which a forward pass needs them.</summary>
    /// <param name="layer">The layer, from 0.</param>
    public IReadOnlyList<LinearShape> Linears(int layer)
    {
        string prefix = LayerPrefix(layer);
        int queries = Heads * HeadDim;
        int keys = KvHeads * HeadDim;
        return
        [
            new(prefix + "self_attn.q_proj", HiddenSize, queries, AttentionBias),
            new(prefix + "self_attn.k_proj", HiddenSize, keys, AttentionBias),
            new(prefix + "self_attn.v_proj", HiddenSize, keys, AttentionBias),
            new(prefix + "self_attn.o_proj", queries, HiddenSize, OutputBias),
            .. Mlps(layer).SelectMany(mlp => Mlp(prefix + mlp.Name, mlp.Width)),
        ];
    }

    private IEnumerable<LinearShape> Mlp(string prefix, int width)
    {
        if (GatedMlp) yield return new(prefix + "gate_proj", HiddenSize, width, MlpBias);
        yield return new(prefix + "up_proj", HiddenSize, width, MlpBias);
        yield return new(prefix + "down_proj", width, HiddenSize, MlpBias);
    }

    /// <summary>What the names of a layer's tensors begin with.</summary>
    /// <param name="layer">The layer, from 0.</param>
    public static string LayerPrefix(int layer) => "model.layers." + layer.ToString(CultureInfo.InvariantCulture) + ".";

    /// <summary>Name of the norm before a layer's attention.</summary>
    public static string AttentionNormName(int layer) => LayerPrefix(layer) + "input_layernorm.weight";

    /// <summary>Name of the norm before a layer's MLP.</summary>
    public static string MlpNormName(int layer) => LayerPrefix(layer) + "post_attention_layernorm.weight";

    /// <summary>Name of the norm behind a layer's attention.</summary>
    public static string AttentionPostNormName(int layer) => LayerPrefix(layer) + "self_attn.post_norm.weight";

    /// <summary>Name of the norm behind a layer's MLP.</summary>
    public static string MlpPostNormName(int layer) => LayerPrefix(layer) + "mlp.post_norm.weight";

    /// <summary>Name of the norm of a layer's queries.</summary>
    public static string QueryNormName(int layer) => LayerPrefix(layer) + "self_attn.q_norm.weight";

    /// <summary>Name of the norm of a layer's keys.</summary>
    public static string KeyNormName(int layer) => LayerPrefix(layer) + "self_attn.k_norm.weight";

    /// <summary>Name of the scores that a layer's query heads have beside those of the tokens, [heads].</summary>
    public static string SinksName(int layer) => LayerPrefix(layer) + "self_attn.sinks";

    /// <summary>Name of what gives each expert's score for a token, [experts, hidden].</summary>
    public static string RouterName(int layer) => LayerPrefix(layer) + "mlp.router.weight";

    /// <summary>Name of what gives the share of the MLP that sees every token, [1, hidden].</summary>
    public static string SharedGateName(int layer) => LayerPrefix(layer) + "mlp.shared_expert_gate.weight";

    /// <summary>Name of the bias of a norm or a linear.</summary>
    /// <param name="weight">Name of its weight.</param>
    public static string BiasName(string weight) => weight.Substring(0, weight.LastIndexOf('.')) + ".bias";

    /// <summary>Every tensor with its shape, in the order of a forward pass.</summary>
    public IEnumerable<KeyValuePair<string, IReadOnlyList<int>>> Tensors()
    {
        yield return new(EmbeddingName, [VocabularySize, EmbeddingSize]);
        if (EmbeddingWidth is not null) yield return new(InputProjectionName, [HiddenSize, EmbeddingSize]);
        if (LearnedPositions) yield return new(PositionsName, [ContextLength, HiddenSize]);
        foreach ((string name, int width) in EmbeddingNorm ? WithBias(EmbeddingNormName, HiddenSize) : []) yield return new(name, [width]);
        for (int layer = 0; layer < Layers; layer++)
        {
            foreach ((string name, int width) in LayerNorms(layer)) yield return new(name, [width]);
            if (AttentionSinks) yield return new(SinksName(layer), [Heads]);
            if (HasExperts(layer))
            {
                yield return new(RouterName(layer), [Experts, HiddenSize]);
                if (RouterBias) yield return new(BiasName(RouterName(layer)), [Experts]);
                if (SharedExpertGate) yield return new(SharedGateName(layer), [1, HiddenSize]);
            }

            foreach (LinearShape linear in Linears(layer))
            {
                yield return new(linear.WeightName, [linear.Outputs, linear.Inputs]);
                if (linear.HasBias) yield return new(linear.BiasName, [linear.Outputs]);
            }
        }

        foreach ((string name, int width) in FinalNorm ? WithBias(FinalNormName, HiddenSize) : []) yield return new(name, [width]);
        if (EmbeddingWidth is not null) yield return new(OutputProjectionName, [EmbeddingSize, HiddenSize]);
        if (!TieWordEmbeddings) yield return new(HeadName, [VocabularySize, EmbeddingSize]);
        if (Head.HasBias) yield return new(Head.BiasName, [VocabularySize]);
    }

    /// <summary>The weights and biases of a layer's norms, with their widths.</summary>
    /// <param name="layer">The layer, from 0.</param>
    public IEnumerable<(string Name, int Width)> LayerNorms(int layer)
    {
        IEnumerable<(string Name, int Width)> norms = [];
        if (PreNorms) norms = norms.Concat(WithBias(AttentionNormName(layer), HiddenSize));
        if (HasMlpNorm) norms = norms.Concat(WithBias(MlpNormName(layer), HiddenSize));
        if (PostNorms) norms = norms.Concat(WithBias(AttentionPostNormName(layer), HiddenSize)).Concat(WithBias(MlpPostNormName(layer), HiddenSize));
        if (QueryKeyNorm != QueryKeyNorm.None)
        {
            norms = norms.Concat([(QueryNormName(layer), QueryKeyNormWidth(Heads)), (KeyNormName(layer), QueryKeyNormWidth(KvHeads))]);
        }

        return norms;
    }

    /// <summary>How many weights the norm of queries or keys has.</summary>
    /// <param name="heads">Their heads.</param>
    public int QueryKeyNormWidth(int heads) => QueryKeyNorm == QueryKeyNorm.Head ? HeadDim : heads * HeadDim;

    private IEnumerable<(string Name, int Width)> WithBias(string norm, int width) => NormBias ? [(norm, width), (BiasName(norm), width)] : [(norm, width)];

    /// <summary>Number of weights.</summary>
    public long Parameters => Tensors().Sum(t => t.Value.Aggregate(1L, (product, size) => product * size));

    /// <summary>Checks that a group size divides the inputs of a linear.</summary>
    /// <param name="linear">The linear.</param>
    /// <param name="groupSize">The group size, or <see cref="QuantizationSpec.PerChannel"/>.</param>
    /// <exception cref="QuantBuildException">QB0007: names the layer and the sizes that would do for every layer.</exception>
    internal void CheckGroupSize(LinearShape linear, int groupSize)
    {
        if (groupSize == QuantizationSpec.PerChannel || linear.Inputs % groupSize == 0) return;
        int[] inputs = [.. Enumerable.Range(0, Layers).SelectMany(Linears).Select(other => other.Inputs).Distinct()];
        IEnumerable<string> fitting = Enumerable.Range(1, 64).Select(i => 16 * i)
            .Where(size => inputs.All(count => count % size == 0))
            .Select(size => size.ToString(CultureInfo.InvariantCulture));
        throw new QuantBuildException(
            DiagnosticIds.GroupSizeDoesNotDivide,
            $"GroupSize=\"{groupSize}\" does not divide the {linear.Inputs} inputs of {linear.Name}: {linear.Inputs} = " +
            $"{linear.Inputs / groupSize} x {groupSize} + {linear.Inputs % groupSize}. " +
            $"Sizes that divide every layer of this model: {string.Join(", ", fitting.Append(nameof(QuantizationSpec.PerChannel)))}.");
    }

    /// <summary>Reads a model's <c>config.json</c>.</summary>
    /// <param name="json">The file's text.</param>
    /// <param name="source">What to call the file in errors: its path.</param>
    /// <exception cref="QuantBuildException">QB2003 malformed, QB2004 architecture not supported, QB2011 variation not supported.</exception>
    public static DecoderConfig Parse(string json, string source)
    {
        ConfigReader config = new(json, source);
        string architecture = config.Architecture();
        if (DecoderFamily.All.FirstOrDefault(family => family.Architecture == architecture) is { } family)
        {
            DecoderConfig decoder = family.Read(config);
            // Many sizes, each possible, can together be a damaged file.
            int width = decoder.ExpertSize ?? decoder.IntermediateSize;
            if ((double)decoder.Layers * decoder.Experts * decoder.HiddenSize * width > 1L << 58 || (long)decoder.Layers * decoder.Experts > 1 << 16)
            {
                throw config.Malformed($"{decoder.Layers} layers of {decoder.Experts} experts of {decoder.HiddenSize} x {width} are more than any model has");
            }

            if (decoder.RopeTheta <= 1 || decoder.LocalRopeTheta <= 1) throw config.Malformed("the base of the rotary frequencies is at most 1, expected a number above it");
            if (decoder.RopeScaling is { Kind: RopeScalingKind.LongRope, OriginalContext: < 2 }) throw config.Malformed("\"original_max_position_embeddings\" is 1, expected at least 2");
            return decoder with { Quantization = config.Quantization(decoder) };
        }

        throw new QuantBuildException(
            DiagnosticIds.ArchitectureUnsupported,
            $"{source}: the architecture {architecture} is not supported. Supported: {string.Join(", ", SupportedArchitectures)}.");
    }
}

/// <summary>What a norm computes.</summary>
public enum NormKind
{
    /// <summary><c>x / sqrt(mean(x^2) + epsilon) * weight</c> (Zhang and Sennrich, 2019).</summary>
    Rms,

    /// <summary><c>(x - mean(x)) / sqrt(variance(x) + epsilon) * weight + bias</c> (Ba et al., 2016).</summary>
    Layer,
}

/// <summary>What queries and keys go through before they are turned: a norm of the kind of the others (<see cref="DecoderConfig.Norm"/>), without a bias.</summary>
public enum QueryKeyNorm
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>Each head by itself, all with one weight.</summary>
    Head,

    /// <summary>All heads together, each number with its own weight.</summary>
    Width,

    /// <summary>Each head by itself, each with its own weight.</summary>
    EachHead,
}

/// <summary>The activation of an MLP.</summary>
public enum ActivationKind
{
    /// <summary><c>x sigmoid(x)</c>.</summary>
    Silu,

    /// <summary><c>x Phi(x)</c> with the cumulative normal distribution (Hendrycks and Gimpel, 2016).</summary>
    Gelu,

    /// <summary>Its approximation <c>x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))</c>.</summary>
    GeluTanh,

    /// <summary><c>max(x, 0)</c>.</summary>
    Relu,

    /// <summary><c>x sigmoid(1.702 x)</c> (Hendrycks and Gimpel, 2016).</summary>
    GeluSigmoid,

    /// <summary><c>max(x, 0)^2</c> (So et al., 2021).</summary>
    ReluSquared,
}
