namespace QuantBuild;

/// <summary>
/// <c>Method="Auto"</c>: a table that says which method serves a use, and why. It is asked when a declaration is read, so that everything after sees a method. What the item gives itself
/// (<c>Bits</c>, <c>GroupSize</c> and the rest) comes before what the table says.
/// </summary>
public sealed class AutoMethod
{
    /// <summary>What <c>Method</c> says where the table is to choose.</summary>
    public const string Name = "Auto";

    private const string Method = "Method";

    private static readonly string[] WidthNames = ["Bits", "TargetBitsPerWeight", "TargetSize"];

    // The first row that fits. The figures are those of docs/quality.md and docs/performance.md.
    private static readonly Row[] Table =
    [
        new(w => w.IsGiven("BlockSize"), "Nf4", [], "BlockSize is a setting of NF4"),
        new(w => w.IsGiven("OutlierThreshold"), "Int8", [], "OutlierThreshold is a setting of LLM.int8()"),
        new(w => w.IsNarrow && w.IsCalibrated, "AutoRound", [], "so few bits need rounding that is learned"),
        new(w => w.HasBudget, "Gptq", [], "of the methods with several widths it loses least"),
        new(w => w.Use == ModelUse.FineTuning && !w.HasGroups && (w.Bits ?? 4) == 4, "Nf4", [new("DoubleQuantization", "true")],
            "adapters are trained on QLoRA's base: NF4 with double quantization, fitted to no text"),
        new(w => w.Use == ModelUse.FineTuning, "Rtn", [], "adapters are trained on a base that is fitted to no text, and NF4 has neither these bits nor groups"),
        new(w => w.Use == ModelUse.Development, "Rtn", [new("Bits", "4")], "it is the quickest to build, reads no text, and decodes as fast as what ships"),
        new(w => w.Use == ModelUse.MaximumAccuracy && w.IsCalibrated, "Gptq", [new("Bits", "8"), new("GroupSize", "128")], "8 bits with a scale for each 128 inputs lose least"),
        new(w => w.Use == ModelUse.MaximumAccuracy, "Rtn", [new("Bits", "8"), new("GroupSize", "128")], "8 bits with a scale for each 128 inputs lose least, also without CalibrationData"),
        new(w => w.Use is ModelUse.Production or ModelUse.FastestInference && !w.HasGroups && w.Bits == 8, "Int8", [new("OutlierThreshold", "0")],
            "of 8 bits it is the smallest, decodes as fast as any, and loses next to nothing"),
        new(w => w.Use == ModelUse.FastestInference && w.IsCalibrated, "Gptq", [new("Bits", "4"), new("StaticGroups", "true")],
            "4 bits are the fewest bytes to read for a token that keep their quality, and static groups leave the columns in order"),
        new(w => w.Use == ModelUse.FastestInference, "Rtn", [new("Bits", "4")], "4 bits are few bytes to read for a token; CalibrationData would make it GPTQ, with half the loss"),
        new(w => w.IsCalibrated, "Gptq", [new("Bits", "4")], "with CalibrationData it loses least at 4 bits"),
        new(w => !w.HasGroups && !w.IsGiven("Bits"), "Int8", [new("OutlierThreshold", "0")],
            "without CalibrationData 8 bits lose next to nothing and 4 bits would lose more; CalibrationData would make it GPTQ with 4"),
        new(w => true, "Rtn", [new("Bits", "8")], "it reads no text, and there is no CalibrationData"),
    ];

    private readonly Row row;
    private readonly Func<string, string?> given;

    private AutoMethod(Row row, Func<string, string?> given) => (this.row, this.given) = (row, given);

    /// <summary>Whether the item itself says how many bits, or gives a budget.</summary>
    public bool IsWidthGiven => WidthNames.Any(name => !string.IsNullOrWhiteSpace(given(name)));

    /// <summary>The metadata of the item as if it had said what was chosen.</summary>
    /// <param name="name">A name of metadata.</param>
    public string? Metadata(string name)
    {
        if (name == Method) return row.Method;
        if (!string.IsNullOrWhiteSpace(given(name))) return given(name);
        // A budget decides the bits.
        if (name == "Bits" && IsWidthGiven) return null;
        return row.Settings.Where(setting => setting.Key == name).Select(setting => setting.Value).FirstOrDefault();
    }

    /// <summary>One line that says what was chosen and why.</summary>
    /// <param name="spec">The specification that <see cref="Metadata"/> gave.</param>
    public string Reason(QuantizationSpec spec)
    {
        string width = spec.TargetBitsPerWeight is not null ? $"{spec.WidthName} bits per weight" : spec.TargetSize is not null ? $"{spec.WidthName} in all" : $"{spec.WidthName} bits";
        string groups = spec.UsesBlocks ? $", blocks of {spec.BlockSize}" : spec.GroupSize == QuantizationSpec.PerChannel ? ", a scale for each row" : $", groups of {spec.GroupSize}";
        return $"Method=\"{Name}\" chose {spec.Method}, {width}{groups}: {row.Why}";
    }

    /// <summary>Chooses; <see langword="null"/> where the item names a method itself.</summary>
    /// <param name="metadata">The value of a name, or <see langword="null"/> or an empty text where it is not given.</param>
    /// <param name="isCalibrated">Whether calibration text is declared.</param>
    /// <exception cref="QuantBuildException">QB0006: <c>Use</c> cannot be read.</exception>
    public static AutoMethod? Choose(Func<string, string?> metadata, bool isCalibrated)
    {
        if (!string.Equals(metadata(Method)?.Trim(), Name, StringComparison.OrdinalIgnoreCase)) return null;
        Wish wish = new(metadata, isCalibrated);
        return new AutoMethod(Table.First(row => row.Fits(wish)), metadata);
    }

    /// <summary>A row of the table.</summary>
    /// <param name="Fits">Whether it is for an item.</param>
    /// <param name="Method">The method.</param>
    /// <param name="Settings">What else it sets, where the item does not.</param>
    /// <param name="Why">The reason.</param>
    private sealed record Row(Func<Wish, bool> Fits, string Method, IReadOnlyList<KeyValuePair<string, string>> Settings, string Why);

    /// <summary>What an item wants, as far as the table asks.</summary>
    private sealed class Wish(Func<string, string?> metadata, bool isCalibrated)
    {
        // At 3 bits and a usual group size, scales included. Below it, learned rounding pays.
        private const decimal Narrow = 3.2m;

        public ModelUse Use { get; } = ModelUses.Read(metadata(ModelUses.Name)) ?? ModelUse.Production;

        public bool IsCalibrated => isCalibrated;

        public bool HasBudget => IsGiven("TargetBitsPerWeight") || IsGiven("TargetSize");

        public bool IsNarrow => Bits is <= 3 || Number("TargetBitsPerWeight") is < Narrow;

        // A setting of methods that have groups.
        public bool HasGroups => IsGiven("GroupSize") || IsGiven("Symmetric");

        public decimal? Bits => Number("Bits");

        public bool IsGiven(string name) => !string.IsNullOrWhiteSpace(metadata(name));

        // What is not a number is an error of the specification, which says so.
        private decimal? Number(string name) =>
            decimal.TryParse(metadata(name), System.Globalization.NumberStyles.Number, System.Globalization.CultureInfo.InvariantCulture, out decimal value) ? value : null;
    }
}
