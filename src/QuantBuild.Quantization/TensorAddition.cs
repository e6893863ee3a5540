using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// Sums of tensors that no garbage collection can break. TorchSharp turns a number that it passes on into a <c>Scalar</c> and does not keep that alive
/// through the native call: a collection on another thread in that moment frees it under the call. <c>a + b</c> is <c>a + 1 * b</c>
/// and makes such a number; here it lives as long as the process. (<c>square</c>, <c>pow</c>, and operations with a number for an
/// operand make one too: this project gives them tensors.)
/// </summary>
internal static class TensorAddition
{
    private static readonly Scalar One = 1f;

    private const long RowsAtOnce = 1024;

    /// <summary>The sum of two tensors.</summary>
    public static torch.Tensor Plus(this torch.Tensor left, torch.Tensor right) => left.add(right, One);

    /// <summary>The difference of two tensors.</summary>
    public static torch.Tensor Minus(this torch.Tensor left, torch.Tensor right)
    {
        using torch.Tensor negative = right.neg();
        return left.Plus(negative);
    }

    /// <summary>Adds slices of another tensor to some of this one's.</summary>
    public static void PlusInPlace(this torch.Tensor left, long dimension, torch.Tensor places, torch.Tensor added) => left.index_add_(dimension, places, added, One);

    /// <summary>Adds a matrix that may be on another device to this one: a part at a time, as it is large.</summary>
    public static void PlusFrom(this torch.Tensor sum, torch.Tensor other)
    {
        for (long first = 0, rows = sum.shape[0]; first < rows; first += RowsAtOnce)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            long count = Math.Min(RowsAtOnce, rows - first);
            sum.narrow(0, first, count).PlusInPlace(other.narrow(0, first, count).to(sum.device));
        }
    }

    /// <summary>Adds a tensor to this one.</summary>
    public static torch.Tensor PlusInPlace(this torch.Tensor sum, torch.Tensor right) => sum.add_(right, One);
}
