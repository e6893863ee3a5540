namespace QuantBuild;

/// <summary>How many bytes a quantized linear takes in an artifact, known before anything is quantized.</summary>
public static class PackedSize
{
    // The formats pad a weight to whole tiles of so many rows, and rows to whole chunks of so many inputs.
    private const int TileRows = 8;
    private const int ChunkInputs = 32;

    // Scales of NF4 and FP4 that share one of their own.
    private const int NestedBlock = 256;

    /// <summary>Bytes of all tensors of a linear: values, scales, zero points, order.</summary>
    /// <param name="spec">How it is quantized.</param>
    /// <param name="linear">Which one: N outputs, K inputs.</param>
    public static long Of(QuantizationSpec spec, LinearShape linear)
    {
        long outputs = linear.Outputs, inputs = linear.Inputs;
        long padded = (inputs + ChunkInputs - 1) / ChunkInputs * ChunkInputs;
        long rows = (outputs + TileRows - 1) / TileRows * TileRows;
        if (spec.UsesBlocks)
        {
            long blocks = ((outputs * inputs) + spec.BlockSize - 1) / spec.BlockSize;
            long scales = spec.DoubleQuantization ? blocks + (((blocks + NestedBlock - 1) / NestedBlock) + 1) * sizeof(float) : blocks * sizeof(float);
            return (rows * padded / 2) + scales;
        }

        if (spec.Method == QuantizationMethod.Mxfp4) return (rows * padded / 2) + (((outputs * inputs) + spec.GroupSize - 1) / spec.GroupSize);
        if (spec.Method == QuantizationMethod.Int8) return rows * (padded + sizeof(float));
        long groups = rows * (spec.GroupSize == QuantizationSpec.PerChannel ? 1 : inputs / spec.GroupSize);
        long order = spec is { Method: QuantizationMethod.Gptq, ActOrder: true, StaticGroups: false } ? inputs * sizeof(int) : 0;
        return (rows * padded * spec.Bits / 8) + (groups * (spec.Symmetric ? 2 : 3)) + order;
    }
}
