using System.Globalization;
using System.Text.Json.Nodes;

namespace QuantBuild.Worker.Synthesis;

/// <summary>The sizes of a decoder of the Llama architecture.</summary>
/// <param name="Name">How the command line names it.</param>
/// <param name="Hidden">Width of the residual stream.</param>
/// <param name="Intermediate">Width of the MLP between its projections.</param>
/// <param name="Layers">Number of decoder layers.</param>
/// <param name="Heads">Query heads; divides <paramref name="Hidden"/>.</param>
/// <param name="KvHeads">Key and value heads; divides <paramref name="Heads"/>.</param>
/// <param name="Vocabulary">Rows of the embedding and of the head, which are apart.</param>
/// <param name="Context">The longest sequence, in tokens.</param>
/// <param name="RopeTheta">Base of the rotary embedding's frequencies.</param>
internal sealed record ModelShape(
    string Name, int Hidden, int Intermediate, int Layers, int Heads, int KvHeads, int Vocabulary, int Context, double RopeTheta = 10000)
{
    /// <summary>The shapes that have a name.</summary>
    public static IReadOnlyList<ModelShape> All { get; } =
    [
        new("tiny", 64, 192, 2, 4, 2, 512, 128),
        new("tinyllama-1.1b", 2048, 5632, 22, 32, 4, 32000, 2048),
        new("llama-2-7b", 4096, 11008, 32, 32, 32, 32000, 4096),
        new("llama-2-13b", 5120, 13824, 40, 40, 40, 32000, 4096),
        new("llama-3-8b", 4096, 14336, 32, 32, 8, 128256, 8192, 500000),
    ];

    /// <summary>The shape of a name.</summary>
    /// <exception cref="QuantBuildException">QB0006: there is none.</exception>
    public static ModelShape Find(string name) =>
        All.FirstOrDefault(shape => string.Equals(shape.Name, name, StringComparison.OrdinalIgnoreCase))
        ?? throw Invalid($"--shape {name} is not a shape. The shapes are {string.Join(", ", All.Select(shape => shape.Name))}. Choose one, and change its sizes with the other options");

    /// <summary>The error of an option.</summary>
    /// <param name="what">Which option, what was expected, and what to do.</param>
    public static QuantBuildException Invalid(FormattableString what) =>
        new(DiagnosticIds.MetadataInvalid, what.ToString(CultureInfo.InvariantCulture) + ".");

    /// <summary>The model's <c>config.json</c>.</summary>
    /// <param name="type">The type of the weights.</param>
    /// <param name="beginOfText">The tokenizer's token that begins a text, if it has one.</param>
    /// <exception cref="QuantBuildException">QB0006: the sizes do not fit each other.</exception>
    public string ConfigJson(ElementType type, int? beginOfText)
    {
        if (Hidden % Heads != 0) throw Invalid($"--heads {Heads} does not divide --hidden {Hidden}. Choose a number that does");
        if (Heads % KvHeads != 0) throw Invalid($"--kv-heads {KvHeads} does not divide --heads {Heads}. Choose a number that does");
        int headDim = Hidden / Heads;
        if (headDim % 2 != 0) throw Invalid($"--hidden {Hidden} over --heads {Heads} is {headDim}, and rotary embedding turns pairs. Choose sizes that give an even number");

        JsonObject config = new()
        {
            ["architectures"] = new JsonArray(DecoderConfig.SupportedArchitectures[0]),
            ["model_type"] = "llama",
            ["hidden_act"] = "silu",
            ["hidden_size"] = Hidden,
            ["intermediate_size"] = Intermediate,
            ["num_hidden_layers"] = Layers,
            ["num_attention_heads"] = Heads,
            ["num_key_value_heads"] = KvHeads,
            ["head_dim"] = headDim,
            ["vocab_size"] = Vocabulary,
            ["max_position_embeddings"] = Context,
            ["rms_norm_eps"] = 1e-5,
            ["rope_theta"] = RopeTheta,
            ["tie_word_embeddings"] = false,
            ["attention_bias"] = false,
            ["mlp_bias"] = false,
            ["torch_dtype"] = type switch { ElementType.BF16 => "bfloat16", ElementType.F16 => "float16", _ => "float32" },
        };
        // No token ends a text: random weights would draw it at random, and what is measured should be as long as was asked for.
        if (beginOfText is { } token) config["bos_token_id"] = token;
        return config.ToJsonString(new() { WriteIndented = true }) + "\n";
    }
}
