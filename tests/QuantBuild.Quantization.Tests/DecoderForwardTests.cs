using TorchSharp;

namespace QuantBuild.Quantization.Tests;

public sealed class DecoderForwardTests
{
    private const int Hidden = 12, Heads = 4, KvHeads = 2, HeadDim = 6, Intermediate = 20, Vocabulary = 17, Tokens = 7;

    private static readonly DecoderConfig Config = new()
    {
        Architecture = "LlamaForCausalLM", HiddenSize = Hidden, IntermediateSize = Intermediate, Layers = 1, Heads = Heads, KvHeads = KvHeads,
        HeadDim = HeadDim, VocabularySize = Vocabulary, ContextLength = 16, NormEpsilon = 1e-5, RopeTheta = 10000, TieWordEmbeddings = false,
    };

    public DecoderForwardTests() => NativeLibraries.Load();

    [Fact]
    public void A_layer_and_the_head_agree_with_scalar_arithmetic_in_float64()
    {
        Random random = new(3);
        double[][] norms = [.. Enumerable.Range(0, 3).Select(_ => RandomData.Normal(random, Hidden).Select(v => 1 + (0.1 * v)).ToArray())];
        double[][,] weights = [.. Config.Linears(0).Select(linear => RandomData.Weight(random, linear.Outputs, linear.Inputs))];
        foreach (double[,] weight in weights)
        {
            for (int i = 0; i < weight.GetLength(0); i++)
            {
                for (int j = 0; j < weight.GetLength(1); j++) weight[i, j] *= 8;
            }
        }

        double[,] head = RandomData.Weight(random, Vocabulary, Hidden);
        double[][] x = [.. Enumerable.Range(0, Tokens).Select(_ => RandomData.Normal(random, Hidden).Select(v => (double)v).ToArray())];

        double[][] expected = Reference(x, norms, weights, head);

        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor Vector(double[] values) => torch.tensor(values.Select(v => (float)v).ToArray());
        using DecoderForward forward = new(Config, Tokens, torch.CPU);
        using LayerWeights layer = new(Config, 0, weights.Select(RandomData.Tensor)) { AttentionNorm = new(Vector(norms[0])), MlpNorm = new(Vector(norms[1])) };
        torch.Tensor hidden = torch.stack(x.Select(Vector)).unsqueeze(0);
        // Two equal windows: a batch does not mix them.
        torch.Tensor logits = forward.Head(forward.Layer(torch.cat([hidden, hidden]), layer), new(new NormWeights(Vector(norms[2]))), RandomData.Tensor(head));
        float[] actual = logits.contiguous().data<float>().ToArray();
        for (int i = 0; i < actual.Length; i++)
        {
            int token = i / Vocabulary % Tokens;
            Assert.Equal(expected[token][i % Vocabulary], actual[i], 1e-5);
        }
    }

    private static double[][] Reference(double[][] x, double[][] norms, double[][,] w, double[,] head)
    {
        double[][] input = [.. x.Select(t => Norm(t, norms[0]))];
        double[][] q = [.. input.Select((t, p) => Rotate(Multiply(w[0], t), p))];
        double[][] k = [.. input.Select((t, p) => Rotate(Multiply(w[1], t), p))];
        double[][] v = [.. input.Select(t => Multiply(w[2], t))];
        double[][] result = new double[x.Length][];
        for (int t = 0; t < x.Length; t++)
        {
            double[] context = new double[Heads * HeadDim];
            for (int h = 0; h < Heads; h++)
            {
                int shared = h / (Heads / KvHeads);
                double[] scores = [.. Enumerable.Range(0, t + 1).Select(s =>
                    Enumerable.Range(0, HeadDim).Sum(i => q[t][(h * HeadDim) + i] * k[s][(shared * HeadDim) + i]) / Math.Sqrt(HeadDim))];
                double total = scores.Sum(Math.Exp);
                for (int s = 0; s <= t; s++)
                {
                    for (int i = 0; i < HeadDim; i++) context[(h * HeadDim) + i] += Math.Exp(scores[s]) / total * v[s][(shared * HeadDim) + i];
                }
            }

            double[] hidden = Add(x[t], Multiply(w[3], context));
            double[] mlp = Norm(hidden, norms[1]);
            double[] gate = Multiply(w[4], mlp), up = Multiply(w[5], mlp);
            double[] gated = [.. gate.Zip(up, (g, u) => g / (1 + Math.Exp(-g)) * u)];
            result[t] = Multiply(head, Norm(Add(hidden, Multiply(w[6], gated)), norms[2]));
        }

        return result;
    }

    private static double[] Norm(double[] x, double[] weight)
    {
        double scale = 1 / Math.Sqrt((x.Sum(v => v * v) / x.Length) + Config.NormEpsilon);
        return [.. x.Zip(weight, (v, w) => v * scale * w)];
    }

    private static double[] Add(double[] a, double[] b) => [.. a.Zip(b, (x, y) => x + y)];

    private static double[] Multiply(double[,] w, double[] x) =>
        [.. Enumerable.Range(0, w.GetLength(0)).Select(n => Enumerable.Range(0, x.Length).Sum(k => w[n, k] * x[k]))];

    private static double[] Rotate(double[] heads, int position)
    {
        double[] result = new double[heads.Length];
        for (int start = 0; start < heads.Length; start += HeadDim)
        {
            for (int i = 0; i < HeadDim / 2; i++)
            {
                double angle = position * Math.Pow(Config.RopeTheta, -2.0 * i / HeadDim);
                (double a, double b) = (heads[start + i], heads[start + i + (HeadDim / 2)]);
                result[start + i] = (a * Math.Cos(angle)) - (b * Math.Sin(angle));
                result[start + i + (HeadDim / 2)] = (b * Math.Cos(angle)) + (a * Math.Sin(angle));
            }
        }

        return result;
    }
}
