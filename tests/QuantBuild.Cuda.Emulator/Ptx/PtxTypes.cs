namespace QuantBuild.Cuda.Emulator;

/// <summary>What PTX's type names mean.</summary>
internal static class PtxTypes
{
    /// <summary>A type's size in bytes; a predicate counts 1.</summary>
    public static int Bytes(string type, int line) => type switch
    {
        "b8" or "u8" or "s8" or "pred" => 1,
        "b16" or "u16" or "s16" or "f16" or "bf16" => 2,
        "b32" or "u32" or "s32" or "f32" or "f16x2" or "bf16x2" or "tf32" => 4,
        "b64" or "u64" or "s64" or "f64" => 8,
        "b128" => 16,
        _ => throw new PtxException(line, $"unknown type '.{type}'"),
    };

    public static bool IsType(string word) => word is "b8" or "u8" or "s8" or "pred" or "b16" or "u16" or "s16" or "f16" or "bf16" or "b32" or "u32" or "s32" or "f32" or "f16x2" or "bf16x2" or "tf32"
        or "b64" or "u64" or "s64" or "f64" or "b128";

    /// <summary>An immediate's bits as a value of <paramref name="type"/>.</summary>
    public static ulong Bits(PtxImmediate immediate, string type) => (immediate.Kind, type) switch
    {
        (TokenKind.Float64, "f32") => BitConverter.SingleToUInt32Bits((float)BitConverter.UInt64BitsToDouble(immediate.Bits)),
        (TokenKind.Float32, "f64") => BitConverter.DoubleToUInt64Bits(BitConverter.UInt32BitsToSingle((uint)immediate.Bits)),
        (TokenKind.Integer, "f32") => BitConverter.SingleToUInt32Bits((long)immediate.Bits),
        (TokenKind.Integer, "f64") => BitConverter.DoubleToUInt64Bits((long)immediate.Bits),
        _ => immediate.Bits,
    };
}
