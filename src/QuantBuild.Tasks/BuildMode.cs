namespace QuantBuild.Tasks;

/// <summary>What a build does about models that are not made yet: the property <c>QuantBuildMode</c>.</summary>
internal enum BuildMode
{
    /// <summary>Takes what a cache has, and quantizes the rest.</summary>
    Auto,

    /// <summary>Takes what a cache has, and fails on the rest: for machines that should not quantize.</summary>
    CacheOnly,

    /// <summary>Quantizes each model again, whatever a cache has.</summary>
    Force,
}

/// <summary>Reads <see cref="BuildMode"/>.</summary>
internal static class BuildModes
{
    /// <summary>The name of the property.</summary>
    public const string PropertyName = "QuantBuildMode";

    /// <summary>Reads a mode; an empty text is <see cref="BuildMode.Auto"/>.</summary>
    /// <exception cref="QuantBuildException">QB0006: there is no such mode.</exception>
    public static BuildMode Read(string text)
    {
        if (text.Length == 0) return BuildMode.Auto;
        string[] names = Enum.GetNames(typeof(BuildMode));
        if (names.Contains(text, StringComparer.OrdinalIgnoreCase)) return (BuildMode)Enum.Parse(typeof(BuildMode), text, ignoreCase: true);
        throw new QuantBuildException(DiagnosticIds.MetadataInvalid, $"{PropertyName} is \"{text}\", expected one of {string.Join(", ", names)}.{NearestName.Hint(text, names)} Set the property to one of them, or leave it out for Auto.");
    }
}
