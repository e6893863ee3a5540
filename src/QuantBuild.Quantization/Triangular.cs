using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// Factorizations of large matrices in blocks, whose products run side by side. Torch's own would use one thread only, see <see cref="OrderedSteps"/>; the blocks
/// depend on the size of the matrix alone, so the bits do not depend on the number of processors.
/// </summary>
internal static class Triangular
{
    private const int BlockSize = 256;

    /// <summary>The lower triangular L with <c>A = L L^T</c>; <see langword="null"/> where A is not positive definite.</summary>
    /// <param name="matrix">A, float32 [K, K], symmetric; becomes L.</param>
    public static torch.Tensor? Cholesky(torch.Tensor matrix)
    {
        int size = (int)matrix.shape[0];
        for (int start = 0; start < size; start += BlockSize)
        {
            using DisposeScope step = torch.NewDisposeScope();
            int end = Math.Min(size, start + BlockSize);
            torch.Tensor diagonal = Block(matrix, start, end, start, end);
            (torch.Tensor factor, torch.Tensor info) = torch.linalg.cholesky_ex(diagonal);
            if (info.cpu().data<int>()[0] != 0) return null;
            diagonal.copy_(factor);
            torch.Tensor upper = factor.t();
            // Below the diagonal block X L^T = A; then the rest loses X X^T, of which the lower half is needed.
            OrderedSteps.Run(Blocks(size - end), i =>
            {
                torch.Tensor rows = Block(matrix, Row(i), RowEnd(i), start, end);
                rows.copy_(torch.linalg.solve_triangular(upper, rows, upper: true, left: false));
            });
            OrderedSteps.Run(Blocks(size - end), i => Block(matrix, Row(i), RowEnd(i), end, RowEnd(i)).addmm_(
                Block(matrix, Row(i), RowEnd(i), start, end), Block(matrix, end, RowEnd(i), start, end).t(), beta: 1, alpha: -1));

            int Row(int i) => end + (i * BlockSize);
            int RowEnd(int i) => Math.Min(size, Row(i) + BlockSize);
        }

        return matrix.tril();
    }

    /// <summary>The inverse of an upper triangular matrix, float32 [K, K].</summary>
    /// <remarks>
    /// <c>[[A, B], [0, C]]^-1 = [[A^-1, -A^-1 B C^-1], [0, C^-1]]</c>, one column of blocks after the other; what is below the diagonal of the matrix is not read.
    /// </remarks>
    public static torch.Tensor InverseOfUpper(torch.Tensor matrix)
    {
        int size = (int)matrix.shape[0];
        torch.Tensor inverse = torch.zeros_like(matrix);
        for (int start = 0; start < size; start += BlockSize)
        {
            using DisposeScope step = torch.NewDisposeScope();
            int end = Math.Min(size, start + BlockSize);
            torch.Tensor diagonal = Block(inverse, start, end, start, end);
            torch.Tensor identity = torch.eye(end - start, dtype: torch.float32, device: matrix.device);
            diagonal.copy_(torch.linalg.solve_triangular(Block(matrix, start, end, start, end), identity, upper: true));
            if (start == 0) continue;
            torch.Tensor right = Block(matrix, 0, start, start, end).matmul(diagonal).neg();
            OrderedSteps.Run(Blocks(start), i =>
            {
                // Row i of A^-1 begins at its diagonal.
                int row = i * BlockSize, rowEnd = Math.Min(start, row + BlockSize);
                Block(inverse, row, rowEnd, start, end).copy_(Block(inverse, row, rowEnd, row, start).matmul(right.narrow(0, row, start - row)));
            });
        }

        return inverse;
    }

    private static torch.Tensor Block(torch.Tensor matrix, int row, int rowEnd, int column, int columnEnd) =>
        matrix.narrow(0, row, rowEnd - row).narrow(1, column, columnEnd - column);

    private static int Blocks(int size) => (size + BlockSize - 1) / BlockSize;
}
