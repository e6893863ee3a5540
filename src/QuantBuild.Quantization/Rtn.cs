using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>Round to nearest: each weight goes to the nearest point of its group's grid.</summary>
public static class Rtn
{
    /// <summary>Quantizes a weight.</summary>
    /// <param name="weight">float32 [N, K] on any device; not changed.</param>
    /// <param name="spec">Bits, group size and symmetry.</param>
    public static unsafe AffineLinear Quantize(torch.Tensor weight, QuantizationSpec spec)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        (int outputs, int inputs) = ((int)weight.shape[0], (int)weight.shape[1]);
        int groupSize = spec.GroupSize == QuantizationSpec.PerChannel ? inputs : spec.GroupSize;
        AffineLinear result = new(outputs, inputs, spec.Bits, groupSize, spec.Symmetric);
        AffineGrid grid = new(spec.Bits, spec.Symmetric);
        torch.Tensor host = weight.cpu().contiguous();
        fixed (byte* bytes = host.bytes)
        {
            float* rows = (float*)bytes;
            Parallel.For(0, AffineGrid.Tiles(outputs), tile => QuantizeTile(result, grid, rows, tile * AffineGrid.Lanes));
        }

        return result;
    }

    private static unsafe void QuantizeTile(AffineLinear result, AffineGrid grid, float* rows, int firstRow)
    {
        Span<float> scales = stackalloc float[AffineGrid.Lanes], zeros = stackalloc float[AffineGrid.Lanes];
        Span<float> values = stackalloc float[AffineGrid.Lanes], ignored = stackalloc float[AffineGrid.Lanes];
        float[] group = new float[result.GroupSize * AffineGrid.Lanes];
        int lanes = Math.Min(AffineGrid.Lanes, result.Outputs - firstRow);
        for (int start = 0; start < result.Inputs; start += result.GroupSize)
        {
            for (int lane = 0; lane < lanes; lane++)
            {
                float* row = rows + ((long)(firstRow + lane) * result.Inputs) + start;
                for (int column = 0; column < result.GroupSize; column++) group[(column * AffineGrid.Lanes) + lane] = row[column];
            }

            grid.Fit(group, scales, zeros);
            result.SetGroup(firstRow, start / result.GroupSize, scales, zeros);
            for (int column = 0; column < result.GroupSize; column++)
            {
                grid.Round(group.AsSpan(column * AffineGrid.Lanes), scales, zeros, values, ignored);
                result.SetColumn(firstRow, start + column, values);
            }
        }
    }
}
