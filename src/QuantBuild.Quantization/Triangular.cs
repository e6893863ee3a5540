using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// Factorizations of large matrices in place and in blocks, whose products run side by side. Torch's own would use one thread only, see <see cref="OrderedSteps"/>;
/// the blocks depend on the size of the matrix alone, so the bits do not depend on the number of processors.
/// </summary>
internal static class Triangular
{
    private const int BlockSize = 256;

    /// <summary>Finds the upper triangular R with <c>A = R R^T</c>: a Cholesky factorization from the last column to the first.</summary>
    /// <param name="matrix">A, float32 [K, K], symmetric; becomes R, but for the blocks below its diagonal: those are neither read nor written.</param>
    /// <returns>Whether A is positive definite; if not, it is left half-way.</returns>
    public static bool FactorUpper(torch.Tensor matrix)
    {
        int size = (int)matrix.shape[0];
        for (int start = (Blocks(size) - 1) * BlockSize; start >= 0; start -= BlockSize)
        {
            using DisposeScope step = torch.NewDisposeScope();
            int end = Math.Min(size, start + BlockSize);
            torch.Tensor diagonal = Block(matrix, start, end, start, end);
            (torch.Tensor lower, torch.Tensor info) = torch.linalg.cholesky_ex(diagonal.flip(0, 1));
            if (info.cpu().data<int>()[0] != 0) return false;
            torch.Tensor factor = lower.flip(0, 1).contiguous();
            diagonal.copy_(factor);
            // Above the diagonal block X R^T = A; then what is left of A loses X X^T, of which the upper half is needed.
            torch.Tensor transposed = factor.t();
            OrderedSteps.Run(matrix.device, Blocks(start), i =>
            {
                torch.Tensor rows = Block(matrix, i * BlockSize, RowEnd(i), start, end);
                rows.copy_(torch.linalg.solve_triangular(transposed, rows, upper: false, left: false));
            });
            OrderedSteps.Run(matrix.device, Blocks(start), i => Block(matrix, i * BlockSize, RowEnd(i), i * BlockSize, start).addmm_(
                Block(matrix, i * BlockSize, RowEnd(i), start, end), Block(matrix, i * BlockSize, start, start, end).t(), beta: 1, alpha: -1));

            int RowEnd(int i) => Math.Min(start, (i + 1) * BlockSize);
        }

        return true;
    }

    /// <summary>Inverts an upper triangular matrix.</summary>
    /// <remarks>
    /// <c>[[A, B], [0, C]]^-1 = [[A^-1, -A^-1 B C^-1], [0, C^-1]]</c>, one column of blocks after the other.
    /// </remarks>
    /// <param name="matrix">float32 [K, K], with zeros below the diagonal in the blocks on it; becomes its inverse. Blocks below those are neither read nor written.</param>
    public static void InvertUpper(torch.Tensor matrix)
    {
        int size = (int)matrix.shape[0];
        for (int start = 0; start < size; start += BlockSize)
        {
            using DisposeScope step = torch.NewDisposeScope();
            int end = Math.Min(size, start + BlockSize);
            torch.Tensor diagonal = Block(matrix, start, end, start, end);
            torch.Tensor identity = torch.eye(end - start, dtype: torch.float32, device: matrix.device);
            torch.Tensor inverse = torch.linalg.solve_triangular(diagonal, identity, upper: true);
            diagonal.copy_(inverse);
            if (start == 0) continue;
            torch.Tensor right = torch.empty(start, end - start, torch.float32, matrix.device);
            torch.Tensor negative = inverse.neg();
            OrderedSteps.Run(matrix.device, Blocks(start), i => Block(right, i * BlockSize, RowEnd(i), 0, end - start).copy_(
                Block(matrix, i * BlockSize, RowEnd(i), start, end).mm(negative)));
            // Row i of A^-1 begins at its diagonal.
            OrderedSteps.Run(matrix.device, Blocks(start), i => Block(matrix, i * BlockSize, RowEnd(i), start, end).copy_(
                Block(matrix, i * BlockSize, RowEnd(i), i * BlockSize, start).mm(right.narrow(0, i * BlockSize, start - (i * BlockSize)))));

            int RowEnd(int i) => Math.Min(start, (i + 1) * BlockSize);
        }
    }

    /// <summary>Sets the blocks below the diagonal to zero, which <see cref="FactorUpper"/> and <see cref="InvertUpper"/> leave as they were.</summary>
    public static void ClearLower(torch.Tensor matrix)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        int size = (int)matrix.shape[0];
        for (int start = BlockSize; start < size; start += BlockSize) Block(matrix, start, Math.Min(size, start + BlockSize), 0, start).zero_();
    }

    /// <summary>Copies of the blocks on the diagonal, [size, size] each: with them and what is below them, a symmetric matrix that was factored can be had back.</summary>
    public static torch.Tensor[] Diagonal(torch.Tensor matrix)
    {
        int size = (int)matrix.shape[0];
        return
        [
            .. Enumerable.Range(0, Blocks(size)).Select(i => i * BlockSize).Select(start =>
            {
                int end = Math.Min(size, start + BlockSize);
                return Block(matrix, start, end, start, end).clone();
            }),
        ];
    }

    /// <summary>Makes a symmetric matrix what it was before <see cref="FactorUpper"/> or <see cref="InvertUpper"/>.</summary>
    /// <param name="matrix">[K, K], with the blocks below the diagonal as they were.</param>
    /// <param name="diagonal">What <see cref="Diagonal"/> gave before.</param>
    public static void Restore(torch.Tensor matrix, torch.Tensor[] diagonal)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        int size = (int)matrix.shape[0];
        for (int i = 0; i < diagonal.Length; i++)
        {
            int start = i * BlockSize, end = Math.Min(size, start + BlockSize);
            Block(matrix, start, end, start, end).copy_(diagonal[i]);
            Block(matrix, 0, start, start, end).copy_(Block(matrix, start, end, 0, start).t());
        }
    }

    /// <summary>Brings the rows and the columns of a symmetric matrix into an order, in place.</summary>
    /// <param name="matrix">[K, K].</param>
    /// <param name="order">Which row and column comes at each place, int64 [K].</param>
    public static void Permute(torch.Tensor matrix, torch.Tensor order)
    {
        int size = (int)matrix.shape[0];
        foreach (int dimension in new[] { 0, 1 })
        {
            // A strip goes through both, whole along the one that is brought into order.
            OrderedSteps.Run(matrix.device, Blocks(size), i =>
            {
                torch.Tensor strip = matrix.narrow(1 - dimension, i * BlockSize, Math.Min(BlockSize, size - (i * BlockSize)));
                strip.copy_(strip.index_select(dimension, order));
            });
        }
    }

    private static torch.Tensor Block(torch.Tensor matrix, int row, int rowEnd, int column, int columnEnd) =>
        matrix.narrow(0, row, rowEnd - row).narrow(1, column, columnEnd - column);

    private static int Blocks(int size) => (size + BlockSize - 1) / BlockSize;
}
