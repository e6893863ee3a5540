namespace QuantBuild;

/// <summary>
/// How some linears are quantized otherwise than the rest. Written <c>pattern: settings</c>, several with a semicolon between them:
/// <c>down_proj: Bits=8; layers.0: Float; lm_head: Method=Rtn Bits=8</c>.
/// </summary>
/// <remarks>
/// A pattern is one or more segments of a linear's dotted name, next to each other: <c>down_proj</c> matches that of every layer, <c>layers.0.mlp</c> three linears of
/// the first. A segment may have <c>*</c> for any characters, or a range of numbers: <c>layers.0-3</c>.
/// </remarks>
public sealed class QuantizationOverride
{
    private const string Float = "Float";
    private static readonly string[] Settings = ["Method", "Bits", "GroupSize", "BlockSize"];

    /// <summary>The settings that an override can have.</summary>
    public static IReadOnlyList<string> MetadataNames => Settings;

    private readonly string[] segments;
    private readonly IReadOnlyDictionary<string, string> settings;

    private QuantizationOverride(string pattern, IReadOnlyDictionary<string, string> settings, bool keepsFloat)
    {
        Pattern = pattern;
        segments = pattern.Split('.');
        this.settings = settings;
        KeepsFloat = keepsFloat;
    }

    /// <summary>Which linears.</summary>
    public string Pattern { get; }

    /// <summary>Whether they stay in floating point.</summary>
    public bool KeepsFloat { get; }

    /// <summary>Their method, where they have another.</summary>
    public QuantizationMethod? Method => settings.TryGetValue("Method", out string? method) ? QuantizationSpec.ReadMethod(method, default) : null;

    /// <summary>Reads overrides.</summary>
    /// <param name="text">None, or several with semicolons between them.</param>
    /// <exception cref="QuantBuildException">QB0006, or what a setting's value gives: QB0001, QB0002, QB0003.</exception>
    public static IReadOnlyList<QuantizationOverride> ReadAll(string? text) => string.IsNullOrWhiteSpace(text)
        ? []
        : [.. text!.Split(';').Select(part => part.Trim()).Where(part => part.Length > 0).Select(Read)];

    /// <summary>One override of an item's metadata.</summary>
    /// <param name="pattern">Which linears.</param>
    /// <param name="metadata">The value of a name, or <see langword="null"/> or an empty text where it is not given.</param>
    /// <returns>The override as <see cref="ReadAll"/> reads it.</returns>
    public static string FromMetadata(string pattern, Func<string, string?> metadata) =>
        $"{pattern}: {string.Join(" ", Settings.Where(name => !string.IsNullOrWhiteSpace(metadata(name))).Select(name => $"{name}={metadata(name)!.Trim()}"))}";

    /// <summary>The canonical text of overrides: the same for all ways to write the same.</summary>
    public static string Canonical(string? text) => string.Join("; ", ReadAll(text));

    /// <summary>Whether a linear is meant.</summary>
    /// <param name="name">The linear's name, such as <c>model.layers.0.self_attn.q_proj</c>.</param>
    public bool Matches(string name)
    {
        string[] parts = name.Split('.');
        // Who says "everything" means the layers: head and embedding cost much quality for little space, and want to be named.
        if (DecoderConfig.IsHeadOrEmbedding(name) && segments[segments.Length - 1] != parts[parts.Length - 1]) return false;
        return Enumerable.Range(0, Math.Max(0, parts.Length - segments.Length + 1))
            .Any(start => segments.Select((segment, i) => MatchesSegment(segment, parts[start + i])).All(matches => matches));
    }

    /// <summary>Whether it says how many bits its linears have: a budget then leaves them alone.</summary>
    internal bool SetsBits => settings.ContainsKey("Bits");

    /// <summary>A specification with this override's settings in place of its own.</summary>
    /// <exception cref="QuantBuildException">A setting has no meaning for the method: QB0002, QB0003 or QB0006.</exception>
    public QuantizationSpec Apply(QuantizationSpec spec)
    {
        if (KeepsFloat) return spec;
        QuantizationMethod method = Method ?? spec.Method;
        QuantizationSpec own = spec with { Method = method };
        // What is not given stays as it is, also where this method does not read it: a later override may bring one that does.
        if (settings.TryGetValue("Bits", out string? bits)) own = own with { Bits = QuantizationSpec.ReadBits(bits, method, own.Bits) };
        if (settings.TryGetValue("GroupSize", out string? groupSize)) own = own with { GroupSize = QuantizationSpec.ReadGroupSize(groupSize, method, own.GroupSize) };
        if (settings.TryGetValue("BlockSize", out string? blockSize)) own = own with { BlockSize = QuantizationSpec.ReadBlockSize(blockSize, method, own.BlockSize) };
        return own;
    }

    /// <inheritdoc/>
    public override string ToString() =>
        $"{Pattern}: {(KeepsFloat ? Float : string.Join(" ", Settings.Where(settings.ContainsKey).Select(name => $"{name}={settings[name]}")))}";

    private static QuantizationOverride Read(string text)
    {
        int colon = text.IndexOf(':');
        string pattern = colon < 0 ? "" : text.Substring(0, colon).Trim();
        string[] words = text.Substring(colon + 1).Split([' ', ',', '\t', '\r', '\n'], StringSplitOptions.RemoveEmptyEntries);
        if (pattern.Length == 0 || pattern.Split('.').Any(segment => segment.Length == 0) || words.Length == 0)
        {
            throw Invalid(text, "expected a pattern, a colon, and settings");
        }

        Dictionary<string, string> settings = new(StringComparer.OrdinalIgnoreCase);
        bool keepsFloat = false;
        foreach (string word in words)
        {
            int equals = word.IndexOf('=');
            string given = equals < 0 ? word : word.Substring(0, equals), value = word.Substring(equals + 1);
            if (IsFloat(equals < 0 ? word : given.Equals("Method", StringComparison.OrdinalIgnoreCase) ? value : ""))
            {
                keepsFloat = true;
                continue;
            }

            string name = Settings.FirstOrDefault(known => known.Equals(given, StringComparison.OrdinalIgnoreCase))
                ?? throw Invalid(text, $"\"{given}\" is none of {string.Join(", ", Settings)} and not {Float}", NearestName.Hint(given, [.. Settings, Float]));
            if (equals < 0 || value.Length == 0 || settings.ContainsKey(name)) throw Invalid(text, $"{name} is to be given once, with a value: {name}=…");
            settings.Add(name, value);
        }

        if (keepsFloat && settings.Count > 0) throw Invalid(text, $"{Float} has no settings");
        QuantizationOverride read = new(pattern, Normalized(settings), keepsFloat);
        // Says now what is wrong with a value, as far as that can be told without knowing the model's own method.
        read.Apply(new QuantizationSpec { Method = settings.ContainsKey("BlockSize") ? QuantizationMethod.Nf4 : QuantizationMethod.Gptq });
        return read;
    }

    // The same value in other letters is the same override.
    private static Dictionary<string, string> Normalized(Dictionary<string, string> settings)
    {
        Dictionary<string, string> normalized = new(settings, StringComparer.OrdinalIgnoreCase);
        if (settings.TryGetValue("Method", out string? method)) normalized["Method"] = QuantizationSpec.ReadMethod(method, default).ToString();
        foreach (string name in Settings.Skip(1).Where(settings.ContainsKey))
        {
            if (settings[name].Equals(nameof(QuantizationSpec.PerChannel), StringComparison.OrdinalIgnoreCase)) normalized[name] = QuantizationSpec.Text(QuantizationSpec.PerChannel);
            else if (QuantizationSpec.TryReadInteger(settings[name], out int number)) normalized[name] = QuantizationSpec.Text(number);
        }

        return normalized;
    }

    private static bool IsFloat(string word) => word.Equals(Float, StringComparison.OrdinalIgnoreCase);

    private static bool MatchesSegment(string pattern, string segment)
    {
        string[] range = pattern.Split('-');
        if (range.Length == 2 && TryNumber(range[0], out int first) && TryNumber(range[1], out int last))
        {
            return TryNumber(segment, out int number) && number >= first && number <= last;
        }

        string[] pieces = pattern.Split('*');
        if (pieces.Length == 1) return pattern == segment;
        if (segment.Length < pieces[0].Length + pieces[pieces.Length - 1].Length) return false;
        if (!segment.StartsWith(pieces[0], StringComparison.Ordinal) || !segment.EndsWith(pieces[pieces.Length - 1], StringComparison.Ordinal)) return false;
        int at = pieces[0].Length, end = segment.Length - pieces[pieces.Length - 1].Length;
        foreach (string piece in pieces.Skip(1).Take(pieces.Length - 2))
        {
            int found = segment.IndexOf(piece, at, Math.Max(0, end - at), StringComparison.Ordinal);
            if (found < 0) return false;
            at = found + piece.Length;
        }

        return true;
    }

    private static bool TryNumber(string text, out int number) =>
        int.TryParse(text, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out number);

    private static QuantBuildException Invalid(string text, string why, string hint = "") => new(
        DiagnosticIds.MetadataInvalid,
        $"The override \"{text}\" cannot be read: {why}.{hint} It is a pattern of layer names and what is different there, such as down_proj: Bits=8, or layers.0-1: Float. " +
        "Several have a semicolon between them.");
}
