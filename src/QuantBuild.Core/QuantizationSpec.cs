using System.Globalization;

namespace QuantBuild;

/// <summary>
/// What a <c>&lt;QuantizedModel&gt;</c> item asks for: everything besides the model and the texts that decides the bytes of the artifact.
/// </summary>
public sealed record QuantizationSpec
{
    /// <summary>The value of <see cref="GroupSize"/> that makes one group of each row of a weight.</summary>
    public const int PerChannel = -1;

    /// <summary>The weight widths that exist.</summary>
    public static IReadOnlyList<int> SupportedBits { get; } = [2, 3, 4, 8];

    private static readonly string[] WidthSettings = ["TargetBitsPerWeight", "TargetSize", "Bits"];

    /// <summary>How the values are chosen.</summary>
    public QuantizationMethod Method { get; init; } = QuantizationMethod.Gptq;

    /// <summary>
    /// Bits per weight: 2, 3, 4 or 8; what the method has, where it has only one width (<see cref="BitsOf"/>). With <see cref="TargetBitsPerWeight"/> the width next
    /// to it, the wider of two.
    /// </summary>
    public int Bits
    {
        get => BitsOf(Method) ?? (TargetBitsPerWeight is { } target ? NearestBits(target) : field);
        init;
    } = 4;

    /// <summary>A budget in place of <see cref="Bits"/>: 8 · the bytes of what is quantized, scales and all, over its weights. Each linear gets a width of its own.</summary>
    public decimal? TargetBitsPerWeight { get; init; }

    /// <summary>A budget in place of <see cref="Bits"/>: the largest size of the whole artifact, in bytes. Each linear gets a width of its own.</summary>
    public long? TargetSize { get; init; }

    /// <summary>Whether a budget decides the widths.</summary>
    public bool HasBudget => TargetBitsPerWeight is not null || TargetSize is not null;

    /// <summary>What the widths are called in the name of a class: bits, or the budget.</summary>
    public string WidthName => TargetBitsPerWeight is { } target ? Text(target) : TargetSize is { } size ? ByteSize.Text(size) : Text(Bits);

    /// <summary>
    /// Inputs that share one scale (and zero point): 16 or more, or <see cref="PerChannel"/>. Of NF4 and FP4 it is <see cref="BlockSize"/>, of MXFP4 32, of Int8
    /// <see cref="PerChannel"/>.
    /// </summary>
    public int GroupSize
    {
        get => UsesBlocks ? BlockSize : Method == QuantizationMethod.Mxfp4 ? 32 : HasGroups ? field : PerChannel;
        init;
    } = 128;

    /// <summary>No zero points: the range of a group is symmetric about zero.</summary>
    public bool Symmetric { get; init; }

    /// <summary>NF4, FP4: consecutive weights, across the ends of rows, that share a scale. A power of two from 32 to 4,096.</summary>
    public int BlockSize { get; init; } = 64;

    /// <summary>NF4, FP4: quantize the scales themselves to 8 bits, in blocks of 256.</summary>
    public bool DoubleQuantization { get; init; } = true;

    /// <summary>
    /// Int8: activations of at least this magnitude stay in floating point, the others are rounded to 8 bits. 0 keeps all in floating point.
    /// </summary>
    public double OutlierThreshold { get; init; } = 6;

    /// <summary>GPTQ, and what AutoRound begins with: quantize the columns with the largest Hessian diagonal first.</summary>
    public bool ActOrder { get; init; } = true;

    /// <summary>
    /// GPTQ: choose every group's scale and zero point from the float weights before the first column is quantized, so that groups are of neighbouring
    /// inputs also with <see cref="ActOrder"/>, and no order has to be stored.
    /// </summary>
    public bool StaticGroups { get; init; }

    /// <summary>GPTQ, AWQ, and what AutoRound begins with: within a decoder layer, calibrate each group of linears on the outputs of those already quantized.</summary>
    public bool TrueSequential { get; init; } = true;

    /// <summary>
    /// GPTQ, and what AutoRound begins with: let each linear make good what the quantized layers before it have lost, against the outputs that it has in the
    /// float model; with <see cref="TrueSequential"/> alone.
    /// </summary>
    public bool ErrorCorrection { get; init; } = true;

    /// <summary>GPTQ, and what AutoRound begins with: what is added to the Hessian's diagonal, as a fraction of its mean. Above 0, at most 1.</summary>
    public double Damping { get; init; } = 0.01;

    /// <summary>AutoRound: steps of gradient descent for each decoder layer.</summary>
    public int Iterations { get; init; } = 200;

    /// <summary>
    /// What is quantized otherwise than the rest, as <see cref="QuantizationOverride"/> writes it: empty where all is alike. The canonical text, so that
    /// specifications which mean the same are equal.
    /// </summary>
    public string Override { get; init; } = "";

    /// <summary>
    /// Whether the weights are quantized already, and taken as they are: the rest then says what they are, nothing is chosen, and no text is calibrated on.
    /// </summary>
    public bool FromCheckpoint { get; init; }

    /// <summary>The largest number of calibration windows.</summary>
    public int CalibrationSamples { get; init; } = 128;

    /// <summary>Tokens of a calibration window; 0 is the model's context, at most 2,048.</summary>
    public int CalibrationContext { get; init; }

    /// <summary>Tokens of an evaluation window; 0 is the model's context, at most 2,048.</summary>
    public int EvaluationContext { get; init; }

    /// <summary>Whether any method that is asked for reads calibration data, or a budget does, to measure what each linear can lose.</summary>
    public bool NeedsCalibration => !FromCheckpoint && (HasBudget || Methods.Any(IsCalibrated));

    /// <summary>What it is that reads calibration data, for an error: <c>Method="Gptq"</c>.</summary>
    public string CalibratedBy => !NeedsCalibration || Methods.Any(IsCalibrated)
        ? $"Method=\"{Methods.FirstOrDefault(IsCalibrated)}\""
        : TargetBitsPerWeight is not null ? $"TargetBitsPerWeight=\"{WidthName}\"" : $"TargetSize=\"{WidthName}\"";

    /// <summary>What would read none, for an error.</summary>
    public string WithoutCalibration => HasBudget ? "Method to Rtn and Bits in place of the budget" : "Method to Rtn";

    /// <summary>The methods that are asked for: <see cref="Method"/> first, then those of overrides.</summary>
    public IEnumerable<QuantizationMethod> Methods =>
        new[] { Method }.Concat(QuantizationOverride.ReadAll(Override).Select(o => o.Method).OfType<QuantizationMethod>()).Distinct();

    /// <summary>Whether the method divides each row into groups, and <see cref="GroupSize"/> and <see cref="Symmetric"/> are open.</summary>
    public bool HasGroups => HasGroupsOf(Method);

    /// <summary>Whether a method divides each row into groups.</summary>
    internal static bool HasGroupsOf(QuantizationMethod method) => BitsOf(method) is null;

    /// <summary>Whether a method reads calibration data.</summary>
    public static bool IsCalibrated(QuantizationMethod method) =>
        method is QuantizationMethod.Gptq or QuantizationMethod.Awq or QuantizationMethod.AutoRound;

    /// <summary>Whether the method divides the weight into blocks of <see cref="BlockSize"/>.</summary>
    public bool UsesBlocks => UsesBlocksOf(Method);

    private static bool UsesBlocksOf(QuantizationMethod method) => method is QuantizationMethod.Nf4 or QuantizationMethod.Fp4;

    /// <summary>The only width that a method has, or <see langword="null"/> where it has all of <see cref="SupportedBits"/>.</summary>
    public static int? BitsOf(QuantizationMethod method) => method switch
    {
        QuantizationMethod.Nf4 or QuantizationMethod.Fp4 or QuantizationMethod.Mxfp4 => 4,
        QuantizationMethod.Int8 => 8,
        _ => null,
    };

    /// <summary>The name of each property that is metadata of the item, with its value: the canonical text of the specification.</summary>
    public IEnumerable<KeyValuePair<string, string>> ToMetadata()
    {
        yield return new("Method", Method.ToString());
        if (TargetBitsPerWeight is { } target) yield return new("TargetBitsPerWeight", Text(target));
        else if (TargetSize is { } size) yield return new("TargetSize", size.ToString(CultureInfo.InvariantCulture));
        else yield return new("Bits", Text(Bits));
        if (HasGroups) yield return new("GroupSize", Text(GroupSize));
        if (Methods.Any(HasGroupsOf)) yield return new("Symmetric", Text(Symmetric));
        if (UsesBlocks) yield return new("BlockSize", Text(BlockSize));
        if (Methods.Any(UsesBlocksOf)) yield return new("DoubleQuantization", Text(DoubleQuantization));
        if (Methods.Contains(QuantizationMethod.Int8)) yield return new("OutlierThreshold", Text(OutlierThreshold));
        if (FromCheckpoint)
        {
            // Decides whether an order of the columns is stored; the rest of what follows is how values are chosen.
            if (Method == QuantizationMethod.Gptq)
            {
                yield return new("ActOrder", Text(ActOrder));
                yield return new("StaticGroups", Text(StaticGroups));
            }

            if (Override.Length > 0) yield return new("Override", Override);
            yield return new("FromCheckpoint", Text(FromCheckpoint));
            yield return new("EvaluationContext", Text(EvaluationContext));
            yield break;
        }

        // AutoRound begins with GPTQ's values, in groups that are always static.
        if (Methods.Any(method => method is QuantizationMethod.Gptq or QuantizationMethod.AutoRound))
        {
            yield return new("ActOrder", Text(ActOrder));
            if (Methods.Contains(QuantizationMethod.Gptq)) yield return new("StaticGroups", Text(StaticGroups));
        }

        if (Methods.Any(IsCalibrated)) yield return new("TrueSequential", Text(TrueSequential));
        if (Methods.Any(method => method is QuantizationMethod.Gptq or QuantizationMethod.AutoRound))
        {
            yield return new("ErrorCorrection", Text(ErrorCorrection));
            yield return new("Damping", Text(Damping));
        }

        if (Methods.Contains(QuantizationMethod.AutoRound)) yield return new("Iterations", Text(Iterations));
        if (Override.Length > 0) yield return new("Override", Override);
        if (NeedsCalibration)
        {
            yield return new("CalibrationSamples", Text(CalibrationSamples));
            yield return new("CalibrationContext", Text(CalibrationContext));
        }

        yield return new("EvaluationContext", Text(EvaluationContext));
    }

    /// <summary>Reads a specification from item metadata (or command-line options of the same names).</summary>
    /// <param name="metadata">The value of a name, or <see langword="null"/> or an empty text where it is not given.</param>
    /// <exception cref="QuantBuildException">A value cannot be read or does not exist: QB0001, QB0002, QB0003 or QB0006.</exception>
    public static QuantizationSpec FromMetadata(Func<string, string?> metadata)
    {
        QuantizationSpec standard = new();
        QuantizationMethod method = ReadMethod(metadata("Method"), standard.Method);
        QuantizationSpec spec = new()
        {
            Method = method,
            Bits = ReadBits(metadata("Bits"), method, standard.Bits),
            TargetBitsPerWeight = ReadTargetBitsPerWeight(metadata("TargetBitsPerWeight")),
            TargetSize = ReadTargetSize(metadata("TargetSize")),
            GroupSize = ReadGroupSize(metadata("GroupSize"), method, standard.GroupSize),
            BlockSize = ReadBlockSize(metadata("BlockSize"), method, standard.BlockSize),
            DoubleQuantization = ReadBoolean(metadata, "DoubleQuantization", standard.DoubleQuantization),
            OutlierThreshold = ReadOutlierThreshold(metadata("OutlierThreshold"), standard.OutlierThreshold),
            Symmetric = ReadBoolean(metadata, "Symmetric", standard.Symmetric),
            ActOrder = ReadBoolean(metadata, "ActOrder", standard.ActOrder),
            StaticGroups = ReadBoolean(metadata, "StaticGroups", standard.StaticGroups),
            TrueSequential = ReadBoolean(metadata, "TrueSequential", standard.TrueSequential),
            ErrorCorrection = ReadBoolean(metadata, "ErrorCorrection", standard.ErrorCorrection),
            Damping = ReadDamping(metadata("Damping"), standard.Damping),
            Iterations = ReadCount(metadata, "Iterations", standard.Iterations, 1),
            Override = QuantizationOverride.Canonical(metadata("Override")),
            FromCheckpoint = ReadBoolean(metadata, "FromCheckpoint", standard.FromCheckpoint),
            CalibrationSamples = ReadCount(metadata, "CalibrationSamples", standard.CalibrationSamples, 1),
            CalibrationContext = ReadCount(metadata, "CalibrationContext", standard.CalibrationContext, 0),
            EvaluationContext = ReadCount(metadata, "EvaluationContext", standard.EvaluationContext, 0),
        };
        spec.CheckBudget(isGiven: name => !string.IsNullOrWhiteSpace(metadata(name)));
        return spec;
    }

    /// <summary>How one linear is quantized.</summary>
    /// <param name="name">The linear's name, such as <c>model.layers.0.self_attn.q_proj</c>.</param>
    /// <returns>A specification without overrides and budget; <see langword="null"/> where the linear stays in floating point.</returns>
    /// <remarks>Of the overrides that match, the last decides. The head and the embedding are quantized only where an override names them.</remarks>
    public QuantizationSpec? For(string name)
    {
        bool isWanted = !DecoderConfig.IsHeadOrEmbedding(name);
        QuantizationSpec spec = HasBudget ? this with { Override = "", Bits = Bits, TargetBitsPerWeight = null, TargetSize = null } : this with { Override = "" };
        foreach (QuantizationOverride change in QuantizationOverride.ReadAll(Override).Where(change => change.Matches(name)))
        {
            isWanted = !change.KeepsFloat;
            spec = change.Apply(spec);
        }

        return isWanted ? spec : null;
    }

    internal static int NearestBits(decimal target) => SupportedBits.OrderBy(bits => Math.Abs(bits - target)).ThenByDescending(bits => bits).First();

    // A budget and a width say two things of the same.
    private void CheckBudget(Func<string, bool> isGiven)
    {
        string[] given = [.. WidthSettings.Where(isGiven)];
        if (!HasBudget) return;
        if (given.Length > 1)
        {
            throw new QuantBuildException(
                DiagnosticIds.MetadataInvalid,
                $"{string.Join(" and ", given)} are set together, and each decides the widths. Keep one of them.");
        }

        if (!HasGroups)
        {
            throw new QuantBuildException(
                DiagnosticIds.MetadataInvalid,
                $"{given[0]} has no meaning for Method=\"{Method}\", which has {Text(Bits)} bits and no other width to choose. Leave it out, or set Method to Gptq or Rtn.");
        }
    }

    internal static string Text(int value) => value.ToString(CultureInfo.InvariantCulture);

    // Without the zeros at the end that a decimal keeps.
    private static string Text(decimal value) => value.ToString("0.############################", CultureInfo.InvariantCulture);

    private static string Text(double value) => value.ToString("R", CultureInfo.InvariantCulture);

    private static string Text(bool value) => value ? "true" : "false";

    internal static QuantizationMethod ReadMethod(string? text, QuantizationMethod standard)
    {
        if (string.IsNullOrWhiteSpace(text)) return standard;
        foreach (QuantizationMethod method in (QuantizationMethod[])Enum.GetValues(typeof(QuantizationMethod)))
        {
            if (string.Equals(method.ToString(), text!.Trim(), StringComparison.OrdinalIgnoreCase)) return method;
        }

        throw new QuantBuildException(
            DiagnosticIds.MethodUnknown,
            $"Method=\"{text}\" is not a quantization method.{NearestName.Hint(text!, [.. Enum.GetNames(typeof(QuantizationMethod)), AutoMethod.Name])} " +
            $"The methods are {string.Join(", ", Enum.GetNames(typeof(QuantizationMethod)))}. " +
            $"Set Method to one of them, or to {AutoMethod.Name}, or leave it out for Gptq.");
    }

    internal static int ReadBits(string? text, QuantizationMethod method, int standard)
    {
        if (string.IsNullOrWhiteSpace(text)) return standard;
        bool exists = TryReadInteger(text!, out int bits) && SupportedBits.Contains(bits);
        if (exists && BitsOf(method) is { } only && bits != only)
        {
            throw new QuantBuildException(
                DiagnosticIds.BitsUnsupported,
                $"Bits=\"{text}\" is not a width of Method=\"{method}\", which has {Text(only)} bits. Leave Bits out, or set Method to Gptq or Rtn, which have other widths.");
        }

        // A method's own width is not part of what is asked for: two specifications that mean the same are equal.
        if (exists) return BitsOf(method) is null ? bits : standard;
        throw new QuantBuildException(
            DiagnosticIds.BitsUnsupported,
            $"Bits=\"{text}\" is not a weight width. The widths are {string.Join(", ", SupportedBits)}. Set Bits to one of them.");
    }

    private static decimal? ReadTargetBitsPerWeight(string? text)
    {
        if (string.IsNullOrWhiteSpace(text)) return null;
        if (decimal.TryParse(text, NumberStyles.AllowDecimalPoint | NumberStyles.AllowLeadingWhite | NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture, out decimal target)
            && target is >= 2 and <= 16)
        {
            return target;
        }

        throw new QuantBuildException(
            DiagnosticIds.MetadataInvalid,
            $"TargetBitsPerWeight=\"{text}\" is not a number from 2 to 16. Scales count: with groups of 128, 2 bits are some 2.2, 4 bits some 4.2. 3.5 is a usual budget.");
    }

    private static long? ReadTargetSize(string? text)
    {
        if (string.IsNullOrWhiteSpace(text)) return null;
        if (ByteSize.TryParse(text!, out long bytes)) return bytes;
        throw new QuantBuildException(
            DiagnosticIds.MetadataInvalid,
            $"TargetSize=\"{text}\" is not a size. It is a number of bytes, or one with a unit: 4GB, 700MB, 1.5GiB.");
    }

    internal static int ReadGroupSize(string? text, QuantizationMethod method, int standard)
    {
        if (string.IsNullOrWhiteSpace(text)) return standard;
        QuantizationSpec spec = new() { Method = method };
        if (!spec.HasGroups)
        {
            throw new QuantBuildException(
                DiagnosticIds.GroupSizeInvalid,
                $"GroupSize=\"{text}\" has no meaning for Method=\"{method}\", which has " +
                (spec.UsesBlocks ? "blocks. Set BlockSize in its place (32, 64, 128, … 4096)." : $"{Scales(method)}. Leave GroupSize out."));
        }

        if (string.Equals(text!.Trim(), nameof(PerChannel), StringComparison.OrdinalIgnoreCase)) return PerChannel;
        return TryReadInteger(text, out int size) && IsGroupSize(size) ? size : throw GroupSizeInvalid(text);
    }

    internal static bool IsGroupSize(int size) => size == PerChannel || (size >= 16 && size % 16 == 0);

    private static QuantBuildException GroupSizeInvalid(string text) => new(
        DiagnosticIds.GroupSizeInvalid,
        $"GroupSize=\"{text}\" is not a group size.{NearestName.Hint(text, [nameof(PerChannel)])} It is a multiple of 16 (16, 32, 64, 128, 256, …), " +
        "or PerChannel (-1) for one group of each row. 128 is usual; 32 costs more bits and loses less.");

    /// <summary>Checks a size that was not read from metadata.</summary>
    /// <exception cref="QuantBuildException">QB0003.</exception>
    internal void CheckGroupSize()
    {
        if (!IsGroupSize(GroupSize)) throw GroupSizeInvalid(Text(GroupSize));
    }

    internal static int ReadBlockSize(string? text, QuantizationMethod method, int standard)
    {
        if (string.IsNullOrWhiteSpace(text)) return standard;
        QuantizationSpec spec = new() { Method = method };
        if (!spec.UsesBlocks)
        {
            throw new QuantBuildException(
                DiagnosticIds.MetadataInvalid,
                $"BlockSize=\"{text}\" has no meaning for Method=\"{method}\", which has " +
                (spec.HasGroups ? "groups within a row. Set GroupSize in its place (16, 32, 64, 128, …)." : $"{Scales(method)}. Leave BlockSize out."));
        }

        if (TryReadInteger(text!, out int size) && size is >= 32 and <= 4096 && (size & (size - 1)) == 0) return size;
        throw new QuantBuildException(
            DiagnosticIds.MetadataInvalid,
            $"BlockSize=\"{text}\" is not a block size. It is a power of two from 32 to 4096. 64 is usual; a larger one takes less space and loses more.");
    }

    private static string Scales(QuantizationMethod method) => method == QuantizationMethod.Mxfp4 ? "one scale for each 32 weights" : "one scale for each row";

    private static double ReadOutlierThreshold(string? text, double standard)
    {
        if (string.IsNullOrWhiteSpace(text)) return standard;
        if (double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double value) && value is >= 0 and <= float.MaxValue) return value;
        throw new QuantBuildException(
            DiagnosticIds.MetadataInvalid,
            $"OutlierThreshold=\"{text}\" is not a number of at least 0. Activations of that magnitude and more stay in floating point: 6 is usual, 0 keeps them all.");
    }

    private static bool ReadBoolean(Func<string, string?> metadata, string name, bool standard)
    {
        string? text = metadata(name);
        if (string.IsNullOrWhiteSpace(text)) return standard;
        if (bool.TryParse(text!.Trim(), out bool value)) return value;
        throw new QuantBuildException(
            DiagnosticIds.MetadataInvalid, $"{name}=\"{text}\" is neither true nor false.{NearestName.Hint(text!, ["true", "false"])} Set it to one of them, or leave it out for {Text(standard)}.");
    }

    private static double ReadDamping(string? text, double standard)
    {
        if (string.IsNullOrWhiteSpace(text)) return standard;
        if (double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double value) && value is > 0 and <= 1) return value;
        throw new QuantBuildException(
            DiagnosticIds.MetadataInvalid,
            $"Damping=\"{text}\" is not a number above 0 and at most 1. It is a fraction of the Hessian's mean diagonal; 0.01 to 0.1 is usual.");
    }

    private static int ReadCount(Func<string, string?> metadata, string name, int standard, int least)
    {
        string? text = metadata(name);
        if (string.IsNullOrWhiteSpace(text)) return standard;
        if (TryReadInteger(text!, out int value) && value >= least) return value;
        throw new QuantBuildException(
            DiagnosticIds.MetadataInvalid, $"{name}=\"{text}\" is not a whole number of at least {Text(least)}. Left out, it is {Text(standard)}.");
    }

    internal static bool TryReadInteger(string text, out int value) =>
        int.TryParse(text.Trim(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out value);
}
