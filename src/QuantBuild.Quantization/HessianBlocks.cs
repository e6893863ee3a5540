using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// A Hessian along its diagonal, in blocks of a group's columns: what a group's rounding errors cost in the linear's outputs, by themselves. A group of more
/// than <see cref="Largest"/> columns has several blocks, so that the cost of looking grows with its columns and not with their square.
/// </summary>
internal sealed class HessianBlocks
{
    /// <summary>The largest number of columns of a block.</summary>
    public const int Largest = 128;

    private readonly float[] values;
    private readonly int groupSize;

    /// <summary>Takes the blocks of a Hessian.</summary>
    /// <param name="hessian">float32 [K, K].</param>
    /// <param name="groupSize">Columns of a group; divides K.</param>
    public HessianBlocks(torch.Tensor hessian, int groupSize)
    {
        this.groupSize = groupSize;
        Width = Math.Min(Largest, groupSize);
        int inputs = (int)hessian.shape[0];
        values = new float[(long)inputs / groupSize * BlocksOfGroup * Width * Width];
        for (int column = 0, at = 0; column < inputs; at += Width * Width)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            int columns = Math.Min(Width, groupSize - (column % groupSize));
            torch.Tensor block = hessian.narrow(0, column, columns).narrow(1, column, columns);
            float[] rows = block.tril().Plus(block.tril(-1)).cpu().contiguous().data<float>().ToArray();
            for (int row = 0; row < columns; row++) rows.AsSpan(row * columns, columns).CopyTo(values.AsSpan(at + (row * Width)));
            column += columns;
        }
    }

    /// <summary>Columns of a block; the last of a group may have fewer.</summary>
    public int Width { get; }

    /// <summary>
    /// The blocks of a group, [blocks, width, width]: of each its lower triangle, what is below the diagonal twice, so that <c>sum_i e_i sum_(j &lt;= i) L_ij e_j = e^T H e</c>.
    /// </summary>
    public ReadOnlySpan<float> this[int group] => values.AsSpan(group * BlocksOfGroup * Width * Width, BlocksOfGroup * Width * Width);

    private int BlocksOfGroup => (groupSize + Width - 1) / Width;
}
