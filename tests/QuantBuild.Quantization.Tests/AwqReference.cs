using TorchSharp;

namespace QuantBuild.Quantization.Tests;

/// <summary>AWQ's search for one layer in float64, straight from its definition, on a problem in which a few channels are much larger than the rest.</summary>
internal sealed class AwqReference(DecoderConfig config, double[][][] windows, double[][] norms, double[][,] weights)
{
    private readonly int shared = config.Heads / config.KvHeads;

    public static AwqReference Create(DecoderConfig config, int windows, int tokens)
    {
        Random random = new(5);
        double[] Outliers(int count) => [.. RandomData.Normal(random, count).Select(v => Math.Exp(1.5 * v))];
        double[] channels = Outliers(config.HiddenSize);
        double[][][] x = [.. Enumerable.Range(0, windows).Select(_ => Enumerable.Range(0, tokens).Select(_ =>
            RandomData.Normal(random, config.HiddenSize).Select((v, k) => (double)(float)(v * channels[k])).ToArray()).ToArray())];
        double[][] norms = [.. Enumerable.Range(0, 2).Select(_ => RandomData.Normal(random, config.HiddenSize).Select(v => (double)(1 + (0.1f * v))).ToArray())];
        double[][,] weights = [.. config.Linears(0).Select(linear => RandomData.Weight(random, linear.Outputs, linear.Inputs))];
        // Outlier channels within the layer too: rows of v and up.
        foreach (LinearRole role in new[] { LinearRole.Value, LinearRole.Up })
        {
            double[,] weight = weights[(int)role];
            double[] rows = Outliers(weight.GetLength(0));
            for (int n = 0; n < rows.Length; n++)
            {
                for (int k = 0; k < weight.GetLength(1); k++) weight[n, k] = (float)(weight[n, k] * rows[n]);
            }
        }

        return new AwqReference(config, x, norms, weights);
    }

    public LayerWeights Layer() => new(config, 0, weights.Select(RandomData.Tensor)) { AttentionNorm = new(Vector(norms[0])), MlpNorm = new(Vector(norms[1])) };

    /// <summary>The tokens as a residual stream: a vocabulary of one entry for each.</summary>
    public HiddenStates States()
    {
        double[][] rows = [.. windows.SelectMany(window => window)];
        using torch.Tensor embedding = torch.tensor(rows.SelectMany(row => row).Select(v => (float)v).ToArray()).view(rows.Length, config.HiddenSize);
        return HiddenStates.Embed(new TokenWindows([.. Enumerable.Range(0, rows.Length)], windows[0].Length), new(embedding), OnCpu.One, ActivationStore.InMemory);
    }

    /// <summary>The best scales: attention norm [hidden]; v to o [kvHeads * headDim]; MLP norm [hidden]; up to down [intermediate].</summary>
    public double[][] BestScales(QuantizationSpec spec)
    {
        double[][][] inputs = [.. windows.Select(window => window.Select(x => Norm(x, norms[0])).ToArray())];
        double[][][] contexts = [.. inputs.Select(window => Attend(window, weights[0], weights[1], weights[2]))];
        double[][] mlpInputs = [.. windows.Zip(contexts, (window, context) => window.Zip(context, (x, c) => Norm(Add(x, Multiply(weights[3], c)), norms[1]))).SelectMany(x => x)];
        double[][] gated = [.. mlpInputs.Select(x => Gate(x, weights[4], weights[5]))];
        return
        [
            Best(spec, [0, 1, 2], Magnitudes(inputs.SelectMany(x => x)), s => s, rounded =>
                inputs.Zip(contexts, (x, c) => Distance(Attend(x, rounded[0], rounded[1], rounded[2]), c)).Sum()),
            Best(spec, [3], PerValueHead(Magnitudes(contexts.SelectMany(x => x))), PerHead, rounded =>
                Distance([.. contexts.SelectMany(x => x).Select(c => Multiply(rounded[0], c))], [.. contexts.SelectMany(x => x).Select(c => Multiply(weights[3], c))])),
            Best(spec, [4, 5], Magnitudes(mlpInputs), s => s, rounded =>
                Distance([.. mlpInputs.Select(x => Gate(x, rounded[0], rounded[1]))], gated)),
            Best(spec, [6], Magnitudes(gated), s => s, rounded =>
                Distance([.. gated.Select(g => Multiply(rounded[0], g))], [.. gated.Select(g => Multiply(weights[6], g))])),
        ];
    }

    private double[] Best(QuantizationSpec spec, int[] linears, double[] x, Func<double[], double[]> perInput, Func<double[][,], double> loss)
    {
        double[] w = WeightMagnitudes(spec, linears);
        if (w.Length != x.Length) w = PerValueHead(w);
        double[] best = [.. x.Select(_ => 1.0)];
        double least = double.PositiveInfinity;
        for (int step = -1; step < 20; step++)
        {
            double r = step / 20.0;
            double[] s = step < 0 ? best : [.. x.Select((mean, k) => Math.Max(Math.Pow(mean, r) / (Math.Pow(w[k], 1 - r) + 1e-4), 1e-4))];
            double middle = Math.Sqrt(s.Max() * s.Min());
            s = [.. s.Select(value => value / middle)];
            double own = loss([.. linears.Select(i => Rounded(spec, weights[i], perInput(s)))]);
            if (own < least) (least, best) = (own, s);
        }

        return best;
    }

    private static double[,] Rounded(QuantizationSpec spec, double[,] weight, double[] scales)
    {
        ReferenceQuantizers quantizers = new(spec.Bits, spec.Symmetric, spec.GroupSize < 0 ? weight.GetLength(1) : spec.GroupSize);
        double[,] rounded = quantizers.Dequantize(quantizers.Rtn(Each(weight, (value, _, k) => value * scales[k])));
        return Each(rounded, (value, _, k) => value / scales[k]);
    }

    private double[] WeightMagnitudes(QuantizationSpec spec, int[] linears)
    {
        int columns = weights[linears[0]].GetLength(1), size = spec.GroupSize < 0 ? columns : spec.GroupSize;
        double[][] rows = [.. linears.SelectMany(i => Enumerable.Range(0, weights[i].GetLength(0)).Select(n => Enumerable.Range(0, columns).Select(k => Math.Abs(weights[i][n, k])).ToArray()))];
        return [.. Enumerable.Range(0, columns).Select(k => rows.Average(row => row[k] / row.Skip(k / size * size).Take(size).Max()))];
    }

    private double[] PerValueHead(double[] means) => [.. Enumerable.Range(0, config.KvHeads * config.HeadDim).Select(
        i => Enumerable.Range(0, shared).Average(h => means[(((i / config.HeadDim * shared) + h) * config.HeadDim) + (i % config.HeadDim)]))];

    private double[] PerHead(double[] scales) =>
        [.. Enumerable.Range(0, config.Heads * config.HeadDim).Select(i => scales[(i / config.HeadDim / shared * config.HeadDim) + (i % config.HeadDim)])];

    private double[][] Attend(double[][] input, double[,] query, double[,] key, double[,] value)
    {
        double[][] q = [.. input.Select((x, p) => Rotate(Multiply(query, x), p))], k = [.. input.Select((x, p) => Rotate(Multiply(key, x), p))];
        double[][] v = [.. input.Select(x => Multiply(value, x))];
        int dim = config.HeadDim;
        return [.. input.Select((_, t) => Enumerable.Range(0, config.Heads).SelectMany(h =>
        {
            int from = h / shared * dim;
            double[] scores = [.. Enumerable.Range(0, t + 1).Select(s => Math.Exp(Enumerable.Range(0, dim).Sum(i => q[t][(h * dim) + i] * k[s][from + i]) / Math.Sqrt(dim)))];
            return Enumerable.Range(0, dim).Select(i => Enumerable.Range(0, t + 1).Sum(s => scores[s] * v[s][from + i]) / scores.Sum());
        }).ToArray())];
    }

    private double[] Rotate(double[] heads, int position)
    {
        int dim = config.HeadDim, half = dim / 2;
        return [.. heads.Select((value, i) =>
        {
            int at = i % dim;
            double angle = position * Math.Pow(config.RopeTheta, -2.0 * (at % half) / dim);
            return at < half ? (value * Math.Cos(angle)) - (heads[i + half] * Math.Sin(angle)) : (value * Math.Cos(angle)) + (heads[i - half] * Math.Sin(angle));
        })];
    }

    private double[] Norm(double[] x, double[] weight)
    {
        double scale = 1 / Math.Sqrt(x.Average(v => v * v) + config.NormEpsilon);
        return [.. x.Zip(weight, (v, w) => v * scale * w)];
    }

    private static double[] Gate(double[] x, double[,] gate, double[,] up) => [.. Multiply(gate, x).Zip(Multiply(up, x), (g, u) => g / (1 + Math.Exp(-g)) * u)];

    private static double[] Magnitudes(IEnumerable<double[]> tokens)
    {
        double[][] all = [.. tokens];
        return [.. Enumerable.Range(0, all[0].Length).Select(k => all.Average(x => Math.Abs(x[k])))];
    }

    private static double Distance(double[][] a, double[][] b) => a.Zip(b, (x, y) => x.Zip(y, (v, w) => (v - w) * (v - w)).Sum()).Sum();

    private static double[] Multiply(double[,] weight, double[] x) =>
        [.. Enumerable.Range(0, weight.GetLength(0)).Select(n => Enumerable.Range(0, x.Length).Sum(k => weight[n, k] * x[k]))];

    private static double[] Add(double[] a, double[] b) => [.. a.Zip(b, (x, y) => x + y)];

    private static double[,] Each(double[,] weight, Func<double, int, int, double> map)
    {
        double[,] result = new double[weight.GetLength(0), weight.GetLength(1)];
        for (int n = 0; n < result.GetLength(0); n++)
        {
            for (int k = 0; k < result.GetLength(1); k++) result[n, k] = map(weight[n, k], n, k);
        }

        return result;
    }

    private static torch.Tensor Vector(double[] values) => torch.tensor(values.Select(v => (float)v).ToArray());
}
