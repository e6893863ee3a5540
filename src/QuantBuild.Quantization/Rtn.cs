using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>Round to nearest: each weight goes to the nearest point of its group's grid.</summary>
public static class Rtn
{
    /// <summary>Quantizes a weight.</summary>
    /// <param name="weight">float32 [N, K] on any device; not changed.</param>
    /// <param name="spec">Bits, group size and symmetry.</param>
    /// <param name="hessian">
    /// Of the linear's inputs, float32 [K, K], where each group's grid is to have the least error in the outputs; else it has the least error in the weights.
    /// </param>
    public static AffineLinear Quantize(torch.Tensor weight, QuantizationSpec spec, torch.Tensor? hessian = null)
    {
        (int outputs, int inputs) = ((int)weight.shape[0], (int)weight.shape[1]);
        AffineLinear result = new(outputs, inputs, spec.Bits, spec.GroupSize == QuantizationSpec.PerChannel ? inputs : spec.GroupSize, spec.Symmetric);
        HessianBlocks? blocks = hessian is null ? null : new(hessian, result.GroupSize);
        ForEachTile(weight, (rows, firstRow) => Quantize(result, new AffineGrid(spec.Bits, spec.Symmetric), blocks, rows, firstRow, rounds: true));
        return result;
    }

    /// <summary>Chooses the scales and zero points of a linear's groups as <see cref="Quantize(torch.Tensor, QuantizationSpec, torch.Tensor)"/> does, and rounds nothing yet.</summary>
    internal static void FitGroups(torch.Tensor weight, AffineLinear result, AffineGrid grid) =>
        ForEachTile(weight, (rows, firstRow) => Quantize(result, grid, null, rows, firstRow, rounds: false));

    private static unsafe void ForEachTile(torch.Tensor weight, Action<IntPtr, int> quantize)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor host = weight.cpu().contiguous();
        fixed (byte* bytes = host.bytes)
        {
            IntPtr rows = (IntPtr)bytes;
            Parallel.For(0, AffineGrid.Tiles((int)weight.shape[0]), tile => quantize(rows, tile * AffineGrid.Lanes));
        }
    }

    private static unsafe void Quantize(AffineLinear result, AffineGrid grid, HessianBlocks? blocks, IntPtr rows, int firstRow, bool rounds)
    {
        Span<float> scales = stackalloc float[AffineGrid.Lanes], zeros = stackalloc float[AffineGrid.Lanes];
        Span<float> values = stackalloc float[AffineGrid.Lanes], ignored = stackalloc float[AffineGrid.Lanes];
        float[] group = new float[result.GroupSize * AffineGrid.Lanes];
        byte[] integers = new byte[rounds ? group.Length : 0];
        int lanes = Math.Min(AffineGrid.Lanes, result.Outputs - firstRow);
        for (int start = 0; start < result.Inputs; start += result.GroupSize)
        {
            for (int lane = 0; lane < lanes; lane++)
            {
                float* row = (float*)rows + ((long)(firstRow + lane) * result.Inputs) + start;
                for (int column = 0; column < result.GroupSize; column++) group[(column * AffineGrid.Lanes) + lane] = row[column];
            }

            if (blocks is null) grid.Fit(group, scales, zeros);
            else grid.Fit(group, blocks[start / result.GroupSize], blocks.Width, scales, zeros);
            result.SetGroup(firstRow, start / result.GroupSize, scales, zeros);
            for (int i = 0; i < integers.Length; i += AffineGrid.Lanes)
            {
                grid.Round(group.AsSpan(i), scales, zeros, values, ignored);
                for (int lane = 0; lane < AffineGrid.Lanes; lane++) integers[i + lane] = (byte)values[lane];
            }

            if (rounds) result.SetColumns(firstRow, start, integers);
        }
    }
}
