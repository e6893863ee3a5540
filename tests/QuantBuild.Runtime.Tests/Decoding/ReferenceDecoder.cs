namespace QuantBuild.Runtime.Tests.Decoding;

/// <summary>
/// A Llama decoder in float64, one loop for each equation of the papers and no cache: Touvron et al. 2023 (the block), Zhang and Sennrich 2019 (RMSNorm),
/// Su et al. 2021 (rotary), Shazeer 2020 (SwiGLU), Ainslie et al. 2023 (grouped queries). Rotary pairs as in the published checkpoints: i with i + headDim/2.
/// </summary>
internal static class ReferenceDecoder
{
    /// <summary>Logits [tokens, vocabulary].</summary>
    public static double[][] Logits(DecoderConfig config, Func<string, double[]> weight, IReadOnlyList<int> tokens)
    {
        int hidden = config.HiddenSize;
        double[] embedding = weight("model.embed_tokens.weight");
        double[][] x = [.. tokens.Select(token => embedding[(token * hidden)..((token + 1) * hidden)])];
        for (int layer = 0; layer < config.Layers; layer++)
        {
            string prefix = $"model.layers.{layer}.";
            double[][] h = Norms(x, weight(prefix + "input_layernorm.weight"), config.NormEpsilon);
            double[][] q = [.. h.Select((v, t) => Rotate(Product(weight(prefix + "self_attn.q_proj.weight"), v), t, config))];
            // Keys and values are kept in half precision.
            double[][] k = [.. h.Select((v, t) => Halves(Rotate(Product(weight(prefix + "self_attn.k_proj.weight"), v), t, config)))];
            double[][] v = [.. h.Select(value => Halves(Product(weight(prefix + "self_attn.v_proj.weight"), value)))];
            double[][] attended = Attention(q, k, v, config);
            for (int t = 0; t < x.Length; t++) x[t] = Sum(x[t], Product(weight(prefix + "self_attn.o_proj.weight"), attended[t]));

            h = Norms(x, weight(prefix + "post_attention_layernorm.weight"), config.NormEpsilon);
            for (int t = 0; t < x.Length; t++)
            {
                double[] gate = Product(weight(prefix + "mlp.gate_proj.weight"), h[t]);
                double[] up = Product(weight(prefix + "mlp.up_proj.weight"), h[t]);
                double[] inner = [.. gate.Select((g, i) => g / (1 + Math.Exp(-g)) * up[i])];
                x[t] = Sum(x[t], Product(weight(prefix + "mlp.down_proj.weight"), inner));
            }
        }

        double[] head = config.TieWordEmbeddings ? embedding : weight("lm_head.weight");
        return [.. Norms(x, weight("model.norm.weight"), config.NormEpsilon).Select(v => Product(head, v))];
    }

    private static double[] Product(double[] matrix, double[] vector)
    {
        double[] result = new double[matrix.Length / vector.Length];
        for (int n = 0; n < result.Length; n++)
        {
            for (int k = 0; k < vector.Length; k++) result[n] += matrix[(n * vector.Length) + k] * vector[k];
        }

        return result;
    }

    private static double[] Halves(double[] values) => [.. values.Select(value => (double)(Half)value)];

    private static double[] Sum(double[] a, double[] b) => [.. a.Select((v, i) => v + b[i])];

    private static double[][] Norms(double[][] x, double[] weight, double epsilon) =>
    [
        .. x.Select(row =>
        {
            double root = Math.Sqrt(row.Select(v => v * v).Average() + epsilon);
            return row.Select((v, i) => v / root * weight[i]).ToArray();
        }),
    ];

    private static double[] Rotate(double[] heads, int position, DecoderConfig config)
    {
        double[] result = new double[heads.Length];
        int half = config.HeadDim / 2;
        for (int start = 0; start < heads.Length; start += config.HeadDim)
        {
            for (int i = 0; i < half; i++)
            {
                double angle = position * Math.Pow(config.RopeTheta, -2.0 * i / config.HeadDim);
                result[start + i] = (heads[start + i] * Math.Cos(angle)) - (heads[start + i + half] * Math.Sin(angle));
                result[start + i + half] = (heads[start + i + half] * Math.Cos(angle)) + (heads[start + i] * Math.Sin(angle));
            }
        }

        return result;
    }

    private static double[][] Attention(double[][] q, double[][] k, double[][] v, DecoderConfig config)
    {
        int d = config.HeadDim;
        double[][] result = [.. q.Select(row => new double[row.Length])];
        for (int t = 0; t < q.Length; t++)
        {
            for (int head = 0; head < config.Heads; head++)
            {
                int kv = head * config.KvHeads / config.Heads;
                double[] score = [.. Enumerable.Range(0, t + 1).Select(j => Enumerable.Range(0, d).Sum(i => q[t][(head * d) + i] * k[j][(kv * d) + i]) / Math.Sqrt(d))];
                double[] probability = [.. score.Select(s => Math.Exp(s - score.Max()))];
                double sum = probability.Sum();
                for (int j = 0; j <= t; j++)
                {
                    for (int i = 0; i < d; i++) result[t][(head * d) + i] += probability[j] / sum * v[j][(kv * d) + i];
                }
            }
        }

        return result;
    }
}
