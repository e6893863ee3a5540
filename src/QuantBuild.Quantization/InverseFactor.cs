using System.Globalization;
using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// What GPTQ needs of a Hessian: the upper triangular U with <c>(H + damping)^-1 = U^T U</c>, in the order in which the columns are quantized.
/// Row j of U over its diagonal says how an error in column j is made good in the columns after it.
/// </summary>
public sealed class InverseFactor : IDisposable
{
    // Beyond its own mean there is nothing left of a Hessian but the identity, and GPTQ is round to nearest.
    private const double LargestDamping = 1;

    private InverseFactor(string name, torch.Tensor upper, int[]? order, bool[] dead, double damping)
    {
        (Name, Upper, Order, Dead, Damping) = (name, upper, order, dead, damping);
    }

    /// <summary>The linear whose inputs the Hessian is of; the first where several share them.</summary>
    public string Name { get; }

    /// <summary>U, float32 [K, K] on the Hessian's device.</summary>
    public torch.Tensor Upper { get; }

    /// <summary>The input of each column, where activation order is asked for: largest diagonal first, [K].</summary>
    public int[]? Order { get; }

    /// <summary>The column of each input, [K]: the inverse of <see cref="Order"/>.</summary>
    public int[]? Places
    {
        get
        {
            if (Order is null) return null;
            int[] places = new int[Order.Length];
            for (int column = 0; column < places.Length; column++) places[Order[column]] = column;
            return places;
        }
    }

    /// <summary>Inputs that were always 0, [K] in the order of the columns: their weights do nothing, and become 0.</summary>
    public IReadOnlyList<bool> Dead { get; }

    /// <summary>The damping that was needed, as a fraction of the diagonal's mean.</summary>
    public double Damping { get; }

    /// <summary>Factors a Hessian.</summary>
    /// <param name="hessian">float32 [K, K]; not changed.</param>
    /// <param name="spec">Damping and activation order.</param>
    /// <param name="name">The linear, for errors.</param>
    /// <exception cref="QuantBuildException">QB3006 not finite, QB3007 singular with the largest damping.</exception>
    public static InverseFactor Create(torch.Tensor hessian, QuantizationSpec spec, string name)
    {
        using torch.Tensor copy = hessian.clone();
        return InPlace(copy, spec, name);
    }

    /// <summary>Factors a Hessian that nobody needs any more: the factor takes its place in memory, where it is as large as a decoder layer.</summary>
    /// <param name="hessian">float32 [K, K], contiguous; not to be used afterwards.</param>
    /// <param name="spec">Damping and activation order.</param>
    /// <param name="name">The linear, for errors.</param>
    /// <exception cref="QuantBuildException">QB3006 not finite, QB3007 singular with the largest damping.</exception>
    internal static InverseFactor InPlace(torch.Tensor hessian, QuantizationSpec spec, string name)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        int inputs = (int)hessian.shape[0];
        float[] diagonal = hessian.diagonal().cpu().contiguous().data<float>().ToArray();
        if (!Array.TrueForAll(diagonal, float.IsFinite))
        {
            throw new QuantBuildException(
                DiagnosticIds.NonFinite,
                $"{name}: its inputs on the calibration text are not finite numbers, or too large to square. Check the model's weights before this layer.");
        }

        int[] order = [.. Enumerable.Range(0, inputs)];
        // Equal diagonals keep their order, so that the result does not depend on the sort.
        if (spec.ActOrder) order = [.. order.OrderByDescending(i => diagonal[i])];
        if (spec.ActOrder) Triangular.Permute(hessian, torch.tensor(order, torch.int64, hessian.device));

        bool[] dead = [.. order.Select(i => diagonal[i] == 0)];
        double mean = diagonal.Average(value => value == 0 ? 1.0 : value);
        torch.Tensor[] blocks = Triangular.Diagonal(hessian);
        for (double damping = spec.Damping; ; damping *= 10)
        {
            using DisposeScope attempt = torch.NewDisposeScope();
            float[] added = [.. dead.Select(d => (float)((d ? 1 : 0) + (damping * mean)))];
            hessian.diagonal().PlusInPlace(torch.tensor(added, device: hessian.device));
            // H = R R^T with R upper, and U = R^-1: half the work of inverting H and factoring the inverse, and one rounding less.
            if (Triangular.FactorUpper(hessian))
            {
                Triangular.InvertUpper(hessian);
                if (hessian.AllFinite())
                {
                    Triangular.ClearLower(hessian);
                    return new InverseFactor(name, hessian.alias().DetachFromDisposeScope(), spec.ActOrder ? order : null, dead, damping);
                }
            }

            if (damping * 10 > LargestDamping)
            {
                throw new QuantBuildException(
                    DiagnosticIds.HessianSingular,
                    $"{name}: its Hessian is not positive definite, even with a damping of {damping.ToString(CultureInfo.InvariantCulture)} " +
                    "of its mean diagonal. More calibration text, or more varied text, helps; or set Damping higher, or Method to Rtn.");
            }

            Triangular.Restore(hessian, blocks);
        }
    }

    /// <summary>A copy on another device.</summary>
    internal InverseFactor To(torch.Device device) => new(Name, Upper.to(device, copy: true).DetachFromDisposeScope(), Order, [.. Dead], Damping);

    /// <inheritdoc/>
    public void Dispose() => Upper.Dispose();
}
