using System.Globalization;
using System.Xml.Linq;

namespace QuantBuild;

/// <summary>
/// Everything that the build and both forward passes need to know of a decoder, read from the model's <c>config.json</c>.
/// A weight is named and shaped as in the checkpoint: <c>[outputs, inputs]</c>.
/// </summary>
public sealed record DecoderConfig
{
    /// <summary>The architectures that are supported, as <c>config.json</c> names them.</summary>
    public static IReadOnlyList<string> SupportedArchitectures { get; } = ["LlamaForCausalLM"];

    /// <summary>The architecture, as <c>config.json</c> names it.</summary>
    public required string Architecture { get; init; }

    /// <summary>Width of the residual stream.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Width of the MLP between its projections.</summary>
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

    /// <summary>Epsilon of RMSNorm.</summary>
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
    public LinearShape Embedding => new(EmbeddingLinearName, HiddenSize, VocabularySize);

    /// <summary>The head; the embedding, where they are tied.</summary>
    public LinearShape Head => TieWordEmbeddings ? Embedding : new(HeadLinearName, HiddenSize, VocabularySize);

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
            new(prefix + "self_attn.q_proj", HiddenSize, queries),
            new(prefix + "self_attn.k_proj", HiddenSize, keys),
            new(prefix + "self_attn.v_proj", HiddenSize, keys),
            new(prefix + "self_attn.o_proj", queries, HiddenSize),
            new(prefix + "mlp.gate_proj", HiddenSize, IntermediateSize),
            new(prefix + "mlp.up_proj", HiddenSize, IntermediateSize),
            new(prefix + "mlp.down_proj", IntermediateSize, HiddenSize),
        ];
    }

    /// <summary>What the names of a layer's tensors begin with.</summary>
    /// <param name="layer">The layer, from 0.</param>
    public static string LayerPrefix(int layer) => "model.layers." + layer.ToString(CultureInfo.InvariantCulture) + ".";

    /// <summary>Name of the norm before a layer's attention.</summary>
    public static string AttentionNormName(int layer) => LayerPrefix(layer) + "input_layernorm.weight";

    /// <summary>Name of the norm before a layer's MLP.</summary>
    public static string MlpNormName(int layer) => LayerPrefix(layer) + "post_attention_layernorm.weight";

    /// <summary>Every tensor of the checkpoint with its shape, in the order of a forward pass.</summary>
    public IEnumerable<KeyValuePair<string, IReadOnlyList<int>>> Tensors()
    {
        yield return new(EmbeddingName, [VocabularySize, HiddenSize]);
        for (int layer = 0; layer < Layers; layer++)
        {
            yield return new(AttentionNormName(layer), [HiddenSize]);
            yield return new(MlpNormName(layer), [HiddenSize]);
            foreach (LinearShape linear in Linears(layer)) yield return new(linear.WeightName, [linear.Outputs, linear.Inputs]);
        }

        yield return new(FinalNormName, [HiddenSize]);
        if (!TieWordEmbeddings) yield return new(HeadName, [VocabularySize, HiddenSize]);
    }

    /// <summary>Number of weights.</summary>
    public long Parameters => Tensors().Sum(t => t.Value.Aggregate(1L, (product, size) => product * size));

    /// <summary>Checks that a group size divides the inputs of a linear.</summary>
    /// <param name="linear">The linear.</param>
    /// <param name="groupSize">The group size, or <see cref="QuantizationSpec.PerChannel"/>.</param>
    /// <exception cref="QuantBuildException">QB0007: names the layer and the sizes that would do for every layer.</exception>
    internal void CheckGroupSize(LinearShape linear, int groupSize)
    {
        if (groupSize == QuantizationSpec.PerChannel || linear.Inputs % groupSize == 0) return;
        IEnumerable<string> fitting = Enumerable.Range(1, 64).Select(i => 16 * i)
            .Where(size => Linears(0).All(l => l.Inputs % size == 0))
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
        Reader config = new(json, source);
        string architecture = config.Architecture();
        if (!SupportedArchitectures.Contains(architecture))
        {
            throw new QuantBuildException(
                DiagnosticIds.ArchitectureUnsupported,
                $"{source}: the architecture {architecture} is not supported. Supported: {string.Join(", ", SupportedArchitectures)}.");
        }

        config.Require("hidden_act", "silu");
        config.Require("attention_bias", "false");
        config.Require("mlp_bias", "false");
        config.RequireStandardRope();

        int hiddenSize = config.Positive("hidden_size");
        int heads = config.Positive("num_attention_heads");
        int kvHeads = config.PositiveOr("num_key_value_heads", heads);
        if (heads % kvHeads != 0)
        {
            throw config.Malformed($"num_attention_heads ({heads}) is not a multiple of num_key_value_heads ({kvHeads})");
        }

        int headDim = config.PositiveOr("head_dim", hiddenSize / heads);
        if ((long)heads * headDim > Reader.LargestSize)
        {
            throw config.Malformed($"num_attention_heads ({heads}) times head_dim ({headDim}) is more than {Reader.LargestSize}");
        }

        if (headDim < 2 || headDim % 2 != 0) throw config.Malformed($"head_dim ({headDim}) is not even, and rotary embedding turns pairs");

        DecoderConfig decoder = new()
        {
            Architecture = architecture,
            HiddenSize = hiddenSize,
            IntermediateSize = config.Positive("intermediate_size"),
            Layers = config.Positive("num_hidden_layers", Reader.MostLayers),
            Heads = heads,
            KvHeads = kvHeads,
            HeadDim = headDim,
            VocabularySize = config.Positive("vocab_size"),
            ContextLength = config.PositiveOr("max_position_embeddings", 2048),
            NormEpsilon = config.NumberOr("rms_norm_eps", 1e-6),
            RopeTheta = config.RopeTheta(10000),
            TieWordEmbeddings = config.BooleanOr("tie_word_embeddings", false),
            BosTokenId = config.TokenIds("bos_token_id").Select(id => (int?)id).FirstOrDefault(),
            EosTokenIds = config.TokenIds("eos_token_id"),
        };
        return decoder with { Quantization = config.Quantization(decoder) };
    }

    /// <summary>Typed access to the members of <c>config.json</c>, with errors that name the file, the member, and what was expected.</summary>
    private sealed class Reader
    {
        // A number beyond these is a damaged file. Within them the weights of all layers together can be counted in 64 bits.
        public const int LargestSize = 1 << 24;
        public const int MostLayers = 1 << 12;

        private readonly XElement root;
        private readonly string source;

        public Reader(string json, string source)
        {
            this.source = source;
            try
            {
                root = Json.Parse(json);
            }
            catch (FormatException e)
            {
                throw new QuantBuildException(
                    DiagnosticIds.ConfigMalformed,
                    $"{source} is not valid JSON: {e.Message} Copy the file again from where the model came from.", e);
            }

            if (root.Kind() != "object") throw Malformed($"the top level is a JSON {root.Kind()}, expected an object");
        }

        public QuantBuildException Malformed(string what) => new(
            DiagnosticIds.ConfigMalformed, $"{source}: {what}. Correct the file, or copy it again from where the model came from.");

        public string Architecture()
        {
            if (root.Member("architectures") is not { } list || list.Kind() != "array" || list.Elements().FirstOrDefault() is not { } first)
            {
                throw Malformed("\"architectures\" is missing, expected a list such as [\"LlamaForCausalLM\"]");
            }

            return first.Value;
        }

        public int Positive(string name, int most = LargestSize) =>
            root.Member(name) is { } value ? Integer(name, value, most) : throw Malformed($"\"{name}\" is missing, expected a positive whole number");

        public int PositiveOr(string name, int standard) => root.Member(name) is { } value ? Integer(name, value, LargestSize) : standard;

        public double NumberOr(string name, double standard) => root.Member(name) is { } value ? Number(name, value) : standard;

        /// <summary>The base of the rotary frequencies: newer files have it among the rotary parameters, older ones at the top.</summary>
        public double RopeTheta(double standard) =>
            root.Member("rope_parameters")?.Member("rope_theta") is { } value ? Number("rope_theta", value) : NumberOr("rope_theta", standard);

        public bool BooleanOr(string name, bool standard)
        {
            if (root.Member(name) is not { } value) return standard;
            if (value.Kind() == "boolean" && bool.TryParse(value.Value, out bool result)) return result;
            throw Malformed($"\"{name}\" is {Shown(value)}, expected true or false");
        }

        /// <summary>A token id, or a list of them, or none.</summary>
        public IReadOnlyList<int> TokenIds(string name)
        {
            if (root.Member(name) is not { } value) return [];
            IEnumerable<XElement> items = value.Kind() == "array" ? value.Elements() : [value];
            return [.. items.Select(item =>
                item.Kind() == "number" && int.TryParse(item.Value, NumberStyles.None, CultureInfo.InvariantCulture, out int id)
                    ? id
                    : throw Malformed($"\"{name}\" is {Shown(item)}, expected a token id"))];
        }

        /// <summary>A member that, where it is present, must have the one value that is supported.</summary>
        public void Require(string name, string supported)
        {
            if (root.Member(name) is { } value && value.Value != supported)
            {
                throw Unsupported($"\"{name}\" is {value.Value}, and only {supported} is supported");
            }
        }

        /// <summary>Rotary embedding without scaling, in the older form (<c>rope_scaling</c>) or the newer (<c>rope_parameters</c>).</summary>
        public void RequireStandardRope()
        {
            foreach (string name in new[] { "rope_scaling", "rope_parameters" })
            {
                if (root.Member(name) is not { } rope) continue;
                if (rope.Kind() != "object") throw Malformed($"\"{name}\" is a JSON {rope.Kind()}, expected an object");
                string kind = (rope.Member("rope_type") ?? rope.Member("type"))?.Value ?? "default";
                if (kind != "default") throw Unsupported($"\"{name}\" asks for the rotary scaling {kind}, and only none is supported");
            }
        }

        /// <summary>How the weights are quantized already, where they are.</summary>
        public CheckpointQuantization? Quantization(DecoderConfig decoder) =>
            root.Member("quantization_config") is { } quantization ? CheckpointQuantization.Read(quantization, decoder, Malformed, Unsupported) : null;

        private QuantBuildException Unsupported(string what) => new(
            DiagnosticIds.ConfigUnsupported, $"{source}: {what}. Choose a model without it.");

        private int Integer(string name, XElement value, int most)
        {
            if (value.Kind() == "number" && int.TryParse(value.Value, NumberStyles.None, CultureInfo.InvariantCulture, out int number)
                && number > 0 && number <= most)
            {
                return number;
            }

            throw Malformed($"\"{name}\" is {Shown(value)}, expected a whole number from 1 to {most}");
        }

        private double Number(string name, XElement value)
        {
            if (value.Kind() == "number" && double.TryParse(value.Value, NumberStyles.Float, CultureInfo.InvariantCulture, out double number)
                && number > 0 && !double.IsInfinity(number))
            {
                return number;
            }

            throw Malformed($"\"{name}\" is {Shown(value)}, expected a positive number");
        }

        private static string Shown(XElement value) => value.Kind() switch
        {
            "string" => "\"" + value.Value + "\"",
            "object" or "array" => "a JSON " + value.Kind(),
            _ => value.Value,
        };
    }
}

/// <summary>A linear of a decoder layer: <c>y = W x</c> with <c>W [Outputs, Inputs]</c>.</summary>
/// <param name="Name">The module's path, such as <c>model.layers.0.self_attn.q_proj</c>.</param>
/// <param name="Inputs">Columns of the weight.</param>
/// <param name="Outputs">Rows of the weight.</param>
public sealed record LinearShape(string Name, int Inputs, int Outputs)
{
    /// <summary>The name of its weight.</summary>
    public string WeightName => Name + ".weight";
}
