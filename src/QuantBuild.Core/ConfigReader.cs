using System.Globalization;
using System.Xml.Linq;

namespace QuantBuild;

/// <summary>Typed access to the members of <c>config.json</c>, with errors that name the file, the member, and what was expected.</summary>
internal sealed class ConfigReader
{
    // A number beyond these is a damaged file. Within them the weights of all layers together can be counted in 64 bits.
    public const int LargestSize = 1 << 24;
    public const int MostLayers = 1 << 12;
    public const int MostExperts = 1 << 10;

    private readonly XElement root;
    private readonly string source;
    private readonly Dictionary<string, string> renames = new(StringComparer.Ordinal);

    public ConfigReader(string json, string source)
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
        Find(name) is { } value ? Integer(name, value, most) : throw Malformed($"\"{name}\" is missing, expected a positive whole number");

    public int PositiveOr(string name, int standard) => Find(name) is { } value ? Integer(name, value, LargestSize) : standard;

    public double NumberOr(string name, double standard) => Find(name) is { } value ? Number(name, value) : standard;

    /// <summary>The base of the rotary frequencies: newer files have it among the rotary parameters, older ones at the top.</summary>
    public double RopeTheta(double standard) => RopeParameter("rope_theta") ?? NumberOr("rope_theta", standard);

    private double? RopeParameter(string name) =>
        Find("rope_parameters") is { } rope && (rope.Member("full_attention") ?? rope).Member(name) is { } value ? Number(name, value) : null;

    public bool BooleanOr(string name, bool standard)
    {
        if (Find(name) is not { } value) return standard;
        if (value.Kind() == "boolean" && bool.TryParse(value.Value, out bool result)) return result;
        throw Malformed($"\"{name}\" is {Shown(value)}, expected true or false");
    }

    /// <summary>A token id, or a list of them, or none.</summary>
    public IReadOnlyList<int> TokenIds(string name) => Numbers(name, "a token id");

    /// <summary>A whole number from 0 on, or a list of them, or none.</summary>
    /// <param name="name">The member.</param>
    /// <param name="what">What each of them is.</param>
    public IReadOnlyList<int> Numbers(string name, string what)
    {
        if (Find(name) is not { } value) return [];
        IEnumerable<XElement> items = value.Kind() == "array" ? value.Elements() : [value];
        return [.. items.Select(item =>
            item.Kind() == "number" && int.TryParse(item.Value, NumberStyles.None, CultureInfo.InvariantCulture, out int id)
                ? id
                : throw Malformed($"\"{name}\" is {Shown(item)}, expected {what}"))];
    }

    /// <summary>A member that, where it is present, must have the one value that is supported.</summary>
    public void Require(string name, string supported)
    {
        if (Find(name) is { } value && value.Value != supported)
        {
            throw Unsupported($"\"{name}\" is {value.Value}, and only {supported} is supported");
        }
    }

    /// <summary>The scaling of the rotary embedding, in the older form (<c>rope_scaling</c>) or the newer (<c>rope_parameters</c>); none for <c>default</c>, and for <c>mrope</c> in texts.</summary>
    /// <param name="context">Tokens of the model's context.</param>
    /// <param name="frequencies">How many frequencies there are.</param>
    public RopeScaling? RopeScaling(int context, int frequencies)
    {
        foreach (string name in new[] { "rope_scaling", "rope_parameters" })
        {
            if (Find(name) is not { } rope) continue;
            if (rope.Kind() != "object") throw Malformed($"\"{name}\" is a JSON {rope.Kind()}, expected an object");
            rope = rope.Member("full_attention") ?? rope;
            string kind = (rope.Member("rope_type") ?? rope.Member("type"))?.Value ?? "default";
            // Of a text's tokens time, height and width are one position.
            if (kind is "default" or "mrope") continue;
            if (rope.Member("llama_4_scaling_beta") is not null) throw Unsupported($"\"{name}\" has \"llama_4_scaling_beta\", which makes queries larger with their position, and that is not supported");
            double Required(string member) => rope.Member(member) is { } value ? Number(member, value) : throw Malformed($"\"{name}\" lacks \"{member}\", which the rotary scaling {kind} needs");
            double Or(string member, double standard) => rope.Member(member) is { } value ? Number(member, value) : standard;
            // Models of before the newer form have the original context at the top.
            int original = rope.Member("original_max_position_embeddings") is { } own ? Integer("original_max_position_embeddings", own, LargestSize)
                : PositiveOr("original_max_position_embeddings", context);
            return kind switch
            {
                "linear" => new RopeScaling(RopeScalingKind.Linear) { Factor = Required("factor") },
                "dynamic" => new RopeScaling(RopeScalingKind.Dynamic) { Factor = Required("factor") },
                "llama3" => new RopeScaling(RopeScalingKind.Llama3)
                {
                    Factor = Required("factor"), OriginalContext = original, LowFrequencyFactor = Required("low_freq_factor"), HighFrequencyFactor = Required("high_freq_factor"),
                },
                "yarn" => new RopeScaling(RopeScalingKind.Yarn)
                {
                    Factor = Required("factor"), OriginalContext = original, BetaFast = Or("beta_fast", 32), BetaSlow = Or("beta_slow", 1),
                    Truncates = rope.Member("truncate")?.Value != "false",
                    AttentionFactor = Or("attention_factor", YarnAttention(Required("factor"), Or("mscale", 0), Or("mscale_all_dim", 0))),
                },
                // Phi-3's first name for it was "su".
                "longrope" or "su" => new RopeScaling(RopeScalingKind.LongRope)
                {
                    OriginalContext = original, ShortFactors = Factors(rope, "short_factor", frequencies), LongFactors = Factors(rope, "long_factor", frequencies),
                    AttentionFactor = Or("short_mscale", LongRopeAttention(Or("attention_factor", 0), Or("factor", (double)context / original), original)),
                    LongAttentionFactor = Or("long_mscale", LongRopeAttention(Or("attention_factor", 0), Or("factor", (double)context / original), original)),
                },
                _ => throw Unsupported($"\"{name}\" asks for the rotary scaling {kind}, and only linear, dynamic, llama3, yarn and longrope are supported"),
            };
        }

        return null;
    }

    // What sharpens attention over a stretched context: 0.1 ln s + 1, or a ratio of two such numbers.
    private static double YarnAttention(double factor, double scale, double scaleOfAll)
    {
        double Of(double by) => factor <= 1 ? 1 : (0.1 * by * Math.Log(factor)) + 1;
        return scale > 0 && scaleOfAll > 0 ? Of(scale) / Of(scaleOfAll) : Of(1);
    }

    // The same for LongRoPE: sqrt(1 + ln s / ln of the original context), unless the file says it.
    private static double LongRopeAttention(double said, double factor, int original) =>
        said > 0 ? said : factor <= 1 ? 1 : Math.Sqrt(1 + (Math.Log(factor) / Math.Log(original)));

    private double[] Factors(XElement rope, string name, int count)
    {
        double[] factors = rope.Member(name) is { } list && list.Kind() == "array" ? [.. list.Elements().Select(item => Number(name, item))] : [];
        return factors.Length == count ? factors : throw Malformed($"\"{name}\" has {factors.Length} numbers, expected {count}: one for each frequency");
    }

    /// <summary>A list of numbers or truth values, true where one is not 0; empty where it is absent.</summary>
    public IReadOnlyList<bool> Flags(string name, int count)
    {
        if (Find(name) is not { } list) return [];
        bool[] flags = list.Kind() == "array" ? [.. list.Elements().Select(item => item.Value is not ("0" or "false"))] : [];
        return flags.Length == count ? flags : throw Malformed($"\"{name}\" has {flags.Length} entries, expected {count}: one for each layer");
    }

    /// <summary>Which layers have a sliding window: <c>layer_types</c> says it of each, else a rule of the family.</summary>
    /// <param name="layers">How many layers.</param>
    /// <param name="rule">Whether a layer has one, where the file does not say it.</param>
    public IReadOnlyList<bool> SlidingLayers(int layers, Func<int, bool> rule)
    {
        if (Find("layer_types") is not { } list) return [.. Enumerable.Range(0, layers).Select(rule)];
        bool[] flags = list.Kind() != "array" ? [] :
        [
            .. list.Elements().Select(item => item.Value switch
            {
                "sliding_attention" => true,
                "full_attention" => false,
                _ => throw Unsupported($"\"layer_types\" has {item.Value}, and only full_attention and sliding_attention are supported"),
            }),
        ];
        return flags.Length == layers ? flags : throw Malformed($"\"layer_types\" has {flags.Length} entries, expected {layers}: one for each layer");
    }

    /// <summary>The activation of the MLP.</summary>
    public ActivationKind Activation(string name, string standard) => (Find(name)?.Value ?? standard) switch
    {
        "silu" or "swish" => ActivationKind.Silu,
        "gelu" => ActivationKind.Gelu,
        "gelu_new" or "gelu_pytorch_tanh" or "gelu_fast" => ActivationKind.GeluTanh,
        "relu" => ActivationKind.Relu,
        "relu2" => ActivationKind.ReluSquared,
        string other => throw Unsupported($"\"{name}\" is {other}, and only silu, gelu, gelu_new, gelu_pytorch_tanh, relu and relu2 are supported"),
    };

    /// <summary>Which layers have one kind of attention, where the file counts them off: <c>[[["global", "local"], 6]]</c> is these two, six times.</summary>
    /// <param name="name">The member.</param>
    /// <param name="layers">How many layers.</param>
    /// <param name="standard">The kinds that follow one another where the file does not say it.</param>
    /// <param name="kind">The kind.</param>
    public IReadOnlyList<bool> RepeatedLayers(string name, int layers, string[] standard, string kind)
    {
        if (Find(name) is not { } list) return [.. Enumerable.Range(0, layers).Select(layer => standard[layer % standard.Length] == kind)];
        List<bool> flags = [];
        foreach (XElement part in list.Elements())
        {
            XElement[] items = [.. part.Elements()];
            if (items.Length != 2) throw Malformed($"\"{name}\" has an entry of {items.Length} items, expected the kinds of layers, and how often they follow");
            for (int count = Integer(name, items[1], MostLayers); count > 0 && flags.Count < layers; count--) flags.AddRange(items[0].Elements().Select(item => item.Value == kind));
        }

        return flags.Count == layers ? flags : throw Malformed($"\"{name}\" makes {flags.Count} layers, expected {layers}");
    }

    /// <summary>A text, or a number as it is written.</summary>
    public string TextOr(string name, string standard) => Find(name)?.Value ?? standard;

    /// <summary>Whether a member is there, and is not <c>null</c>.</summary>
    public bool Has(string name) => Find(name) is not null;

    /// <summary>A positive whole number; <see langword="null"/> where it is <c>null</c>, and the standard where it is absent.</summary>
    public int? OptionalSize(string name, int? standard) => IsNull(name) ? null : Find(name) is { } value ? Integer(name, value, LargestSize) : standard;

    /// <summary>The same for a positive number.</summary>
    public double? OptionalNumber(string name, double? standard) => IsNull(name) ? null : Find(name) is { } value ? Number(name, value) : standard;

    /// <summary>A whole number from 0 on.</summary>
    public int CountOr(string name, int standard) => Find(name) is not { } value ? standard : value.Value == "0" ? 0 : Integer(name, value, LargestSize);

    /// <summary>How many experts a layer has, and how many of them see a token.</summary>
    public (int Experts, int PerToken) Experts(string name, int standard, int perToken)
    {
        // Newer files have one name for it in all families.
        if (!Has(name) && Has("num_local_experts")) name = "num_local_experts";
        int experts = PositiveOr(name, standard), each = PositiveOr("num_experts_per_tok", perToken);
        if (experts > MostExperts) throw Malformed($"\"{name}\" is {experts}, expected at most {MostExperts}");
        return each <= experts ? (experts, each) : throw Malformed($"num_experts_per_tok ({each}) is more than {name} ({experts})");
    }

    /// <summary>Which layers have experts, where it is not all of them: those at every so many but for some that are named.</summary>
    public IReadOnlyList<bool> ExpertLayers(int layers)
    {
        int step = PositiveOr("decoder_sparse_step", 1);
        HashSet<int> dense = [.. Numbers("mlp_only_layers", "the number of a layer")];
        return [.. Enumerable.Range(0, layers).Select(layer => (layer + 1) % step == 0 && !dense.Contains(layer))];
    }

    /// <summary>The base of the rotary frequencies of layers with a sliding window, where they have their own.</summary>
    public double LocalRopeTheta(double standard) =>
        Find("rope_parameters")?.Member("sliding_attention")?.Member("rope_theta") is { } value ? Number("rope_theta", value) : NumberOr("rope_local_base_freq", standard);

    /// <summary>Lets a member that is absent be a multiple of another.</summary>
    public ConfigReader WithMultiple(string name, string of, int factor) => Find(name) is null ? WithDefaults((name, (long)factor * Positive(of))) : this;

    /// <summary>Lets members that are absent be numbers.</summary>
    public ConfigReader WithDefaults(params (string Name, long Value)[] numbers)
    {
        foreach ((string name, long value) in numbers.Where(number => Find(number.Name) is null))
        {
            XElement made = new("item", value.ToString(CultureInfo.InvariantCulture));
            made.SetAttributeValue("name", name);
            made.SetAttributeValue("type", "number");
            Set(name, made);
        }

        return this;
    }

    /// <summary>Of a model that sees images too, what the file says of its language model, where it says that apart.</summary>
    public ConfigReader Text() => Merged("text_config");

    /// <summary>Takes the members of a section, where there is one, for members of the file; one that is null in place of none.</summary>
    public ConfigReader Merged(string section)
    {
        foreach (XElement member in root.Member(section)?.Elements().ToArray() ?? [])
        {
            string name = (string?)member.Attribute("name") ?? "";
            if (member.Kind() != "null" || root.Elements().All(own => (string?)own.Attribute("name") != name)) Set(name, new XElement(member));
        }

        return this;
    }

    // One that is null would be found first.
    private void Set(string name, XElement member)
    {
        root.Elements().Where(other => (string?)other.Attribute("name") == name).Remove();
        root.Add(member);
    }

    /// <summary>Gives members the names that other families have for them.</summary>
    public ConfigReader Renamed(params (string Name, string Own)[] names)
    {
        foreach ((string name, string own) in names) renames[name] = own;
        return this;
    }

    /// <summary>Reads what nearly all families have, under the names that nearly all have for it. What a family has of its own it changes in the result.</summary>
    /// <param name="tied">Whether head and embedding are one where the file does not say it.</param>
    /// <param name="headDim">Width of a head where the file does not say it; 0 for the hidden size over the heads.</param>
    /// <param name="rotaryShare">The share of a head that is turned where the file does not say it.</param>
    public DecoderConfig Decoder(bool tied = false, int headDim = 0, double rotaryShare = 1)
    {
        int hiddenSize = Positive("hidden_size"), heads = Positive("num_attention_heads"), kvHeads = PositiveOr("num_key_value_heads", heads);
        if (heads % kvHeads != 0) throw Malformed($"num_attention_heads ({heads}) is not a multiple of num_key_value_heads ({kvHeads})");
        headDim = PositiveOr("head_dim", headDim > 0 ? headDim : hiddenSize / heads);
        if ((long)heads * headDim > LargestSize) throw Malformed($"num_attention_heads ({heads}) times head_dim ({headDim}) is more than {LargestSize}");
        if (headDim < 2 || headDim % 2 != 0) throw Malformed($"head_dim ({headDim}) is not even, and rotary embedding turns pairs");
        double share = RopeParameter("partial_rotary_factor") ?? NumberOr("partial_rotary_factor", NumberOr("rotary_pct", rotaryShare));
        int rotated = (int)(headDim * share);
        if (rotated < 2 || rotated > headDim || rotated % 2 != 0)
        {
            throw Malformed($"partial_rotary_factor turns {rotated} of {headDim} dimensions of a head, expected an even number from 2 on");
        }

        int context = PositiveOr("max_position_embeddings", 2048);
        RopeScaling? scaling = RopeScaling(context, rotated / 2);
        return new DecoderConfig
        {
            Architecture = Architecture(),
            HiddenSize = hiddenSize,
            IntermediateSize = Positive("intermediate_size"),
            Layers = Positive("num_hidden_layers", MostLayers),
            Heads = heads,
            KvHeads = kvHeads,
            HeadDim = headDim,
            RotaryDim = rotated,
            VocabularySize = Positive("vocab_size"),
            ContextLength = context,
            NormEpsilon = NumberOr("rms_norm_eps", 1e-6),
            RopeTheta = RopeTheta(10000),
            RopeScaling = scaling,
            TieWordEmbeddings = BooleanOr("tie_word_embeddings", tied),
            BosTokenId = TokenIds("bos_token_id").Select(id => (int?)id).FirstOrDefault(),
            EosTokenIds = TokenIds("eos_token_id"),
        };
    }

    /// <summary>How the weights are quantized already, where they are.</summary>
    public CheckpointQuantization? Quantization(DecoderConfig decoder) =>
        Find("quantization_config") is { } quantization ? CheckpointQuantization.Read(quantization, decoder, Malformed, Unsupported) : null;

    public QuantBuildException Unsupported(string what) => new(
        DiagnosticIds.ConfigUnsupported, $"{source}: {what}. Choose a model without it.");

    private bool IsNull(string name) => root.Elements().FirstOrDefault(member => (string?)member.Attribute("name") == name)?.Kind() == "null";

    private XElement? Find(string name) => root.Member(name) ?? (renames.TryGetValue(name, out string? own) ? root.Member(own) : null);

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
