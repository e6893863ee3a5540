namespace QuantBuild.Quantization.Tests.Families;

/// <summary>The equations that decoders are made of, in float64, a loop for each: for all tokens of a text, [tokens][width].</summary>
internal static class ReferenceMath
{
    public static double[][] Each(double[][] x, Func<double[], double[]> map) => [.. x.Select(map)];

    public static double[][] Add(double[][] a, double[][] b) => [.. a.Zip(b, (x, y) => x.Zip(y, (v, w) => v + w).ToArray())];

    public static double[][] Times(double[][] a, double[][] b) => [.. a.Zip(b, (x, y) => x.Zip(y, (v, w) => v * w).ToArray())];

    public static double[][] Scale(double[][] x, double by) => Each(x, row => [.. row.Select(v => v * by)]);

    public static double[][] Columns(double[][] x, int first, int count) => Each(x, row => row[first..(first + count)]);

    /// <summary>W x + b, W [outputs, inputs].</summary>
    public static double[][] Linear(double[][] x, float[] weight, float[]? bias = null) => Each(x, row =>
    {
        double[] y = new double[weight.Length / row.Length];
        for (int n = 0; n < y.Length; n++)
        {
            for (int k = 0; k < row.Length; k++) y[n] += weight[(n * row.Length) + k] * row[k];
            if (bias is not null) y[n] += bias[n];
        }

        return y;
    });

    /// <summary>x W + b, W [inputs, outputs]: the Conv1D of GPT-2.</summary>
    public static double[][] Conv1D(double[][] x, float[] weight, float[] bias) => Each(x, row =>
    {
        int outputs = weight.Length / row.Length;
        double[] y = [.. bias.Select(b => (double)b)];
        for (int k = 0; k < row.Length; k++)
        {
            for (int n = 0; n < outputs; n++) y[n] += row[k] * weight[(k * outputs) + n];
        }

        return y;
    });

    public static double[][] Rms(double[][] x, float[] weight, double epsilon, double offset = 0) => Each(x, row => RmsRow(row, weight, epsilon, offset));

    /// <summary>RMSNorm of each head by itself.</summary>
    public static double[][] RmsHeads(double[][] x, float[] weight, double epsilon, double offset = 0) =>
        Each(x, row => [.. row.Chunk(weight.Length).SelectMany(head => RmsRow(head, weight, epsilon, offset))]);

    public static double[][] LayerNorm(double[][] x, float[] weight, float[]? bias, double epsilon) => Each(x, row =>
    {
        double mean = row.Average(), variance = row.Average(v => (v - mean) * (v - mean));
        return [.. row.Select((v, i) => ((v - mean) / Math.Sqrt(variance + epsilon) * weight[i]) + (bias?[i] ?? 0))];
    });

    public static double[][] Silu(double[][] x) => Each(x, row => [.. row.Select(v => v / (1 + Math.Exp(-v)))]);

    public static double[][] Relu(double[][] x) => Each(x, row => [.. row.Select(v => Math.Max(v, 0))]);

    public static double[][] Gelu(double[][] x) => Each(x, row => [.. row.Select(v => 0.5 * v * (1 + Erf(v / Math.Sqrt(2))))]);

    public static double[][] GeluTanh(double[][] x) => Each(x, row => [.. row.Select(v => 0.5 * v * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (v + (0.044715 * v * v * v)))))]);

    public static double[][] Cap(double[][] x, double cap) => Each(x, row => [.. row.Select(v => cap * Math.Tanh(v / cap))]);

    /// <summary>The frequencies of rotary embedding, theta^(-2i/n).</summary>
    public static double[] Frequencies(double theta, int dimensions) => [.. Enumerable.Range(0, dimensions / 2).Select(i => 1 / Math.Pow(theta, 2.0 * i / dimensions))];

    /// <summary>Turns the first dimensions of each head, i with i + half; the pairs are neighbours where that is asked for.</summary>
    public static double[][] Rotate(double[][] x, int headDim, double[] frequencies, double scale = 1, bool neighbours = false) => [.. x.Select((row, position) =>
    {
        double[] turned = [.. row];
        int half = frequencies.Length;
        for (int head = 0; head < row.Length; head += headDim)
        {
            for (int i = 0; i < half; i++)
            {
                int a = head + (neighbours ? 2 * i : i), b = head + (neighbours ? (2 * i) + 1 : i + half);
                double cosine = Math.Cos(position * frequencies[i]) * scale, sine = Math.Sin(position * frequencies[i]) * scale;
                turned[a] = (row[a] * cosine) - (row[b] * sine);
                turned[b] = (row[b] * cosine) + (row[a] * sine);
            }
        }

        return turned;
    })];

    /// <summary>Causal attention: the heads of q share those of k and v in order.</summary>
    public static double[][] Attention(double[][] q, double[][] k, double[][] v, int headDim, double? scale = null, int window = int.MaxValue, double cap = 0, float[]? sinks = null)
    {
        int heads = q[0].Length / headDim, shared = heads / (k[0].Length / headDim);
        return [.. q.Select((row, t) =>
        {
            double[] result = new double[row.Length];
            for (int head = 0; head < heads; head++)
            {
                int own = head * headDim, theirs = head / shared * headDim, first = (int)Math.Max(0, (long)t - window + 1);
                double[] scores = new double[t + 1 - first];
                for (int s = first; s <= t; s++)
                {
                    for (int i = 0; i < headDim; i++) scores[s - first] += row[own + i] * k[s][theirs + i];
                    scores[s - first] *= scale ?? 1 / Math.Sqrt(headDim);
                    if (cap > 0) scores[s - first] = cap * Math.Tanh(scores[s - first] / cap);
                }

                double[] shares = Softmax(sinks is null ? scores : [.. scores, sinks[head]]);
                for (int s = first; s <= t; s++)
                {
                    for (int i = 0; i < headDim; i++) result[own + i] += shares[s - first] * v[s][theirs + i];
                }
            }

            return result;
        })];
    }

    public static double[] Softmax(double[] scores)
    {
        double most = scores.Max(), sum = scores.Sum(score => Math.Exp(score - most));
        return [.. scores.Select(score => Math.Exp(score - most) / sum)];
    }

    /// <summary>Each token by the experts of its highest probabilities, weighted by them.</summary>
    public static double[][] Experts(double[][] x, float[] router, int each, bool normalized, Func<int, double[][], double[][]> expert, float[]? bias = null) => Each(x, row =>
    {
        double[] shares = Softmax(Linear([row], router, bias)[0]);
        int[] chosen = [.. Enumerable.Range(0, shares.Length).OrderByDescending(e => shares[e]).Take(each)];
        double sum = normalized ? chosen.Sum(e => shares[e]) : 1;
        double[] mixed = new double[row.Length];
        foreach (int e in chosen)
        {
            double[] given = expert(e, [row])[0];
            for (int i = 0; i < mixed.Length; i++) mixed[i] += shares[e] / sum * given[i];
        }

        return mixed;
    });

    private static double[] RmsRow(double[] row, float[] weight, double epsilon, double offset)
    {
        double root = Math.Sqrt(row.Average(v => v * v) + epsilon);
        return [.. row.Select((v, i) => v / root * (offset + weight[i]))];
    }

    /// <summary>The error function by a series of positive terms: exp(-x^2) sum 2^n x^(2n+1) / (2n+1)!!.</summary>
    private static double Erf(double x)
    {
        if (Math.Abs(x) > 6) return Math.Sign(x);
        double term = x, sum = x;
        for (int n = 1; n < 300; n++)
        {
            term *= 2 * x * x / ((2 * n) + 1);
            sum += term;
        }

        return 2 / Math.Sqrt(Math.PI) * Math.Exp(-x * x) * sum;
    }
}
