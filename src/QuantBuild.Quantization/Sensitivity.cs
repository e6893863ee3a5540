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
/// <param name="device">Where to compute.</param>
/// <param name="store">Where activations are kept.</param>
/// <param name="memory">What the device has memory for.</param>
/// <param name="cancellationToken">Looked at between steps.</param>
internal sealed class Sensitivity(
    QuantizationPlan plan, ModelWeights weights, torch.Device device, ActivationStore store, DeviceMemory memory, CancellationToken cancellationToken)
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
        using DecoderForward forward = new(config, windowTokens, device);
        using EmbeddingTables embedding = weights.LoadEmbedding();
        List<HiddenStates> inputs = [HiddenStates.Embed(windows, embedding, device, store, memory)];
        try
        {
            for (int index = 0; index < config.Layers; index++)
            {
                using LayerWeights layer = weights.LoadLayer(config, index, device);
                inputs.Add(inputs[index].Map(hidden => forward.Layer(hidden, layer), cancellationToken));
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
    private HiddenStates BackThroughHead(DecoderForward forward, HiddenStates states)
    {
        using FinalWeights final = weights.LoadFinal(device);
        using torch.Tensor head = weights.Load(config.Head.WeightName, device);
        SampledLoss loss = new(hidden => forward.HeadInput(hidden, final), head, product => forward.Logits(product, final));
        if (open.Contains(config.Head.Name))
        {
            Add(config.Head, head, states, (index, hidden, change) =>
            {
                torch.Tensor moved = torch.zeros(hidden.shape[0] * hidden.shape[1], torch.float32, device);
                loss.Visit(index, hidden, (first, count, input, gradient) => moved.narrow(0, first, count).copy_((input.mm(change.t()) * gradient).sum(-1)));
                return moved;
            });
        }

        return states.Map(loss.Gradient, cancellationToken);
    }

    /// <summary>Measures the linears of a layer; the gradients become those before it.</summary>
    private void BackThroughLayer(DecoderForward forward, int index, HiddenStates states, HiddenStates gradients)
    {
        using LayerWeights layer = weights.LoadLayer(config, index, device);
        using LayerGradients traced = new(config, index, states.Count, store);
        LinearShape[] shapes = LinearRoles.Shapes(config, index);
        gradients.Update((batch, upstream) => traced.Back(forward, layer, batch, states.Batch(batch), upstream, memory), cancellationToken);
        foreach (LinearRole role in LinearRoles.All(config, index))
        {
            LinearShape shape = shapes[(int)role];
            if (!open.Contains(shape.Name)) continue;
            Add(shape, layer[role], states, (batch, _, change) =>
                (traced.Input(batch, role).to(device).reshape(-1, shape.Inputs).mm(change.t()) * traced.Gradient(batch, role).to(device).reshape(-1, shape.Outputs)).sum(-1));
        }
    }

    private void AddEmbedding(EmbeddingTables embedding, TokenWindows windows, HiddenStates gradients)
    {
        torch.Tensor[] tokens = [.. windows.Batches(gradients.BatchTokens)];
        using torch.Tensor weight = embedding.Tokens.to(device);
        Add(config.Embedding, weight, gradients, (batch, gradient, change) =>
            (change.index_select(0, tokens[batch].reshape(-1).to(device)) * embedding.Gradient(tokens[batch], gradient).to(device).reshape(-1, weight.shape[1])).sum(-1));
    }

    /// <summary>Adds what a linear costs at each width.</summary>
    /// <param name="shape">Which linear.</param>
    /// <param name="weight">Its weight, [N, K].</param>
    /// <param name="batches">Says how many batches there are, and what each is.</param>
    /// <param name="moved">Computes <c>g_t^T dW x_t</c> of a batch's number, the batch, and dW.</param>
    private void Add(LinearShape shape, torch.Tensor weight, HiddenStates batches, Func<int, torch.Tensor, torch.Tensor, torch.Tensor> moved)
    {
        // A tied embedding is met twice: as the head, and as itself.
        if (!losses.TryGetValue(shape.Name, out double[]? known)) losses.Add(shape.Name, known = new double[QuantizationSpec.SupportedBits.Count]);
        for (int width = 0; width < known.Length; width++)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            QuantizationSpec spec = plan[shape]! with { Bits = QuantizationSpec.SupportedBits[width] };
            torch.Tensor change = Rtn.Quantize(weight, spec).Dequantize(device).Minus(weight);
            double squares = 0;
            long tokens = 0;
            batches.Visit(
                (index, batch) =>
                {
                    torch.Tensor m = moved(index, batch, change).reshape(-1, windowTokens).sum(1, false, torch.float64);
                    return (Squares: (m * m).Total(), Tokens: m.numel() * windowTokens);
                },
                part =>
                {
                    squares += part.Squares;
                    tokens += part.Tokens;
                },
                cancellationToken);
            if (!double.IsFinite(squares)) throw NotFinite(shape);
            known[width] += squares / tokens / 2;
        }
    }

    private static QuantBuildException NotFinite(LinearShape shape) => new(
        DiagnosticIds.NonFinite,
        $"{shape.Name}: what it contributes to the model's predictions is not finite. The model's weights overflow float32, or are damaged: copy the model again.");
}
