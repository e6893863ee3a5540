using QuantBuild.Quantization;
using TorchSharp;

namespace QuantBuild.Benchmarks;

/// <summary>
/// Where the time of GPTQ goes, in seconds. The algorithm has no clock in it: its matrix operations are run again by themselves, on the same shapes, and
/// the loop over the columns is what remains.
/// </summary>
/// <param name="Cholesky">Factoring the Hessian.</param>
/// <param name="Inverse">Inverting the factor.</param>
/// <param name="FactorOther">The rest of the factorization: damping, order, copies, checks.</param>
/// <param name="Update">The products that update the columns after a block.</param>
/// <param name="Transpose">Bringing the weight into the order of the columns.</param>
/// <param name="Columns">The loop over the columns, and everything else.</param>
sealed record GptqParts(double Cholesky, double Inverse, double FactorOther, double Update, double Transpose, double Columns)
{
    public static GptqParts Measure(GptqOfLinear ours, int runs)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        double Median(Action run) => Figures.Median(Figures.Seconds(runs, () =>
        {
            using DisposeScope step = torch.NewDisposeScope();
            run();
        }));

        using InverseFactor factor = ours.Factor();
        int inputs = (int)ours.Hessian.shape[0];
        torch.Tensor damping = torch.eye(inputs).mul(ours.Hessian.diagonal().mean().mul(torch.tensor((float)ours.Spec.Damping)));
        torch.Tensor damped = ours.Hessian.add(damping, One);
        torch.Tensor upper = damped.clone();
        Triangular.FactorUpper(upper);

        double factoring = Median(() => ours.Factor().Dispose());
        double cholesky = Median(() => Triangular.FactorUpper(damped.clone()));
        double inverse = Median(() => Triangular.InvertUpper(upper.clone()));
        double quantizing = Median(() => ours.Quantize(factor));
        double transpose = Median(() => ours.Weight.t().contiguous().clone());
        torch.Tensor columns = torch.zeros(inputs, ours.Weight.shape[0]);
        torch.Tensor errors = torch.zeros(Gptq.BlockSize, ours.Weight.shape[0]);
        double update = Median(() =>
        {
            for (int end = Gptq.BlockSize; end < inputs; end += Gptq.BlockSize)
            {
                Gptq.Spread(columns, errors, factor.Upper.narrow(0, end - Gptq.BlockSize, Gptq.BlockSize), end, default);
            }
        });
        return new GptqParts(cholesky, inverse, factoring - cholesky - inverse, update, transpose, quantizing - update - transpose);
    }

    public static void Print(IEnumerable<(bool ActOrder, GptqParts Parts)> rows)
    {
        Console.WriteLine("| activation order | Cholesky | inverse of the factor | other of the factorization | column loop | updates after a block | transposition |");
        Console.WriteLine("|---|---|---|---|---|---|---|");
        foreach ((bool actOrder, GptqParts p) in rows)
        {
            Console.WriteLine(
                $"| {(actOrder ? "yes" : "no")} | {p.Cholesky:F2} s | {p.Inverse:F2} s | {p.FactorOther:F2} s | {p.Columns:F2} s | {p.Update:F2} s | {p.Transpose:F2} s |");
        }
    }

    private static readonly Scalar One = 1f;
}
