using TorchSharp;

namespace QuantBuild.Quantization.Tests;

/// <summary>Learned rounding of one layer on random data.</summary>
public sealed class AutoRoundTests
{
    private const int Vocabulary = 256, Tokens = 64, Windows = 64;

    private static readonly DecoderConfig Config = new()
    {
        Architecture = "LlamaForCausalLM", HiddenSize = 32, IntermediateSize = 64, Layers = 1, Heads = 4, KvHeads = 2, HeadDim = 8,
        VocabularySize = Vocabulary, ContextLength = Tokens, NormEpsilon = 1e-5, RopeTheta = 10000, TieWordEmbeddings = false,
    };

    public AutoRoundTests() => NativeLibraries.Load();

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    public void A_layer_ends_nearer_to_the_float_one_than_rounding_to_nearest_and_than_it_began(int bits)
    {
        QuantizationSpec spec = new() { Method = QuantizationMethod.AutoRound, Bits = bits, GroupSize = 16, Iterations = 100 };
        double learned = ErrorOf(spec), began = ErrorOf(AutoRound.Start(spec)), rounded = ErrorOf(spec with { Method = QuantizationMethod.Rtn });
        Assert.InRange(learned, 0, 0.98 * began);
        Assert.InRange(learned, 0, 0.9 * rounded);
    }

    [Fact]
    public void Linears_that_ask_for_something_else_get_it_and_the_rest_is_learned_around_them()
    {
        QuantizationSpec spec = new()
        {
            Method = QuantizationMethod.AutoRound, Bits = 2, GroupSize = 16, Iterations = 4, Override = "down_proj: Method=Gptq; v_proj: Float; up_proj: Method=Rtn",
        };
        FinishedLayer finished = Quantize(spec).Finished;
        Assert.NotNull(Assert.IsType<AffineLinear>(finished.Linears[(int)LinearRole.Down]).Order);
        Assert.Null(finished.Linears[(int)LinearRole.Value]);
        Assert.All(
            new[] { LinearRole.Query, LinearRole.Key, LinearRole.Output, LinearRole.Gate, LinearRole.Up },
            role => Assert.Null(Assert.IsType<AffineLinear>(finished.Linears[(int)role]).Order));
        using DisposeScope scope = torch.NewDisposeScope();
        AffineLinear rounded = Rtn.Quantize(Layer()[LinearRole.Up], spec);
        Assert.Equal(rounded.Values, ((AffineLinear)finished.Linears[(int)LinearRole.Up]!).Values);
    }

    [Fact]
    public void The_residual_stream_that_goes_on_is_that_of_what_is_stored()
    {
        (FinishedLayer finished, HiddenStates quantized) = Quantize(new() { Method = QuantizationMethod.AutoRound, Bits = 2, GroupSize = 16, Iterations = 4 });
        using DisposeScope scope = torch.NewDisposeScope();
        using DecoderForward forward = new(Config, Tokens, torch.CPU);
        using LayerWeights layer = Layer();
        layer.Replace(finished, torch.CPU);
        using HiddenStates states = Embed();
        Assert.Equal(forward.Layer(states.Batch(0), layer).data<float>().ToArray(), quantized.Batch(0).data<float>().ToArray());
        quantized.Dispose();
    }

    [Fact]
    public void Gradients_that_are_not_numbers_are_QB3006_by_the_layers_name()
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => Train(target => target.log(), _ => { }, default));
        Assert.Equal(DiagnosticIds.NonFinite, error.Id);
        Assert.StartsWith("model.layers.7: ", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void It_ends_between_two_steps_when_it_is_cancelled()
    {
        using CancellationTokenSource cancellation = new();
        List<int> steps = [];
        Assert.ThrowsAny<OperationCanceledException>(() => Train(
            target => target.alias(),
            step =>
            {
                steps.Add(step);
                if (step == 2) cancellation.Cancel();
            },
            cancellation.Token));
        Assert.Equal([1, 2], steps);
    }

    /// <summary>The squared error of the residual stream behind the layer, over its own square.</summary>
    private static double ErrorOf(QuantizationSpec spec)
    {
        (_, HiddenStates quantized) = Quantize(spec);
        using DisposeScope scope = torch.NewDisposeScope();
        using DecoderForward forward = new(Config, Tokens, torch.CPU);
        using LayerWeights layer = Layer();
        using HiddenStates states = Embed();
        double[] expected = [.. forward.Layer(states.Batch(0), layer).data<float>().ToArray()], actual = [.. quantized.Batch(0).data<float>().ToArray()];
        quantized.Dispose();
        return expected.Zip(actual, (e, a) => (e - a) * (e - a)).Sum() / expected.Sum(e => e * e);
    }

    private static (FinishedLayer Finished, HiddenStates Quantized) Quantize(QuantizationSpec spec)
    {
        using IDisposable noGradient = torch.no_grad();
        using DecoderForward forward = new(Config, Tokens, torch.CPU);
        using LayerWeights layer = Layer();
        using HiddenStates floats = Embed();
        HiddenStates quantized = Embed();
        LayerQuantizer quantizer = new(new QuantizationPlan(Config, spec), OnCpu.One, forward.Alone(), 0, layer.Alone(), _ => { }, _ => { }, _ => { }, default);
        return (quantizer.Quantize(new CalibrationStreams(quantized, floats)), quantized);
    }

    private static void Train(Func<torch.Tensor, torch.Tensor> change, Action<int> stepped, CancellationToken cancellationToken)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        using DecoderForward forward = new(Config, Tokens, torch.CPU);
        using LayerWeights layer = Layer();
        using HiddenStates inputs = Embed(), targets = inputs.Map(change, default);
        AffineLinear start = Rtn.Quantize(layer[LinearRole.Gate], new QuantizationSpec { Bits = 2, GroupSize = 16 });
        using RoundingParameters gate = new(layer[LinearRole.Gate], start);
        AutoRound training = new(OnCpu.One, forward.Alone(), layer.Alone(), new Dictionary<LinearRole, RoundingParameters> { [LinearRole.Gate] = gate }, "model.layers.7");
        training.Train(inputs, targets, 5, stepped, cancellationToken);
    }

    private static LayerWeights Layer()
    {
        Random random = new(11);
        torch.Tensor ones = torch.ones(Config.HiddenSize, torch.float32);
        return new LayerWeights(Config, 0, Config.Linears(0).Select(linear => torch.tensor(
            RandomData.Normal(random, linear.Outputs * linear.Inputs).Select(value => value * 0.2f).ToArray()).view(linear.Outputs, linear.Inputs)))
        {
            AttentionNorm = new(ones.clone()), MlpNorm = new(ones),
        };
    }

    private static HiddenStates Embed()
    {
        using DisposeScope scope = torch.NewDisposeScope();
        Random random = new(12);
        TokenWindows windows = new([.. Enumerable.Range(0, Windows * Tokens).Select(_ => random.Next(Vocabulary))], Tokens);
        torch.Tensor embedding = torch.tensor(RandomData.Normal(random, Vocabulary * Config.HiddenSize)).view(Vocabulary, Config.HiddenSize);
        return HiddenStates.Embed(windows, new(embedding), OnCpu.One, ActivationStore.InMemory);
    }
}
