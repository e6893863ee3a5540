namespace QuantBuild;

/// <summary>The element types of the safetensors format.</summary>
public enum ElementType
{
    /// <summary>64-bit floating point.</summary>
    F64,

    /// <summary>32-bit floating point.</summary>
    F32,

    /// <summary>16-bit floating point, 5 exponent bits.</summary>
    F16,

    /// <summary>16-bit floating point, 8 exponent bits: the upper half of an F32.</summary>
    BF16,

    /// <summary>8-bit floating point, 4 exponent bits.</summary>
    F8E4M3,

    /// <summary>8-bit floating point, 5 exponent bits.</summary>
    F8E5M2,

    /// <summary>64-bit signed integer.</summary>
    I64,

    /// <summary>32-bit signed integer.</summary>
    I32,

    /// <summary>16-bit signed integer.</summary>
    I16,

    /// <summary>8-bit signed integer.</summary>
    I8,

    /// <summary>64-bit unsigned integer.</summary>
    U64,

    /// <summary>32-bit unsigned integer.</summary>
    U32,

    /// <summary>16-bit unsigned integer.</summary>
    U16,

    /// <summary>8-bit unsigned integer.</summary>
    U8,

    /// <summary>A byte that is 0 or 1.</summary>
    Bool,
}

/// <summary>Sizes and names of the element types.</summary>
public static class ElementTypes
{
    // In the order of the enumeration.
    private static readonly string[] Names =
        ["F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"];

    /// <summary>The names of all element types as safetensors headers write them.</summary>
    public static IReadOnlyList<string> AllNames => Names;

    /// <summary>Bytes of one element.</summary>
    public static int Size(this ElementType type) => type switch
    {
        ElementType.F64 or ElementType.I64 or ElementType.U64 => 8,
        ElementType.F32 or ElementType.I32 or ElementType.U32 => 4,
        ElementType.F16 or ElementType.BF16 or ElementType.I16 or ElementType.U16 => 2,
        _ => 1,
    };

    /// <summary>The name that a safetensors header gives the type, such as <c>BF16</c>.</summary>
    public static string HeaderName(this ElementType type) => Names[(int)type];

    /// <summary>The type of a name in a safetensors header, or <see langword="null"/> where there is none.</summary>
    public static ElementType? Parse(string headerName)
    {
        int index = Array.IndexOf(Names, headerName);
        return index < 0 ? null : (ElementType)index;
    }
}
