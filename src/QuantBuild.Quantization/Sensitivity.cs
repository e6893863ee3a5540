using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// What each linear alone is expected to cost at each width: the KL divergence from the float model's next-token distributions to those of the model in which that linear is
/// rounded to nearest, in nats a token, to second order.
/// </summary>
/// <remarks>
/// For a small change of the model KL is <c>1/2 d^T F d</c> with the Fisher information F, and F is the mean square of gradients of log-likelihoods whose labels are drawn from the
/// model's own distribution. A change dW of a linear moves a window's log-likelihood by <c>sum_t g_t^T dW x_t</c>, with its input x_t at the token t and the gradient g_t at its
/// output. So one forward and one backward pass through the float model give <c>1/2 (sum_t g_t^T dW x_t)^2</c> for every linear and every width. The sum comes before the square: what is
/// the same at every token adds up, except in keys, where attention does not see it. One layer's weights are in memory at a time. Hassibi and Stork, 1993; with sampled labels as in
/// Kunstner et al., 2019, arXiv:1905.12558.
/// </remarks>
/// <param name="plan">The plan without widths: says which linears are open, and in what groups they are rounded.</param>
/// <param name="weights">The model's weights.</param>
/// <param name="devices">Where to compute.</param>
/// <param name="store">Where activations are kept.</param>
/// <param name="cancellationToken">Looked at between steps.</param>
internal sealed class Sensitivity(
    QuantizationPlan plan, ModelWeights weights, Devices devices, ActivationStore store, CancellationToken cancellationToken)
{
    // Each window is one sample of a square, so many short ones say more than a few long ones: with 128 a loss is within some 12 %, and widths are a factor of four apart.
    private const int Windows = 128;
    private const int MostTokens = 128;

    private readonly DecoderConfig config = plan.Config;
    private readonly HashSet<string> open = [.. plan.Open.Select(linear => linear.Name)];
    private readonly Dictionary<string, double[]> losses = new(StringComparer.Ordinal);
    private int windowTokens;

    /// <summary>The windows of a calibration text that are enough to measure on.</summary>
    public static TokenWindows Sample(TokenWindows calibration) =>
        new TokenWindows(calibration.Tokens.ToArray(), Math.Min(calibration.Length, MostTokens)).Sample(Windows);

    /// <summary>Bytes of the activations that are kept at the same time: the residual streams between all layers, a gradient of one, and what a layer's linears read and gave back.</summary>
    /// <param name="config">The decoder.</param>
    /// <param name="windows">What is measured on.</param>
    public static long ActivationBytes(DecoderConfig config, TokenWindows windows) =>
        windows.Tokens.Length * (((config.Layers + 2L) * config.HiddenSize * sizeof(float)) + LayerGradients.BytesOfToken(config));

    /// <summary>Measures.</summary>
    /// <param name="windows">What to measure on.</param>
    /// <returns>By the name of each open linear, the loss at each of <see cref="QuantizationSpec.SupportedBits"/>.</returns>
    /// <exception cref="QuantBuildException">QB3006: the model's weights or gradients are not finite.</exception>
    public IReadOnlyDictionary<string, double[]> Measure(TokenWindows windows)
    {
        windowTokens = windows.Length;
        using PerDevice<DecoderForward> forward = devices.Each(at => new DecoderForward(config, windowTokens, at.Device));
        using EmbeddingTables embedding = weights.LoadEmbedding();
        List<HiddenStates> inputs = [HiddenStates.Embed(windows, embedding, devices, store)];
        try
        {
            for (int index = 0; index < config.Layers; index++)
            {
                using PerDevice<LayerWeights> layer = Layer(index);
                inputs.Add(inputs[index].Map((at, hidden) => forward[at].Layer(hidden, layer[at]), cancellationToken));
            }

            using HiddenStates gradients = BackThroughHead(forward, inputs[config.Layers]);
            for (int index = config.Layers - 1; index >= 0; index--)
            {
                BackThroughLayer(forward, index, inputs[index], gradients);
            }

            if (open.Contains(config.Embedding.Name)) AddEmbedding(embedding, windows, gradients);
        }
        finally
        {
            foreach (HiddenStates states in inputs) states.Dispose();
        }

        return losses;
    }

    /// <summary>The gradients of the log-likelihood of sampled labels with respect to the residual stream after the last layer.</summary>
    private HiddenStates BackThroughHead(PerDevice<DecoderForward> forward, HiddenStates states)
    {
        using PerDevice<FinalWeights> final = devices.Copies(weights.LoadFinal(devices.First.Device), (first, device) => first.To(device));
        using PerDevice<torch.Tensor> head = devices.Copies(weights.Load(config.Head.WeightName, devices.First.Device), (first, device) => first.to(device, copy: true));
        PerDevice<SampledLoss> loss = devices.Each(at => new SampledLoss(hidden => forward[at].HeadInput(hidden, final[at]), head[at], product => forward[at].Logits(product, final[at])));
        if (open.Contains(config.Head.Name))
        {
            Add(config.Head, head.First, states, (at, index, hidden, change) =>
            {
                torch.Tensor moved = torch.zeros(hidden.shape[0] * hidden.shape[1], torch.float32, at.Device);
                loss[at].Visit(index, hidden, (first, count, input, gradient) => moved.narrow(0, first, count).copy_((input.mm(change.t()) * gradient).sum(-1)));
                return moved;
            });
        }

        return states.Map((at, index, hidden) => loss[at].Gradient(index, hidden), cancellationToken);
    }

    /// <summary>Measures the linears of a layer; the gradients become those before it.</summary>
    private void BackThroughLayer(PerDevice<DecoderForward> forward, int index, HiddenStates states, HiddenStates gradients)
    {
        using PerDevice<LayerWeights> layer = Layer(index);
        using LayerGradients traced = new(config, index, states.Count, store);
        LinearShape[] shapes = LinearRoles.Shapes(config, index);
        gradients.Update((at, batch, upstream) => traced.Back(forward[at], layer[at], batch, states.Batch(at, batch), upstream, at.Memory), cancellationToken);
        foreach (LinearRole role in LinearRoles.All(config, index))
        {
            LinearShape shape = shapes[(int)role];
            if (!open.Contains(shape.Name)) continue;
            Add(shape, layer.First[role], states, (at, batch, _, change) =>
                (traced.Input(batch, role).to(at.Device).mm(change.t()) * traced.Gradient(batch, role).to(at.Device)).sum(-1));
        }
    }

    private void AddEmbedding(EmbeddingTables embedding, TokenWindows windows, HiddenStates gradients)
    {
        torch.Tensor[] tokens = [.. windows.Batches(gradients.BatchTokens)];
        using torch.Tensor weight = embedding.Tokens.to(devices.First.Device);
        Add(config.Embedding, weight, gradients, (at, batch, gradient, change) =>
            (change.index_select(0, tokens[batch].reshape(-1).to(at.Device)) * embedding.Gradient(tokens[batch], gradient).to(at.Device).reshape(-1, weight.shape[1])).sum(-1));
    }

    private PerDevice<LayerWeights> Layer(int index) => devices.Copies(weights.LoadLayer(config, index, devices.First.Device), (first, device) => first.To(device));

    /// <summary>Adds what a linear costs at each width.</summary>
    /// <param name="shape">Which linear.</param>
    /// <param name="weight">Its weight, [N, K].</param>
    /// <param name="batches">Says how many batches there are, and what each is.</param>
    /// <param name="moved">Computes <c>g_t^T dW x_t</c> on a device, of a batch's number, the batch, and dW.</param>
    private void Add(LinearShape shape, torch.Tensor weight, HiddenStates batches, Func<Place, int, torch.Tensor, torch.Tensor, torch.Tensor> moved)
    {
        // A tied embedding is met twice: as the head, and as itself.
        if (!losses.TryGetValue(shape.Name, out double[]? known)) losses.Add(shape.Name, known = new double[QuantizationSpec.SupportedBits.Count]);
        for (int width = 0; width < known.Length; width++)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            QuantizationSpec spec = plan[shape]! with { Bits = QuantizationSpec.SupportedBits[width] };
            using PerDevice<torch.Tensor> change = devices.Copies(Rtn.Quantize(weight, spec).Dequantize(devices.First.Device).Minus(weight), (first, device) => first.to(device, copy: true));
            (double Squares, long Tokens)[] sums = new (double, long)[devices.All.Count];
            batches.Visit(
                (at, index, batch) =>
                {
                    torch.Tensor m = moved(at, index, batch, change[at]).reshape(-1, windowTokens).sum(1, false, torch.float64);
                    return (Squares: (m * m).Total(), Tokens: m.numel() * windowTokens);
                },
                (at, part) => sums[at.Number] = (sums[at.Number].Squares + part.Squares, sums[at.Number].Tokens + part.Tokens),
                cancellationToken);
            (double squares, long tokens) = (sums.Sum(sum => sum.Squares), sums.Sum(sum => sum.Tokens));
            if (!double.IsFinite(squares)) throw NotFinite(shape);
            known[width] += squares / tokens / 2;
        }
    }

    private static QuantBuildException NotFinite(LinearShape shape) => new(
        DiagnosticIds.NonFinite,
        $"{shape.Name}: what it contributes to the model's predictions is not finite. The model's weights overflow float32, or are damaged: copy the model again.");
}
