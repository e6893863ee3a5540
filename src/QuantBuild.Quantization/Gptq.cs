using System.Numerics;
using System.Runtime.InteropServices;
using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// GPTQ (Frantar et al., 2022, arXiv:2210.17323): the columns of a weight are quantized one after the other, and the error of each is made
/// good, as far as second-order information says it can be, by the columns that are not quantized yet.
/// </summary>
/// <remarks>
/// For column j with the rounded weight q_j and U of <see cref="InverseFactor"/>: <c>e = (w_j - q_j) / U_jj</c>, then <c>w_k -= e U_jk</c> for
/// k > j. Within a block of 128 columns that is done at once, for the columns after the block by one matrix product. Rows do not
/// depend on each other: a tile of rows goes through a block on one core, in its first-level cache. With the weight on a GPU too: a column there would take some ten launches of kernels, a block
/// takes two copies to the host and one back, and one product. Unlike the paper's
/// code, a group's grid is chosen when its first column is reached, from weights that have every update so far; with static groups all grids are chosen
/// before, from the weights as they are, and a column keeps the group of its input in whatever order columns come.
/// </remarks>
public static class Gptq
{
    internal const int BlockSize = 128;

    // Columns that one product updates on a CPU: see OrderedSteps.
    private const int UpdateRows = 256;

    /// <summary>Quantizes a weight.</summary>
    /// <param name="weight">float32 [N, K] on any device; not changed.</param>
    /// <param name="factor">Of the Hessian of the linear's inputs.</param>
    /// <param name="spec">Bits, group size and symmetry.</param>
    /// <param name="cancellationToken">Looked at between blocks.</param>
    /// <exception cref="QuantBuildException">QB3006: an error that is passed on to the columns after it is not a finite number.</exception>
    public static AffineLinear Quantize(
        torch.Tensor weight, InverseFactor factor, QuantizationSpec spec, CancellationToken cancellationToken = default)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        (int outputs, int inputs) = ((int)weight.shape[0], (int)weight.shape[1]);
        int groupSize = spec.GroupSize == QuantizationSpec.PerChannel ? inputs : spec.GroupSize;
        bool isStatic = spec.StaticGroups && factor.Order is not null;
        AffineLinear result = new(outputs, inputs, spec.Bits, groupSize, spec.Symmetric) { Order = isStatic ? null : factor.Order };

        // [K, N]: a column of the weight is contiguous.
        torch.Tensor columns = factor.Order is null
            ? torch.empty(inputs, outputs, torch.float32, weight.device).copy_(weight.t())
            : weight.t().index_select(0, torch.tensor(factor.Order, torch.int64, weight.device));
        for (int column = 0; column < inputs; column++)
        {
            if (factor.Dead[column]) columns[column].zero_();
        }

        AffineGrid grid = new(spec.Bits, spec.Symmetric);
        if (isStatic) FitGroups(columns, factor.Places!, result, grid);
        Block block = new(result, grid, isStatic ? factor.Order : null);
        for (int start = 0; start < inputs;)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using DisposeScope step = torch.NewDisposeScope();
            int end = Math.Min(inputs, start + BlockLength(start, groupSize));
            bool wideGroup = !isStatic && groupSize > BlockSize && start % groupSize == 0;
            torch.Tensor rows = columns.narrow(0, start, wideGroup ? groupSize : end - start).cpu();
            torch.Tensor errors = torch.empty(end - start, outputs, torch.float32);
            // The block's rows of U, [end - start, K], of which the loop over its columns needs those that are in the block.
            torch.Tensor upper = factor.Upper.narrow(0, start, end - start);
            block.Quantize(rows, errors, upper.narrow(1, start, end - start).cpu().contiguous(), start, end);
            // What is not a number would round to 0 in the columns that follow, and nobody would see it.
            if (!errors.AllFinite()) throw Overflow(factor.Name);
            if (end < inputs) Spread(columns, errors.to(weight.device), upper, end, cancellationToken);

            start = end;
        }

        return result;
    }

    /// <summary>Chooses all groups before the first column.</summary>
    private static void FitGroups(torch.Tensor columns, int[] places, AffineLinear result, AffineGrid grid)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        Rtn.FitGroups(columns.index_select(0, torch.tensor(places, torch.int64, columns.device)).t(), result, grid);
    }

    /// <summary>Takes a block's errors, as far as they have influence on them, from the columns after it.</summary>
    /// <param name="columns">The weight, [K, N].</param>
    /// <param name="errors">Of the block, [block, N].</param>
    /// <param name="upper">The block's rows of U, [block, K].</param>
    /// <param name="end">The first column after the block.</param>
    /// <param name="cancellationToken">Looked at between parts.</param>
    internal static void Spread(torch.Tensor columns, torch.Tensor errors, torch.Tensor upper, int end, CancellationToken cancellationToken)
    {
        int left = (int)columns.shape[0] - end, rows = OrderedSteps.Rows(columns.device, UpdateRows, left);
        OrderedSteps.Run(
            columns.device,
            (left + rows - 1) / rows,
            i =>
            {
                int first = end + (i * rows), count = Math.Min(rows, left - (i * rows));
                columns.narrow(0, first, count).addmm_(upper.narrow(1, first, count).t(), errors, beta: 1, alpha: -1);
            },
            cancellationToken);
    }

    private static QuantBuildException Overflow(string name) => new(
        DiagnosticIds.NonFinite,
        $"{name}, or a linear that shares its inputs: a rounding error overflows float32. Its weights are too large for the 16-bit scales, or its Hessian is close to singular. " +
        "Set Damping to 0.1, or Method to Rtn; if the weights are damaged, copy the model again.");

    /// <summary>
    /// A block never begins inside a group that fits into one, and a group that is larger than a block begins with a block: at a group's
    /// first column all its columns have every update.
    /// </summary>
    private static int BlockLength(int start, int groupSize) =>
        groupSize <= BlockSize ? BlockSize / groupSize * groupSize : Math.Min(BlockSize, groupSize - (start % groupSize));

    /// <summary>The loop over the columns of a block, on the host's cores.</summary>
    /// <param name="result">Receives the values.</param>
    /// <param name="grid">The grid of a group.</param>
    /// <param name="inputOf">The input of each column where groups are static, and were chosen already.</param>
    internal sealed unsafe class Block(AffineLinear result, AffineGrid grid, int[]? inputOf)
    {
        private const int Lanes = AffineGrid.Lanes;

        // The grid of the group that the current column is in, for each row: a group can span blocks.
        private readonly float[] scales = new float[AffineGrid.Tiles(result.Outputs) * Lanes];
        private readonly float[] zeros = new float[AffineGrid.Tiles(result.Outputs) * Lanes];

        /// <summary>Quantizes columns.</summary>
        /// <param name="rows">The columns from <paramref name="start"/> as rows, [at least end - start, N]; a group larger than a block is here whole.</param>
        /// <param name="errors">Receives each column's error over its diagonal, [end - start, N].</param>
        /// <param name="upper">The columns' part of U, [end - start, end - start].</param>
        /// <param name="start">The first column.</param>
        /// <param name="end">One after the last column.</param>
        public void Quantize(torch.Tensor rows, torch.Tensor errors, torch.Tensor upper, int start, int end)
        {
            int available = (int)rows.shape[0];
            fixed (byte* rowBytes = rows.bytes, errorBytes = errors.bytes, upperBytes = upper.bytes)
            {
                float* w = (float*)rowBytes, e = (float*)errorBytes, u = (float*)upperBytes;
                Parallel.For(0, AffineGrid.Tiles(result.Outputs), tile => QuantizeTile(w, e, u, available, start, end, tile * Lanes));
            }
        }

        private void QuantizeTile(float* w, float* e, float* u, int available, int start, int end, int firstRow)
        {
            int lanes = Math.Min(Lanes, result.Outputs - firstRow);
            float[] tile = new float[available * Lanes];
            for (int j = 0; j < available; j++)
            {
                new ReadOnlySpan<float>(w + ((long)j * result.Outputs) + firstRow, lanes).CopyTo(tile.AsSpan(j * Lanes));
            }

            Span<float> scale = scales.AsSpan(firstRow, Lanes), zero = zeros.AsSpan(firstRow, Lanes);
            Span<float> values = stackalloc float[Lanes], dequantized = stackalloc float[Lanes], error = stackalloc float[Lanes];
            Span<byte> integers = stackalloc byte[BlockSize * Lanes];
            for (int column = start; column < end; column++)
            {
                int j = column - start;
                Span<float> current = tile.AsSpan(j * Lanes, Lanes);
                if (inputOf is not null)
                {
                    result.GetGroup(firstRow, inputOf[column] / result.GroupSize, scale, zero);
                }
                else if (column % result.GroupSize == 0)
                {
                    grid.Fit(tile.AsSpan(j * Lanes, result.GroupSize * Lanes), scale, zero);
                    result.SetGroup(firstRow, column / result.GroupSize, scale, zero);
                }

                grid.Round(current, scale, zero, values, dequantized);
                if (inputOf is not null) result.SetColumn(firstRow, inputOf[column], values);
                else for (int lane = 0; lane < Lanes; lane++) integers[(j * Lanes) + lane] = (byte)values[lane];

                float* row = u + (j * (end - start));
                Vector<float> diagonal = new(row[j]);
                for (int lane = 0; lane < Lanes; lane += Vector<float>.Count)
                {
                    ((new Vector<float>(current[lane..]) - new Vector<float>(dequantized[lane..])) / diagonal).CopyTo(error[lane..]);
                }

                error[..lanes].CopyTo(new Span<float>(e + ((long)j * result.Outputs) + firstRow, lanes));
                Spread(error, row + j + 1, tile.AsSpan((j + 1) * Lanes, (end - column - 1) * Lanes));
            }

            if (inputOf is null) result.SetColumns(firstRow, start, integers[..((end - start) * Lanes)]);
        }

        /// <summary>Takes a column's error, as far as it has influence on them, from the columns after it.</summary>
        private static void Spread(ReadOnlySpan<float> error, float* influence, Span<float> columns)
        {
            ref float first = ref MemoryMarshal.GetReference(columns);
            nuint other = (nuint)Vector<float>.Count;
            // Two vectors side by side, which share what each column is multiplied by: a tile has an even number of them.
            for (int lane = 0; lane < Lanes; lane += 2 * Vector<float>.Count)
            {
                Vector<float> e0 = new(error[lane..]), e1 = new(error[(lane + Vector<float>.Count)..]);
                nuint i = (nuint)lane;
                for (int k = 0; k < columns.Length / Lanes; k++, i += Lanes)
                {
                    // Multiply and subtract apart: a fused instruction would make other bits on a machine that lacks it.
                    Vector<float> u = new(influence[k]);
                    (Vector.LoadUnsafe(ref first, i) - (e0 * u)).StoreUnsafe(ref first, i);
                    (Vector.LoadUnsafe(ref first, i + other) - (e1 * u)).StoreUnsafe(ref first, i + other);
                }
            }
        }
    }
}
