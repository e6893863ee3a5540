using TorchSharp;

namespace QuantBuild.Quantization.Tests;

public sealed class AwqTests
{
    private const int Hidden = 32, Heads = 4, KvHeads = 2, HeadDim = 8, Intermediate = 48, Tokens = 24, Windows = 6;

    private static readonly DecoderConfig Config = new()
    {
        Architecture = "LlamaForCausalLM", HiddenSize = Hidden, IntermediateSize = Intermediate, Layers = 1, Heads = Heads, KvHeads = KvHeads,
        HeadDim = HeadDim, VocabularySize = Windows * Tokens, ContextLength = Tokens, NormEpsilon = 1e-5, RopeTheta = 10000, TieWordEmbeddings = false,
    };

    public AwqTests() => NativeLibraries.Load();

    [Theory]
    [InlineData(2, false, 16, 96)]
    [InlineData(3, false, 48, 96)]
    [InlineData(4, false, 192, 192)]
    [InlineData(4, true, 32, 96)]
    [InlineData(8, false, QuantizationSpec.PerChannel, 150)]
    [InlineData(3, true, QuantizationSpec.PerChannel, 35)]
    public void The_grid_of_a_group_has_the_least_error_in_the_outputs(int bits, bool symmetric, int groupSize, int inputs)
    {
        Random random = new(13);
        double[,] weight = RandomData.Weight(random, 37, inputs), hessian = RandomData.Hessian(random, inputs, tokens: 400, dead: 17);
        ReferenceQuantizers reference = new(bits, symmetric, groupSize < 0 ? inputs : groupSize);
        using torch.Tensor matrix = RandomData.Tensor(hessian), tensor = RandomData.Tensor(weight);
        AffineLinear actual = Rtn.Quantize(tensor, new QuantizationSpec { Bits = bits, Symmetric = symmetric, GroupSize = groupSize }, matrix);
        GptqTests.AssertSame(reference.Rtn(weight, hessian), actual);
    }

    [Fact]
    public void Scales_are_those_of_the_authors_code()
    {
        double[] x = [0.5, 4, 0, 0.01], w = [0.3, 0.1, 0.2, 0.9];
        for (int step = 0; step < AwqScales.Ratios; step++)
        {
            double r = step / 20.0;
            double[] s = [.. Enumerable.Range(0, 4).Select(k => Math.Max(Math.Pow(x[k], r) / (Math.Pow(w[k], 1 - r) + 1e-4), 1e-4))];
            double largest = new[] { s[0], s[1], s[3] }.Max(), smallest = new[] { s[0], s[1], s[3] }.Min();
            float[] actual = AwqScales.Of(x, w, step);
            for (int k = 0; k < 4; k++) Assert.Equal(k == 2 ? 1 : s[k] / Math.Sqrt(largest * smallest), actual[k], 1e-6);
        }
    }

    [Fact]
    public void Weight_magnitudes_are_relative_to_the_largest_of_their_group_and_averaged_over_the_rows_of_all_linears()
    {
        using torch.Tensor a = torch.tensor(new[] { 1f, -2, 0, 0 }).view(1, 4), b = torch.tensor(new[] { -3f, 6, 1, 12, 0, 0, 0, 5 }).view(2, 4);
        double[] expected = [(0.5 + 0.25 + 0) / 3, (1 + 0.5 + 0) / 3, (0 + (1.0 / 12) + 0) / 3, (0 + 1 + 1) / 3.0];
        double[] actual = AwqScales.WeightMagnitudes([(a, 2), (b, 4)]);
        for (int k = 0; k < 4; k++) Assert.Equal(expected[k], actual[k], 1e-6);
    }

    [Theory]
    [InlineData(3, 16, false)]
    [InlineData(4, QuantizationSpec.PerChannel, true)]
    public void Scaling_keeps_the_function_of_the_layer_and_each_scale_is_the_best_by_arithmetic_in_float64(int bits, int groupSize, bool symmetric)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        AwqReference reference = AwqReference.Create(Config, Windows, Tokens);
        using LayerWeights layer = reference.Layer(), original = layer.Share();
        using DecoderForward forward = new(Config, Tokens, torch.CPU);
        using HiddenStates states = reference.States();
        QuantizationSpec spec = new() { Method = QuantizationMethod.Awq, Bits = bits, GroupSize = groupSize, Symmetric = symmetric };
        IReadOnlyDictionary<string, float[]> norms =
            new Awq(new QuantizationPlan(Config, spec), OnCpu.One, forward.Alone(), 0, layer.Alone(), CancellationToken.None).Scale(states);

        torch.Tensor hidden = states.Batch(0);
        float[] expected = Values(forward.Layer(hidden, original)), actual = Values(forward.Layer(hidden, layer));
        double largest = expected.Max(Math.Abs);
        for (int i = 0; i < expected.Length; i++) Assert.Equal(expected[i], actual[i], 1e-5 * largest);

        double[][] best = reference.BestScales(spec);
        AssertNear(best[0], Ratio(original.AttentionNorm!.Weight, layer.AttentionNorm!.Weight));
        AssertNear(best[2], Ratio(original.MlpNorm!.Weight, layer.MlpNorm!.Weight));
        Assert.Equal(Values(layer.AttentionNorm.Weight), norms["model.layers.0.input_layernorm.weight"]);
        Assert.Equal(Values(layer.MlpNorm.Weight), norms["model.layers.0.post_attention_layernorm.weight"]);
        AssertScaled(LinearRole.Query, (_, k) => best[0][k]);
        AssertScaled(LinearRole.Key, (_, k) => best[0][k]);
        AssertScaled(LinearRole.Value, (n, k) => best[0][k] / best[1][n]);
        // Two query heads for each value head.
        AssertScaled(LinearRole.Output, (_, k) => best[1][(k / HeadDim / 2 * HeadDim) + (k % HeadDim)]);
        AssertScaled(LinearRole.Gate, (_, k) => best[2][k]);
        AssertScaled(LinearRole.Up, (n, k) => best[2][k] / best[3][n]);
        AssertScaled(LinearRole.Down, (_, k) => best[3][k]);

        void AssertScaled(LinearRole role, Func<int, int, double> scale)
        {
            int columns = (int)layer[role].shape[1];
            double[] ratio = Ratio(layer[role], original[role]);
            AssertNear([.. Enumerable.Range(0, ratio.Length).Select(i => scale(i / columns, i % columns))], ratio);
        }
    }

    [Theory]
    [InlineData("q_proj: Float", "input_layernorm")]
    [InlineData("gate_proj: Method=Rtn", "post_attention_layernorm")]
    public void Nothing_is_folded_where_a_linear_of_another_method_reads_it(string change, string kept)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        AwqReference reference = AwqReference.Create(Config, Windows, Tokens);
        using LayerWeights layer = reference.Layer(), original = layer.Share();
        using DecoderForward forward = new(Config, Tokens, torch.CPU);
        using HiddenStates states = reference.States();
        QuantizationPlan plan = new(Config, new QuantizationSpec { Method = QuantizationMethod.Awq, GroupSize = 16, Override = change });
        IReadOnlyDictionary<string, float[]> norms = new Awq(plan, OnCpu.One, forward.Alone(), 0, layer.Alone(), CancellationToken.None).Scale(states);
        Assert.Equal($"model.layers.0.{(kept == "input_layernorm" ? "post_attention_layernorm" : "input_layernorm")}.weight", Assert.Single(norms).Key);
        LinearRole untouched = kept == "input_layernorm" ? LinearRole.Query : LinearRole.Gate;
        Assert.Equal(Values(original[untouched]), Values(layer[untouched]));
    }

    [Fact]
    public void It_beats_rounding_where_a_few_channels_are_much_larger_than_the_rest()
    {
        double Error(QuantizationMethod method)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            AwqReference reference = AwqReference.Create(Config, Windows, Tokens);
            using LayerWeights layer = reference.Layer(), original = layer.Share();
            using DecoderForward forward = new(Config, Tokens, torch.CPU);
            using HiddenStates states = reference.States(), floats = states.Copy();
            QuantizationPlan plan = new(Config, new QuantizationSpec { Method = method, Bits = 3, GroupSize = 16 });
            new LayerQuantizer(plan, OnCpu.One, forward.Alone(), 0, layer.Alone(), _ => { }, _ => { }, _ => { }, CancellationToken.None)
                .Quantize(method == QuantizationMethod.Rtn ? null : new CalibrationStreams(states, null));
            torch.Tensor hidden = floats.Batch(0);
            return Values(forward.Layer(hidden, original)).Zip(Values(forward.Layer(hidden, layer)), (x, y) => Math.Pow(x - y, 2)).Sum();
        }

        Assert.True(Error(QuantizationMethod.Awq) < 0.5 * Error(QuantizationMethod.Rtn));
    }

    private static float[] Values(torch.Tensor tensor) => tensor.contiguous().data<float>().ToArray();

    private static double[] Ratio(torch.Tensor numerator, torch.Tensor denominator) =>
        [.. Values(numerator).Zip(Values(denominator), (a, b) => (double)a / b)];

    private static void AssertNear(double[] expected, double[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++) Assert.Equal(expected[i], actual[i], 1e-4 * expected[i]);
    }
}
