using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// The scales that AWQ tries for the inputs of a group of linears: <c>s = mean|x|^r / (w^(1-r) + 1e-4)</c> for r = 0, 1/20, … 19/20, over the geometric mean of
/// its largest and its smallest. w is the mean, over the rows, of a weight's magnitude over the largest in its quantization group.
/// </summary>
internal static class AwqScales
{
    /// <summary>How many ratios r are tried.</summary>
    public const int Ratios = 20;

    // As the authors' code has them.
    private const double Least = 1e-4;
    private const double Offset = 1e-4;

    /// <summary>The scales for a ratio of <paramref name="step"/> / 20.</summary>
    /// <param name="activations">mean|x| of each input, [K].</param>
    /// <param name="weights">The mean relative magnitude of each input's weights, [K].</param>
    /// <param name="step">From 0 to 19.</param>
    /// <returns>[K]; 1 for an input that was always 0.</returns>
    public static float[] Of(IReadOnlyList<double> activations, IReadOnlyList<double> weights, int step)
    {
        double ratio = (double)step / Ratios;
        double[] scales = [.. activations.Zip(weights, (x, w) => Math.Max(Math.Pow(x, ratio) / (Math.Pow(w, 1 - ratio) + Offset), Least))];
        double[] live = [.. scales.Where((_, k) => activations[k] > 0)];
        if (live.Length == 0) return [.. scales.Select(_ => 1f)];
        double mean = Math.Sqrt(live.Max() * live.Min());
        return [.. scales.Select((scale, k) => activations[k] > 0 ? (float)(scale / mean) : 1)];
    }

    /// <summary>The mean relative magnitude of each input's weights over all rows of some linears, [K].</summary>
    /// <param name="linears">Weights [N, K] that read the same input, each with the size of its quantization groups.</param>
    public static double[] WeightMagnitudes(IReadOnlyList<(torch.Tensor Weight, int GroupSize)> linears)
    {
        double[] sums = new double[linears[0].Weight.shape[1]];
        foreach ((torch.Tensor weight, int groupSize) in linears)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            torch.Tensor groups = weight.abs().view(weight.shape[0], -1, groupSize);
            torch.Tensor largest = groups.amax([2], keepdim: true);
            // A group of zeros has no magnitude, and nothing to divide by.
            torch.Tensor relative = (groups / largest).nan_to_num().view(weight.shape);
            float[] sum = relative.sum([0]).cpu().data<float>().ToArray();
            for (int k = 0; k < sums.Length; k++) sums[k] += sum[k];
        }

        double rows = linears.Sum(linear => linear.Weight.shape[0]);
        return [.. sums.Select(sum => sum / rows)];
    }
}
