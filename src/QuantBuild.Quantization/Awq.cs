using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// AWQ (Lin et al., 2023, arXiv:2306.00978) for one decoder layer: inputs that activations make important are scaled up before their weights are rounded, and what
/// comes before them, a norm or a linear, is scaled down as much. The layer's function stays; its rounding errors go where they matter less.
/// </summary>
/// <remarks>
/// Four scales of a layer: attention norm to q, k, v; v to o; MLP norm to gate, up; up to down. Each is the best of <see cref="AwqScales"/> and of no scale at
/// all, by the error that rounding makes in the outputs of a part of the layer. A scale is looked for only where AWQ quantizes the linears on both of its sides: a linear
/// in floating point keeps the model's own weight, and other methods look at inputs as the model has them. Under grouped-query attention the query heads that
/// share a value head share its scale. A norm is scaled only where nothing else reads it, so not one that attention and MLP share, nor one that a router reads; and up only where
/// nothing but a product lies between it and down, so not in an MLP without a gate. Experts are not scaled, but for the one that sees every token, between its up and down.
/// </remarks>
/// <param name="plan">How each linear is quantized.</param>
/// <param name="devices">Where to compute.</param>
/// <param name="forward">The decoder.</param>
/// <param name="index">The layer, from 0.</param>
/// <param name="layer">The float weights; become the scaled ones.</param>
/// <param name="cancellationToken">Looked at between batches and candidates.</param>
internal sealed class Awq(
    QuantizationPlan plan, Devices devices, PerDevice<DecoderForward> forward, int index, PerDevice<LayerWeights> layer, CancellationToken cancellationToken)
{
    // How much of the calibration text candidates are compared on where each takes a forward pass: twenty of them over all of it would take longer than everything
    // else, and the choice hardly depends on it.
    private const int SearchTokens = 2048;

    // Rows of a weight whose error one product computes: see OrderedSteps.
    private const int TileRows = 256;

    private static readonly LinearRole[] Attention = [LinearRole.Query, LinearRole.Key, LinearRole.Value];

    private readonly DecoderConfig config = plan.Config;
    private readonly LinearShape[] shapes = LinearRoles.Shapes(plan.Config, index);
    private readonly Dictionary<string, float[]> changed = [];
    private readonly int? everyToken = plan.Config.EveryTokenMlp(index);

    private int AttentionWidth => config.Heads * config.HeadDim;

    /// <summary>Whether there is anything to scale in the layer.</summary>
    public bool Scales => ScalesAttention || ScalesOutput || ScalesMlp || ScalesDown;

    private LinearRole[] Mlp => everyToken is { } mlp ? LinearRoles.MlpInputs(config, mlp) : [];

    // Where no MLP sees every token, those of one that nothing is done with.
    private LinearRole Up => LinearRole.Up.Of(everyToken ?? 0);

    private LinearRole Down => LinearRole.Down.Of(everyToken ?? 0);

    private bool ScalesAttention => config is { PreNorms: true, SharedNorm: false } && Attention.All(IsQuantized);

    private bool ScalesOutput => IsQuantized(LinearRole.Value) && IsQuantized(LinearRole.Output);

    private bool ScalesMlp => config.HasMlpNorm && !config.HasExperts(index) && Mlp.All(IsQuantized);

    private bool ScalesDown => config is { GatedMlp: true, GateLimit: null } && everyToken is not null && IsQuantized(Up) && IsQuantized(Down);

    /// <summary>Finds the scales and applies them to the layer.</summary>
    /// <param name="states">The calibration text's residual stream before the layer.</param>
    /// <returns>The norms and biases that changed, by tensor name.</returns>
    public IReadOnlyDictionary<string, float[]> Scale(HiddenStates states)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        float[]? values, gated;
        ActivationMagnitudes[] inputs;
        // All against the float layer: what one scale changes in the rounding of a linear, another leaves as it is. First those that need the large matrices.
        using (PerDevice<Hessian> output = devices.Each(at => new Hessian(AttentionWidth, at.Device)), down = devices.Each(at => new Hessian(shapes[(int)Down].Inputs, at.Device)))
        {
            inputs = Measure(states, output, down);
            values = ScalesOutput ? OfLinear(LinearRole.Output, inputs[1], output.First, SharedByHeads, PerHead) : null;
            gated = ScalesDown ? OfLinear(Down, inputs[3], down.First, means => means, scales => scales) : null;
        }

        float[]? attention = ScalesAttention
            ? OfNorm(Attention, inputs[0], states, (at, hidden) => forward[at].AttentionInput(hidden, layer[at]), (at, input, weights) => forward[at].Attend(input, weights)) : null;
        float[]? mlp = ScalesMlp ? OfNorm(Mlp, inputs[2], states, MlpInput, (at, input, weights) => forward[at].Gate(input, weights)) : null;

        if (attention is not null)
        {
            foreach (LinearRole role in Attention) ScaleInputs(role, attention);
            foreach (Place at in devices.All) layer[at].AttentionNorm = Divided(at, layer[at].AttentionNorm!, attention, DecoderConfig.AttentionNormName(index));
        }

        if (values is not null)
        {
            ScaleInputs(LinearRole.Output, PerHead(values));
            DivideOutputs(LinearRole.Value, values);
        }

        if (mlp is not null)
        {
            foreach (LinearRole role in Mlp) ScaleInputs(role, mlp);
            foreach (Place at in devices.All) layer[at].MlpNorm = Divided(at, layer[at].MlpNorm!, mlp, DecoderConfig.MlpNormName(index));
        }

        if (gated is not null)
        {
            ScaleInputs(Down, gated);
            DivideOutputs(Up, gated);
        }

        return changed;
    }

    private bool IsQuantized(LinearRole role) => plan[shapes[(int)role]] is { Method: QuantizationMethod.Awq };

    /// <summary>Mean magnitudes of the inputs of q, k, v; o; gate, up; down, and the Hessians of o and down, which are then the first device's.</summary>
    private ActivationMagnitudes[] Measure(HiddenStates states, PerDevice<Hessian> output, PerDevice<Hessian> down)
    {
        PerDevice<ActivationMagnitudes[]> sums = devices.Each(_ => new ActivationMagnitudes[] { new(config.HiddenSize), new(AttentionWidth), new(config.HiddenSize), new(shapes[(int)Down].Inputs) });
        states.VisitWindows(
            (at, tokens, hidden) =>
            {
                torch.Tensor input = forward[at].AttentionInput(hidden, layer[at]), context = forward[at].Attend(input, layer[at]);
                float[] inputs = ActivationMagnitudes.Sum(input), contexts = ActivationMagnitudes.Sum(context);
                return (Tokens: tokens, Input: inputs, Output: contexts, Context: context.DetachFromDisposeScope());
            },
            (at, made) =>
            {
                ActivationMagnitudes[] magnitudes = sums[at];
                magnitudes[0].Add(made.Input, made.Tokens.Count);
                magnitudes[1].Add(made.Output, made.Tokens.Count);
                if (ScalesOutput) output[at].Add(made.Context);
                if (!ScalesMlp && !ScalesDown)
                {
                    made.Context.Dispose();
                    return;
                }

                // The input of down is the widest of all: never that of a whole batch.
                states.VisitTokens(
                    at,
                    made.Tokens,
                    made.Context,
                    (hidden, context) =>
                    {
                        torch.Tensor input = forward[at].MlpInput(forward[at].AfterAttention(hidden, context, layer[at]), layer[at]);
                        torch.Tensor gated = forward[at].Gate(input, layer[at], everyToken ?? 0);
                        return (Tokens: input.shape[1], Mlp: ActivationMagnitudes.Sum(input), Down: ActivationMagnitudes.Sum(gated), Gated: gated.DetachFromDisposeScope());
                    },
                    part =>
                    {
                        magnitudes[2].Add(part.Mlp, part.Tokens);
                        magnitudes[3].Add(part.Down, part.Tokens);
                        if (ScalesDown) down[at].Add(part.Gated);
                        part.Gated.Dispose();
                    },
                    cancellationToken);
                made.Context.Dispose();
            },
            cancellationToken);
        if (ScalesOutput) output.Together((sum, other) => sum.Add(other));
        if (ScalesDown) down.Together((sum, other) => sum.Add(other));
        return sums.Together((all, others) =>
        {
            foreach ((ActivationMagnitudes sum, ActivationMagnitudes other) in all.Zip(others)) sum.Add(other);
        });
    }

    /// <summary>The windows of batches evenly spaced over the text, [1, T, D] each.</summary>
    private static torch.Tensor[] Sample(Place at, HiddenStates states)
    {
        torch.Tensor first = states.Batch(at, 0);
        int batches = (int)Math.Clamp(SearchTokens / (first.shape[0] * first.shape[1]), 1, states.Count);
        return [.. Enumerable.Range(0, batches).SelectMany(i => states.Batch(at, (int)((long)i * states.Count / batches)).split(1, 0))];
    }

    /// <summary>The best scale of the outputs of a norm.</summary>
    /// <param name="roles">The linears that read it.</param>
    /// <param name="activations">Its outputs.</param>
    /// <param name="states">The residual stream before the layer.</param>
    /// <param name="input">Computes the norm's outputs.</param>
    /// <param name="part">Computes of them what rounding should change least.</param>
    private float[]? OfNorm(
        LinearRole[] roles, ActivationMagnitudes activations, HiddenStates states, Func<Place, torch.Tensor, torch.Tensor> input, Func<Place, torch.Tensor, LayerWeights, torch.Tensor> part)
    {
        double[] magnitudes = AwqScales.WeightMagnitudes([.. roles.Select(role => (layer.First[role], GroupSize(role)))]);
        return Best(activations.Means, magnitudes, (at, search, token) =>
        {
            torch.Tensor[] windows = Sample(at, states);
            torch.Tensor[] inputs = new torch.Tensor[windows.Length], targets = new torch.Tensor[windows.Length];
            OrderedSteps.Run(
                at.Device,
                windows.Length,
                i =>
                {
                    inputs[i] = input(at, windows[i]);
                    targets[i] = part(at, inputs[i], layer[at]).DetachFromDisposeScope();
                    inputs[i].DetachFromDisposeScope();
                },
                token);
            search(scales =>
            {
                using LayerWeights rounded = layer[at].Share();
                foreach (LinearRole role in roles) rounded.Replace(role, Rounded(at, role, scales));
                double loss = 0;
                OrderedSteps.Run(
                    at.Device,
                    windows.Length,
                    i =>
                    {
                        // Of either sign: it is squared.
                        torch.Tensor error = part(at, inputs[i], rounded).neg_().PlusInPlace(targets[i]);
                        return (error * error).sum().cpu().item<float>();
                    },
                    (_, sum) => loss += sum,
                    token);
                return loss;
            });
            foreach (torch.Tensor made in inputs.Concat(targets)) made.Dispose();
        });
    }

    /// <summary>The best scale of the outputs of a linear, which another reads: by <c>tr(E H E^T)</c> of the error E in that one's weight.</summary>
    /// <param name="role">The linear that reads them.</param>
    /// <param name="activations">Its inputs.</param>
    /// <param name="hessian">The same.</param>
    /// <param name="shared">Takes means for each input to means for each output of the linear before.</param>
    /// <param name="perInput">Takes scales for each output of the linear before to scales for each input.</param>
    private float[]? OfLinear(
        LinearRole role, ActivationMagnitudes activations, Hessian hessian, Func<double[], double[]> shared, Func<float[], float[]> perInput)
    {
        torch.Tensor matrix = hessian.Matrix;
        double[] magnitudes = shared(AwqScales.WeightMagnitudes([(layer.First[role], GroupSize(role))]));
        return Best(shared(activations.Means), magnitudes, (at, search, token) =>
        {
            torch.Tensor own = at == devices.First ? matrix : matrix.to(at.Device);
            search(scales =>
            {
                torch.Tensor error = Rounded(at, role, scales is null ? null : perInput(scales)).neg_().PlusInPlace(layer[at][role]);
                int rows = (int)error.shape[0], count = OrderedSteps.Rows(at.Device, TileRows, rows);
                double loss = 0;
                OrderedSteps.Run(
                    at.Device,
                    (rows + count - 1) / count,
                    i =>
                    {
                        torch.Tensor tile = error.narrow(0, i * count, Math.Min(count, rows - (i * count)));
                        return (tile.mm(own) * tile).sum().cpu().item<float>();
                    },
                    (_, sum) => loss += sum,
                    token);
                return loss;
            });
        });
    }

    /// <summary>The scales of least loss; <see langword="null"/> where none are better than none.</summary>
    /// <param name="activations">The inputs' mean magnitudes.</param>
    /// <param name="weights">Those of their weights.</param>
    /// <param name="on">Prepares a device, and searches there with what gives the loss of scales.</param>
    private float[]? Best(double[] activations, double[] weights, Action<Place, Action<Func<float[]?, double>>, CancellationToken> on)
    {
        // None at all first.
        float[]?[] candidates = [null, .. Enumerable.Range(0, AwqScales.Ratios).Select(step => AwqScales.Of(activations, weights, step))];
        double[] losses = new double[candidates.Length];
        devices.Divide(
            [.. Enumerable.Range(0, candidates.Length)],
            (at, own, token) =>
            {
                using DisposeScope scope = torch.NewDisposeScope();
                on(
                    at,
                    loss =>
                    {
                        foreach (int candidate in own)
                        {
                            token.ThrowIfCancellationRequested();
                            using DisposeScope step = torch.NewDisposeScope();
                            losses[candidate] = loss(candidates[candidate]);
                            FreedMemory.Return();
                        }
                    },
                    token);
            },
            cancellationToken);
        int best = 0;
        for (int candidate = 1; candidate < losses.Length; candidate++)
        {
            if (losses[candidate] < losses[best]) best = candidate;
        }

        return candidates[best];
    }

    /// <summary>What a linear's weight would be, of inputs as they are, if it were rounded with its inputs scaled.</summary>
    private torch.Tensor Rounded(Place at, LinearRole role, float[]? scales)
    {
        QuantizationSpec spec = plan[shapes[(int)role]]!;
        if (scales is null) return Rtn.Quantize(layer[at][role], spec).Dequantize(at.Device);
        torch.Tensor scale = Vector(at, scales);
        using torch.Tensor scaled = layer[at][role] * scale;
        return Rtn.Quantize(scaled, spec).Dequantize(at.Device).div_(scale);
    }

    private int GroupSize(LinearRole role) =>
        plan[shapes[(int)role]]!.GroupSize is var size && size == QuantizationSpec.PerChannel ? shapes[(int)role].Inputs : size;

    private torch.Tensor MlpInput(Place at, torch.Tensor hidden)
    {
        (DecoderForward decoder, LayerWeights weights) = (forward[at], layer[at]);
        return decoder.MlpInput(decoder.AfterAttention(hidden, decoder.Attend(decoder.AttentionInput(hidden, weights), weights), weights), weights);
    }

    /// <summary>Means over the query heads that share a value head: [heads * headDim] to [kvHeads * headDim].</summary>
    private double[] SharedByHeads(double[] means)
    {
        int shared = config.Heads / config.KvHeads;
        return
        [
            .. Enumerable.Range(0, config.KvHeads * config.HeadDim).Select(
                i => Enumerable.Range(0, shared).Average(head => means[((((i / config.HeadDim) * shared) + head) * config.HeadDim) + (i % config.HeadDim)])),
        ];
    }

    /// <summary>A value head's scales for each query head that shares it: [kvHeads * headDim] to [heads * headDim].</summary>
    private float[] PerHead(float[] scales) =>
        [.. Enumerable.Range(0, AttentionWidth).Select(i => scales[(i / config.HeadDim / (config.Heads / config.KvHeads) * config.HeadDim) + (i % config.HeadDim)])];

    private void ScaleInputs(LinearRole role, float[] scales)
    {
        foreach (Place at in devices.All) layer[at].Replace(role, layer[at][role] * Vector(at, scales));
    }

    private void DivideOutputs(LinearRole role, float[] scales)
    {
        foreach (Place at in devices.All)
        {
            layer[at].Replace(role, layer[at][role] / Vector(at, scales).unsqueeze(1));
            if (layer[at].Bias(role) is not { } bias) continue;
            layer[at].ReplaceBias(role, bias / Vector(at, scales));
            changed[shapes[(int)role].BiasName] = Values(layer[at].Bias(role)!);
        }
    }

    /// <summary>A norm whose outputs are divided by scales.</summary>
    private NormWeights Divided(Place at, NormWeights norm, float[] scales, string name)
    {
        NormWeights divided = norm.Divided(Vector(at, scales));
        changed[name] = [.. Values(divided.Weight).Select(value => value - config.NormOffset)];
        if (divided.Bias is not null) changed[DecoderConfig.BiasName(name)] = Values(divided.Bias);
        return divided;
    }

    private static torch.Tensor Vector(Place at, float[] values) => torch.tensor(values, device: at.Device);

    private static float[] Values(torch.Tensor vector) => vector.cpu().data<float>().ToArray();

    /// <summary>The mean magnitude of each input over the calibration text.</summary>
    private sealed class ActivationMagnitudes(int width)
    {
        private readonly double[] sums = new double[width];
        private long tokens;

        public double[] Means => [.. sums.Select(sum => sum / tokens)];

        /// <summary>The sum of magnitudes over the tokens of a batch, [..., K] to [K].</summary>
        public static float[] Sum(torch.Tensor input) => Values(input.abs().reshape(-1, input.shape[^1]).sum([0]));

        public void Add(float[] batch, long count)
        {
            for (int k = 0; k < sums.Length; k++) sums[k] += batch[k];
            tokens += count;
        }

        /// <summary>Adds those of other tokens.</summary>
        public void Add(ActivationMagnitudes other)
        {
            for (int k = 0; k < sums.Length; k++) sums[k] += other.sums[k];
            tokens += other.tokens;
        }
    }
}
