using System.Collections.Concurrent;
using System.Globalization;
using QuantBuild.Quantization.Tests.Families;
using TorchSharp;

namespace QuantBuild.Quantization.Tests;

/// <summary>What experts are calibrated on, against a router and sums in float64.</summary>
public sealed class ExpertTests
{
    private const int Context = 16, Windows = 100, Width = 24, TokensOfBatch = 512, Experts = 8, Each = 3;

    public ExpertTests() => NativeLibraries.Load();

    [Theory]
    [InlineData(true, 1)]
    [InlineData(false, 1)]
    [InlineData(true, 2)]
    public void An_expert_is_quantized_on_the_tokens_that_the_router_sends_to_it_and_with_few_of_them_on_some_of_all(bool trueSequential, int count)
    {
        using IDisposable noGradient = torch.no_grad();
        using DisposeScope scope = torch.NewDisposeScope();
        using FamilyModel model = FamilyModel.Of("Qwen3Moe");
        DecoderConfig config = model.Folder.Config;
        QuantizationSpec spec = new() { Bits = 4, GroupSize = 16, TrueSequential = trueSequential, ErrorCorrection = false };
        QuantizationPlan plan = new(config, spec);
        using ModelWeights weights = ModelWeights.Open(model.Folder);
        Devices devices = new(OnCpu.Times(count).Devices, _ => { });
        using EmbeddingTables embedding = weights.LoadEmbedding();
        string text = File.ReadAllText(SampleFiles.Calibration);
        TokenWindows windows = new([.. text.Take(Windows * Context).Select(letter => letter % 256)], Context);
        using HiddenStates states = HiddenStates.Embed(windows, embedding, devices, ActivationStore.InMemory), before = states.Copy();
        using PerDevice<DecoderForward> forward = devices.Each(at => new DecoderForward(config, Context, at.Device));
        using PerDevice<LayerWeights> layer = devices.Each(at => weights.LoadLayer(config, 0, at.Device));
        using LayerWeights original = weights.LoadLayer(config, 0, torch.CPU);
        List<string> starved = [];
        FinishedLayer finished = new LayerQuantizer(plan, devices, forward, 0, layer, _ => { }, starved.Add, _ => { }, default).Quantize(new CalibrationStreams(states, null));

        // What the experts read, [tokens][hidden], by the batches that the text is kept in.
        double[] norm = Doubles(original.MlpNorm!.Weight);
        double[][] input =
        [
            .. Enumerable.Range(0, before.Count)
                .SelectMany(batch => Doubles(forward.First.AfterAttention(before.Batch(batch), trueSequential ? layer.First : original)).Chunk(config.HiddenSize))
                .Select(row =>
                {
                    double scale = 1 / Math.Sqrt(row.Average(value => value * value) + config.NormEpsilon);
                    return row.Select((value, k) => value * scale * norm[k]).ToArray();
                }),
        ];
        Assert.Equal(Windows * Context, input.Length);
        double[][] router = [.. Doubles(original.Router!).Chunk(config.HiddenSize)];
        HashSet<int>[] chosen = [.. input.Select(row => Enumerable.Range(0, Experts).OrderByDescending(expert => Dot(router[expert], row)).Take(Each).ToHashSet())];
        int least = input.Length * Each / Experts / 4;
        int[] seenBy = [.. Enumerable.Range(0, Experts).Select(expert => chosen.Count(own => own.Contains(expert)))];
        Assert.Equal([.. Enumerable.Range(0, Experts).Where(expert => seenBy[expert] < least).Select(expert => $"model.layers.0.mlp.experts.{expert}")], starved);
        Assert.InRange(starved.Count, 1, Experts - 1);

        LinearRole[] roles = LinearRoles.All(config, 0);
        double Same(int expert, LinearRole role, int tokensOf)
        {
            int step = seenBy[tokensOf] < least ? input.Length / (least - seenBy[tokensOf]) : int.MaxValue;
            IEnumerable<double[]> read = input.Where((_, t) => chosen[t].Contains(tokensOf) || (step < int.MaxValue && t % TokensOfBatch % step == 0));
            if (role == LinearRole.Down)
            {
                double[][] gate = [.. Doubles(layer.First[LinearRole.Gate.Of(expert)]).Chunk(config.HiddenSize)], up = [.. Doubles(layer.First[LinearRole.Up.Of(expert)]).Chunk(config.HiddenSize)];
                read = read.Select(row => gate.Zip(up, (g, u) => Dot(g, row) / (1 + Math.Exp(-Dot(g, row))) * Dot(u, row)).ToArray());
            }

            using torch.Tensor matrix = RandomData.Tensor(Hessian([.. read]));
            using InverseFactor factor = InverseFactor.Create(matrix, spec, "test");
            byte[] expected = Gptq.Quantize(original[role.Of(expert)], factor, spec).Values, actual = ((AffineLinear)finished.Linears[Array.IndexOf(roles, role.Of(expert))]!).Values;
            Assert.Equal(expected.Length, actual.Length);
            return (double)expected.Zip(actual).Count(pair => pair.First == pair.Second) / expected.Length;
        }

        for (int expert = 0; expert < Experts; expert++)
        {
            foreach (LinearRole role in new[] { LinearRole.Gate, LinearRole.Up, LinearRole.Down })
            {
                // What float32 rounds the other way is little: at most 1 of 2,000 integers. With the tokens of another expert, or with other ones of all tokens, less than half are the same.
                Assert.InRange(Same(expert, role, expert), 0.995, 1);
                Assert.InRange(Same(expert, role, (expert + 1) % Experts), 0, 0.5);
            }
        }
    }

    [Theory]
    [InlineData(1, false, int.MaxValue)]
    [InlineData(1, true, int.MaxValue)]
    [InlineData(3, false, int.MaxValue)]
    [InlineData(2, true, 50)]
    public void Tokens_of_any_batches_come_once_each_and_in_order_to_the_devices_in_turn(int count, bool onDisk, int most)
    {
        ConcurrentQueue<string> said = [];
        Devices devices = new(OnCpu.Times(count).Devices, text => said.Enqueue(text.ToString(CultureInfo.InvariantCulture)));
        using TemporaryFolder folder = new();
        using ActivationStore store = new(folder.Path, onDisk ? 0 : long.MaxValue);
        using torch.Tensor table = torch.tensor(RandomData.Normal(new Random(5), 50 * Width)).view(50, Width);
        using HiddenStates states = HiddenStates.Embed(new TokenWindows([.. Enumerable.Range(0, Windows * Context).Select(i => i * 7 % 50)], Context), new(table), devices, store);
        Assert.Equal(onDisk, Directory.GetFiles(folder.Path).Length > 0);
        float[][] rows = [.. Enumerable.Range(0, states.Count).SelectMany(batch => states.Batch(batch).contiguous().data<float>().ToArray()).Chunk(Width)];
        int[] chosen = [.. Enumerable.Range(0, rows.Length).Where(t => t % 3 == 1 || t is > 600 and < 900)];
        List<float[]>[] seen = [.. Enumerable.Range(0, count).Select(_ => new List<float[]>())];
        states.VisitTokens(
            [.. chosen.Select(t => new TokenPlace(t / TokensOfBatch, t % TokensOfBatch))],
            (_, tokens) => tokens.shape[1] > most ? throw OnCpu.OutOfMemory : tokens.clone().DetachFromDisposeScope(),
            (at, tokens) =>
            {
                seen[at.Number].AddRange(tokens.data<float>().ToArray().Chunk(Width));
                tokens.Dispose();
            },
            default);
        // Parts of 256 tokens, of which the last is smaller.
        float[][][] parts = [.. chosen.Chunk(256).Select(part => part.Select(t => rows[t]).ToArray())];
        Assert.InRange(parts.Length, count, int.MaxValue);
        for (int device = 0; device < count; device++) Assert.Equal(parts.Where((_, i) => i % count == device).SelectMany(part => part), seen[device]);
        Assert.Equal(most < int.MaxValue, !said.IsEmpty);
    }

    private static double[] Doubles(torch.Tensor tensor) => [.. tensor.contiguous().data<float>().ToArray().Select(value => (double)value)];

    private static double Dot(double[] left, double[] right) => left.Zip(right, (a, b) => a * b).Sum();

    private static double[,] Hessian(double[][] rows)
    {
        double[,] hessian = new double[rows[0].Length, rows[0].Length];
        foreach (double[] row in rows)
        {
            for (int i = 0; i < row.Length; i++)
            {
                for (int j = 0; j < row.Length; j++) hessian[i, j] += 2 * row[i] * row[j];
            }
        }

        return hessian;
    }
}
