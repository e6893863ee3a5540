namespace QuantBuild;

/// <summary>What a model is quantized for. Decides what <c>Method="Auto"</c> chooses and which warnings make sense; never the bytes of a method that is named.</summary>
public enum ModelUse
{
    /// <summary>Programs that ship: small, fast, and as good as calibration makes it.</summary>
    Production,

    /// <summary>Work on a program: the build must be quick.</summary>
    Development,

    /// <summary>The frozen base of adapters that are trained on it, as in QLoRA.</summary>
    FineTuning,

    /// <summary>As close to the float model as quantization gets.</summary>
    MaximumAccuracy,

    /// <summary>The most tokens a second.</summary>
    FastestInference,
}

/// <summary>Reads the metadata <c>Use</c>.</summary>
public static class ModelUses
{
    /// <summary>The name of the metadata.</summary>
    public const string Name = "Use";

    /// <summary>Reads a use; <see langword="null"/> where none is given.</summary>
    /// <param name="text">The metadata's value.</param>
    /// <exception cref="QuantBuildException">QB0006.</exception>
    public static ModelUse? Read(string? text)
    {
        if (string.IsNullOrWhiteSpace(text)) return null;
        foreach (ModelUse use in (ModelUse[])Enum.GetValues(typeof(ModelUse)))
        {
            if (string.Equals(use.ToString(), text!.Trim(), StringComparison.OrdinalIgnoreCase)) return use;
        }

        throw new QuantBuildException(
            DiagnosticIds.MetadataInvalid,
            $"Use=\"{text}\" is not a use.{NearestName.Hint(text!, Enum.GetNames(typeof(ModelUse)))} It is one of {string.Join(", ", Enum.GetNames(typeof(ModelUse)))}; left out, it is {ModelUse.Production}.");
    }
}
