namespace QuantBuild;

/// <summary>How each linear of a model is quantized: what a specification says for all, with its overrides, and the widths that a budget chose.</summary>
public sealed class QuantizationPlan
{
    private readonly Dictionary<string, QuantizationSpec?> specs = new(StringComparer.Ordinal);

    /// <summary>Plans a model.</summary>
    /// <param name="config">The decoder.</param>
    /// <param name="spec">What is asked for.</param>
    /// <param name="widths">Bits by the name of the linear, where a budget chose them; they come before what the specification says.</param>
    public QuantizationPlan(DecoderConfig config, QuantizationSpec spec, IReadOnlyDictionary<string, int>? widths = null)
    {
        Config = config;
        Spec = spec;
        foreach (LinearShape linear in config.QuantizableLinears())
        {
            QuantizationSpec? own = SpecOf(linear);
            if (own is not null && widths is not null && widths.TryGetValue(linear.Name, out int bits)) own = own with { Bits = bits };
            specs.Add(linear.Name, own);
        }
    }

    /// <summary>The decoder.</summary>
    public DecoderConfig Config { get; }

    /// <summary>What is asked for.</summary>
    public QuantizationSpec Spec { get; }

    /// <summary>How a linear is quantized; <see langword="null"/> where it stays in floating point.</summary>
    public QuantizationSpec? this[LinearShape linear] => specs[linear.Name];

    /// <summary>The linears that are quantized, in the order of a forward pass.</summary>
    public IEnumerable<LinearShape> Quantized => Config.QuantizableLinears().Where(linear => this[linear] is not null);

    /// <summary>The linears whose width a budget chooses: those that are quantized in a format with several, and have none of their own from an override.</summary>
    public IEnumerable<LinearShape> Open => Spec.HasBudget
        ? Quantized.Where(linear => this[linear]!.HasGroups && !QuantizationOverride.ReadAll(Spec.Override).Any(change => change.SetsBits && NamesOf(linear).Any(change.Matches)))
        : [];

    /// <summary>Whether anything that is quantized reads calibration data.</summary>
    public bool NeedsCalibration => !Spec.FromCheckpoint && specs.Values.Any(spec => spec is not null && QuantizationSpec.IsCalibrated(spec.Method));

    /// <summary>Whether anything is quantized so as to make good what was lost before it: the calibration text then goes through the float layers too.</summary>
    public bool ComparesStreams => !Spec.FromCheckpoint
        && (Spec.ErrorCorrection && Spec.TrueSequential && specs.Values.Any(spec => spec?.Method == QuantizationMethod.Gptq)
            || specs.Values.Any(spec => spec?.Method == QuantizationMethod.AutoRound));

    /// <summary>Checks that the groups fit every linear that is quantized, and that each override means one.</summary>
    /// <exception cref="QuantBuildException">
    /// QB0003: a size that does not exist, in a specification that was not read from metadata. QB0007: names the linear and the sizes that would do. QB0006: an override matches nothing. QB2043: the weights are quantized already, and otherwise.
    /// </exception>
    public void Check()
    {
        CheckFromCheckpoint();
        foreach (LinearShape linear in Quantized)
        {
            if (this[linear] is not { HasGroups: true } spec) continue;
            spec.CheckGroupSize();
            Config.CheckGroupSize(linear, spec.GroupSize);
        }

        foreach (QuantizationOverride change in QuantizationOverride.ReadAll(Spec.Override))
        {
            if (Config.QuantizableLinears().Any(linear => NamesOf(linear).Any(change.Matches))) continue;
            throw new QuantBuildException(
                DiagnosticIds.MetadataInvalid,
                $"The override \"{change}\" matches no layer of the model. Its layers are named {string.Join(", ", Examples())} " +
                $"and so on to layer {Config.Layers - 1}, then {DecoderConfig.HeadLinearName} and {DecoderConfig.EmbeddingLinearName}. Correct the pattern, or remove it.");
        }

        WidthBudget.Check(this);
    }

    /// <summary>The names of a layer's linears, of one with experts and of one without where there are both; of experts, the first one's.</summary>
    private IEnumerable<string> Examples() => Enumerable.Range(0, Config.Layers).GroupBy(Config.HasExperts).SelectMany(kind => Config.Linears(kind.First())).Select(linear => linear.Name)
        .Where(name => !name.Contains(".experts.") || name.Contains(".experts.0."));

    private void CheckFromCheckpoint()
    {
        if (Config.Quantization is { Spec: { } own } quantization)
        {
            if (Spec == own with { EvaluationContext = Spec.EvaluationContext }) return;
            throw quantization.Mismatch(
                "the model", $"they are asked for with {string.Join(" ", Spec.ToMetadata().Take(3).Select(entry => $"{entry.Key}=\"{entry.Value}\""))}",
                "Leave Method and its settings out to take the weights as they are; to quantize otherwise, take the float model that this one was made from");
        }

        if (!Spec.FromCheckpoint) return;
        throw new QuantBuildException(
            DiagnosticIds.CheckpointQuantizationMismatch,
            "FromCheckpoint=\"true\" takes weights that are quantized already, and config.json does not say that these are. Leave it out: where weights are quantized already, that is seen.");
    }

    private QuantizationSpec? SpecOf(LinearShape linear)
    {
        QuantizationSpec? spec = NamesOf(linear).Select(Spec.For).LastOrDefault(own => own is not null);
        // A table that is looked up in has no inputs to calibrate on, and its rows are read in the order of the model.
        bool isTable = linear.Name == DecoderConfig.EmbeddingLinearName;
        return isTable && spec is not null && QuantizationSpec.IsCalibrated(spec.Method) ? spec with { Method = QuantizationMethod.Rtn } : spec;
    }

    // A tied head and embedding are one tensor with two names.
    private IEnumerable<string> NamesOf(LinearShape linear) => linear.Name == DecoderConfig.EmbeddingLinearName && Config.TieWordEmbeddings
        ? [linear.Name, DecoderConfig.HeadLinearName]
        : [linear.Name];
}
