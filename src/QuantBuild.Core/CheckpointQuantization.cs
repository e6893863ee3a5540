using System.Globalization;
using System.Xml.Linq;

namespace QuantBuild;

/// <summary>What <c>config.json</c> says of weights that another tool has quantized: its <c>quantization_config</c>.</summary>
public sealed record CheckpointQuantization
{
    // Settings of an item that say how to quantize, and so nothing where that is done.
    private static readonly string[] Choices = ["TargetBitsPerWeight", "TargetSize", "Override"];

    /// <summary>The tool's format.</summary>
    public required CheckpointFormat Format { get; init; }

    /// <summary>
    /// How the weights are quantized, as a declaration would say it, the linears that stay in floating point among its overrides; <see langword="null"/> where they are in floating
    /// point of 8 bits, which is read as any other.
    /// </summary>
    public QuantizationSpec? Spec { get; init; }

    /// <summary>GPTQ: whether zero points are stored less one.</summary>
    public bool ZerosLessOne { get; init; }

    /// <summary>8-bit floating point: rows and columns of the block that shares a scale, where there are blocks.</summary>
    public (int Rows, int Columns)? Block { get; init; }

    /// <summary>The specification of an item whose model is quantized already: the checkpoint's own, which what the item says must not contradict.</summary>
    /// <param name="metadata">The value of a name, or <see langword="null"/> or an empty text where it is not given.</param>
    /// <param name="model">What to call the model in errors.</param>
    /// <exception cref="QuantBuildException">QB2043: the item asks for something else. QB0001 to QB0006: a value cannot be read.</exception>
    public QuantizationSpec Adopt(Func<string, string?> metadata, string model)
    {
        QuantizationSpec own = Spec!;
        Dictionary<string, string> values = own.ToMetadata().ToDictionary(entry => entry.Key, entry => entry.Value);
        bool IsGiven(string name) => !string.IsNullOrWhiteSpace(metadata(name)) && !(name == "Method" && string.Equals(metadata(name)!.Trim(), AutoMethod.Name, StringComparison.OrdinalIgnoreCase));
        string[] wrong = [.. Choices.Where(IsGiven)];
        if (wrong.Length == 0)
        {
            // Each alone, so that a value that fits is not read as one of another method.
            foreach (string name in values.Keys.Where(name => name != nameof(QuantizationSpec.EvaluationContext) && IsGiven(name)))
            {
                string? Merged(string key) => key == name ? metadata(key) : values.TryGetValue(key, out string? value) ? value : null;
                bool fits = name == "Method"
                    ? QuantizationSpec.ReadMethod(metadata(name), own.Method) == own.Method
                    : QuantizationSpec.FromMetadata(Merged) == own;
                if (!fits) wrong = [.. wrong, name];
            }
        }

        if (wrong.Length > 0)
        {
            throw Mismatch(
                model, $"the item says {string.Join(" and ", wrong.Select(name => $"{name}=\"{metadata(name)}\""))}",
                $"Leave {string.Join(", ", wrong)} out to take the weights as they are; to quantize otherwise, take the float model that this one was made from");
        }

        return own with { EvaluationContext = QuantizationSpec.FromMetadata(name => name == nameof(QuantizationSpec.EvaluationContext) ? metadata(name) : null).EvaluationContext };
    }

    /// <summary>The error of a declaration that does not fit weights which are quantized already.</summary>
    /// <param name="model">What to call the model.</param>
    /// <param name="what">What does not fit.</param>
    /// <param name="advice">What to do.</param>
    internal QuantBuildException Mismatch(string model, string what, string advice)
    {
        string[] settings = [.. Spec!.ToMetadata().Where(entry => entry.Key is not (nameof(QuantizationSpec.FromCheckpoint) or nameof(QuantizationSpec.EvaluationContext)))
            .Select(entry => $"{entry.Key}=\"{entry.Value}\"")];
        return new(
            DiagnosticIds.CheckpointQuantizationMismatch,
            $"The weights of {model} are quantized already, by {Format}: {string.Join(" ", settings)}; and {what}. {advice}.");
    }

    /// <summary>Reads a <c>quantization_config</c>.</summary>
    /// <param name="value">Its value in <c>config.json</c>.</param>
    /// <param name="config">The decoder, without it.</param>
    /// <param name="malformed">Makes the error of a value that is missing or of the wrong kind (QB2003).</param>
    /// <param name="unsupported">Makes the error of a kind of quantization that is not read (QB2011).</param>
    internal static CheckpointQuantization Read(XElement value, DecoderConfig config, Func<string, QuantBuildException> malformed, Func<string, QuantBuildException> unsupported)
    {
        if (value.Kind() != "object") throw malformed($"\"quantization_config\" is a JSON {value.Kind()}, expected an object");
        Members members = new(value, malformed);
        string method = members.Text("quant_method") ?? (members.Flag("load_in_4bit") || members.Flag("load_in_8bit") ? "bitsandbytes" : "unknown");
        QuantBuildException Unsupported(string what) => unsupported($"\"quantization_config\" says that the weights are quantized already (by {method}), {what}");
        return method switch
        {
            "gptq" => Gptq(members, config, Unsupported),
            "awq" => Awq(members, config, Unsupported),
            "bitsandbytes" => BitsAndBytes(members, config, Unsupported),
            "mxfp4" => Mxfp4(config),
            "fp8" or "fbgemm_fp8" => new CheckpointQuantization { Format = CheckpointFormat.Float8, Block = members.Block() },
            "compressed-tensors" when members.Text("format") is "float-quantized" or "naive-quantized" => new CheckpointQuantization { Format = CheckpointFormat.Float8 },
            _ => throw Unsupported("and only those of gptq, awq, bitsandbytes, mxfp4 and 8-bit floating point are read"),
        };
    }

    private static CheckpointQuantization Gptq(Members members, DecoderConfig config, Func<string, QuantBuildException> unsupported)
    {
        if (members.HasItems("dynamic")) throw unsupported("with settings of their own for some layers (\"dynamic\"), which are not read");
        string format = members.Text("checkpoint_format") ?? "gptq";
        if (format is not ("gptq" or "gptq_v2")) throw unsupported($"in the form {format}, and only gptq and gptq_v2 are read");
        int bits = members.Bits(unsupported);
        return new CheckpointQuantization
        {
            Format = CheckpointFormat.Gptq,
            ZerosLessOne = format == "gptq",
            Spec = new QuantizationSpec
            {
                FromCheckpoint = true,
                Method = QuantizationMethod.Gptq,
                Bits = bits,
                GroupSize = members.GroupSize(unsupported),
                Symmetric = members.FlagOr("sym", true),
                ActOrder = members.Flag("desc_act"),
                StaticGroups = members.Flag("static_groups"),
                Override = members.Flag("lm_head") && !config.TieWordEmbeddings ? $"{DecoderConfig.HeadLinearName}: Bits={bits.ToString(CultureInfo.InvariantCulture)}" : "",
            },
        };
    }

    private static CheckpointQuantization Awq(Members members, DecoderConfig config, Func<string, QuantBuildException> unsupported)
    {
        string version = (members.Text("version") ?? "gemm").ToLowerInvariant();
        if (version != "gemm") throw unsupported($"in the layout {version}, and only gemm is read");
        if (members.Bits(unsupported) != 4) throw unsupported("with other bits than 4, which its layout does not have");
        if (!members.FlagOr("zero_point", true)) throw unsupported("without zero points, which its layout needs");
        return new CheckpointQuantization
        {
            Format = CheckpointFormat.Awq,
            Spec = new QuantizationSpec
            {
                FromCheckpoint = true,
                Method = QuantizationMethod.Awq,
                Bits = 4,
                GroupSize = members.GroupSize(unsupported),
                Override = KeptFloat(members.Texts("modules_to_not_convert"), config),
            },
        };
    }

    // Only experts are ever in it, whatever the file says of other modules.
    private static CheckpointQuantization Mxfp4(DecoderConfig config) => new()
    {
        Format = CheckpointFormat.Mxfp4,
        Spec = new QuantizationSpec
        {
            FromCheckpoint = true,
            Method = QuantizationMethod.Mxfp4,
            Override = KeptFloat(config.Linears(0).Select(linear => linear.Name.Substring(DecoderConfig.LayerPrefix(0).Length)).Where(name => !name.Contains(".experts.")), config),
        },
    };

    private static CheckpointQuantization BitsAndBytes(Members members, DecoderConfig config, Func<string, QuantBuildException> unsupported)
    {
        string kept = KeptFloat(members.Texts("llm_int8_skip_modules"), config);
        if (!members.Flag("load_in_4bit") && !members.Flag("_load_in_4bit"))
        {
            return new CheckpointQuantization
            {
                Format = CheckpointFormat.BitsAndBytes,
                Spec = new QuantizationSpec
                {
                    FromCheckpoint = true,
                    Method = QuantizationMethod.Int8,
                    OutlierThreshold = members.NumberOr("llm_int8_threshold", 6),
                    Override = kept,
                },
            };
        }

        string table = members.Text("bnb_4bit_quant_type") ?? "fp4";
        if (table is not ("nf4" or "fp4")) throw unsupported($"to {table}, and only nf4 and fp4 are read");
        if ((members.Text("bnb_4bit_quant_storage") ?? "uint8") != "uint8") throw unsupported("and stores them in another type than uint8, which is not read");
        return new CheckpointQuantization
        {
            Format = CheckpointFormat.BitsAndBytes,
            Spec = new QuantizationSpec
            {
                FromCheckpoint = true,
                Method = table == "nf4" ? QuantizationMethod.Nf4 : QuantizationMethod.Fp4,
                DoubleQuantization = members.Flag("bnb_4bit_use_double_quant"),
                Override = kept,
            },
        };
    }

    /// <summary>The linears whose names in the checkpoint hold one of some texts, as overrides, which name them as they are named here.</summary>
    private static string KeptFloat(IEnumerable<string> parts, DecoderConfig config)
    {
        string[] names = [.. config.QuantizableLinears().Select(linear => linear.Name).Where(name => !DecoderConfig.IsHeadOrEmbedding(name))];
        string Stored(string name)
        {
            string weight = config.Names.Of(name + ".weight").Name;
            return weight.EndsWith(".weight", StringComparison.Ordinal) ? weight.Substring(0, weight.Length - ".weight".Length) : weight;
        }

        List<string> overrides = [];
        foreach (string part in parts.Select(WeightNames.InLanguageModel))
        {
            string[] kept = [.. names.Where(name => Stored(name).Contains(part))];
            if (kept.Length == 0) continue;
            // A module's own name is a pattern; a piece of one is what it is found in.
            string pattern = $"{part.Trim('.')}: Float";
            bool isPattern = part.Trim('.').All(c => c is '.' or '_' || char.IsLetterOrDigit(c)) && names.Where(QuantizationOverride.ReadAll(pattern)[0].Matches).SequenceEqual(kept);
            overrides.AddRange(isPattern ? [pattern] : kept.Select(name => name + ": Float"));
        }

        return QuantizationOverride.Canonical(string.Join("; ", overrides.Distinct()));
    }

    /// <summary>Typed access to the members.</summary>
    private sealed class Members(XElement root, Func<string, QuantBuildException> malformed)
    {
        public string? Text(string name) => root.Member(name) is not { } value ? null : value.Kind() == "string" ? value.Value : throw Wrong(name, "a text");

        public bool Flag(string name) => FlagOr(name, false);

        public bool FlagOr(string name, bool standard) =>
            root.Member(name) is not { } value ? standard : value.Kind() == "boolean" ? value.Value == "true" : throw Wrong(name, "true or false");

        public double NumberOr(string name, double standard) => root.Member(name) is not { } value ? standard
            : value.Kind() == "number" && double.TryParse(value.Value, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && number is >= 0 and <= float.MaxValue ? number
            : throw Wrong(name, "a number of at least 0");

        public bool HasItems(string name) => root.Member(name)?.Elements().Any() == true;

        public IEnumerable<string> Texts(string name) => root.Member(name) is not { } value ? []
            : value.Kind() == "array" ? value.Elements().Where(item => item.Kind() == "string" && item.Value.Length > 0).Select(item => item.Value)
            : throw Wrong(name, "a list of texts");

        public int Bits(Func<string, QuantBuildException> unsupported)
        {
            int bits = Integer(root.Member("bits") is { } value ? value : throw Wrong("bits", "a number of bits"), "bits");
            return QuantizationSpec.SupportedBits.Contains(bits) ? bits : throw unsupported($"to {bits} bits, and only {string.Join(", ", QuantizationSpec.SupportedBits)} are read");
        }

        public int GroupSize(Func<string, QuantBuildException> unsupported)
        {
            int size = root.Member("group_size") is { } value ? Integer(value, "group_size") : QuantizationSpec.PerChannel;
            return QuantizationSpec.IsGroupSize(size)
                ? size
                : throw unsupported($"in groups of {size}, and only multiples of 16, and -1 for a whole row, are read");
        }

        public (int, int)? Block() => root.Member("weight_block_size") is not { } value ? null
            : value.Elements().Select(size => Integer(size, "weight_block_size")).ToArray() is { Length: 2 } sizes && sizes.All(size => size > 0) ? (sizes[0], sizes[1])
            : throw Wrong("weight_block_size", "two positive numbers");

        private int Integer(XElement value, string name) =>
            value.Kind() == "number" && int.TryParse(value.Value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int number) ? number : throw Wrong(name, "a whole number");

        private QuantBuildException Wrong(string name, string expected) => malformed($"\"{name}\" in \"quantization_config\" is missing or of another kind, expected {expected}");
    }
}

/// <summary>The tool that has quantized a checkpoint, by its format.</summary>
public enum CheckpointFormat
{
    /// <summary>GPTQ, as AutoGPTQ and GPTQModel store it.</summary>
    Gptq,

    /// <summary>AWQ, as AutoAWQ stores it, in its layout GEMM.</summary>
    Awq,

    /// <summary>bitsandbytes: NF4, FP4, or LLM.int8().</summary>
    BitsAndBytes,

    /// <summary>8-bit floating point, which is read as weights in floating point.</summary>
    Float8,

    /// <summary>4-bit floating point with a power of two for each 32 (OCP Microscaling Formats), of experts.</summary>
    Mxfp4,
}
