using TorchSharp;
using static TorchSharp.torch.nn.functional;

namespace QuantBuild.Quantization;

/// <summary>
/// The forward pass of a decoder in float32, in the parts between which GPTQ looks at activations. All windows of a batch have the same
/// length and begin at position 0. B windows, T tokens, D hidden size.
/// </summary>
internal sealed class DecoderForward : IDisposable
{
    // Tokens of an MLP that are computed at once.
    internal const long TokensAtOnce = TokenPart.Most;

    private readonly DecoderConfig config;
    private readonly torch.Tensor cosine; // [context, headDim]
    private readonly torch.Tensor sine; // [context, headDim]
    private readonly torch.Tensor epsilon; // [1]

    /// <summary>Prepares the rotary angles.</summary>
    /// <param name="config">The decoder.</param>
    /// <param name="context">The longest window, in tokens.</param>
    /// <param name="device">Where to compute.</param>
    public DecoderForward(DecoderConfig config, int context, torch.Device device)
    {
        this.config = config;
        using DisposeScope scope = torch.NewDisposeScope();
        int half = config.HeadDim / 2;
        double[] frequencies = [.. Enumerable.Range(0, half).Select(i => Math.Pow(config.RopeTheta, -2.0 * i / config.HeadDim))];
        torch.Tensor positions = torch.tensor(Enumerable.Range(0, context).Select(position => (double)position).ToArray());
        torch.Tensor angles = torch.outer(positions, torch.tensor(frequencies));
        angles = torch.cat([angles, angles], 1);
        cosine = angles.cos().to(torch.float32).to(device).DetachFromDisposeScope();
        sine = angles.sin().to(torch.float32).to(device).DetachFromDisposeScope();
        epsilon = torch.tensor(new[] { (float)config.NormEpsilon }).to(device).DetachFromDisposeScope();
    }

    /// <summary>The input of q, k and v: the normed residual stream, [B, T, D].</summary>
    public torch.Tensor AttentionInput(torch.Tensor hidden, LayerWeights layer) => Norm(hidden, layer.AttentionNorm);

    /// <summary>Causal attention, the input of o: [B, T, D] to [B, T, heads * headDim].</summary>
    public torch.Tensor Attend(torch.Tensor input, LayerWeights layer)
    {
        torch.Tensor query = Heads(layer.Apply(LinearRole.Query, input), config.Heads);
        torch.Tensor key = Heads(layer.Apply(LinearRole.Key, input), config.KvHeads);
        torch.Tensor value = Heads(layer.Apply(LinearRole.Value, input), config.KvHeads);
        int shared = config.Heads / config.KvHeads;
        torch.Tensor[] contexts = new torch.Tensor[config.KvHeads];
        for (int head = 0; head < contexts.Length; head++)
        {
            // The query heads that share a key and a value head; what is made on the way is small.
            using DisposeScope scope = torch.NewDisposeScope();
            torch.Tensor queries = query.narrow(1, head * shared, shared);
            torch.Tensor context = scaled_dot_product_attention(
                Rotate(queries), Rotate(key.narrow(1, head, 1)).expand(-1, shared, -1, -1), value.narrow(1, head, 1).expand(-1, shared, -1, -1), is_casual: true);
            // Nobody reads these queries again, and the context is as large.
            contexts[head] = (torch.is_grad_enabled() ? context : queries.copy_(context)).MoveToOuterDisposeScope();
        }

        torch.Tensor all = torch.is_grad_enabled() ? torch.cat(contexts, 1) : query; // [B, heads, T, headDim]
        return all.transpose(1, 2).reshape(input.shape[0], input.shape[1], (long)config.Heads * config.HeadDim);
    }

    /// <summary>The residual stream after attention, [B, T, D].</summary>
    public static torch.Tensor AfterAttention(torch.Tensor hidden, torch.Tensor context, LayerWeights layer) =>
        Sum(layer.Apply(LinearRole.Output, context), hidden);

    /// <summary>The input of gate and up: the normed residual stream, [B, T, D].</summary>
    public torch.Tensor MlpInput(torch.Tensor hidden, LayerWeights layer) => Norm(hidden, layer.MlpNorm);

    /// <summary>The residual stream after attention, [B, T, D], from that before it.</summary>
    public torch.Tensor AfterAttention(torch.Tensor hidden, LayerWeights layer)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        return AfterAttention(hidden, Attended(hidden, layer), layer).MoveToOuterDisposeScope();
    }

    /// <summary>The input of o, [B, T, heads * headDim], from the residual stream before attention.</summary>
    public torch.Tensor Attended(torch.Tensor hidden, LayerWeights layer)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        return Attend(AttentionInput(hidden, layer), layer).MoveToOuterDisposeScope();
    }

    /// <summary>The input of down: <c>silu(gate x) * up x</c>, [B, T, intermediate].</summary>
    public static torch.Tensor Gate(torch.Tensor input, LayerWeights layer) => ByTokens(input, tokens =>
    {
        torch.Tensor gate = layer.Apply(LinearRole.Gate, tokens);
        if (torch.is_grad_enabled()) return silu(gate) * layer.Apply(LinearRole.Up, tokens);
        using torch.Tensor up = layer.Apply(LinearRole.Up, tokens);
        return silu(gate, inplace: true).mul_(up);
    });

    /// <summary>The whole layer, [B, T, D] to [B, T, D].</summary>
    public torch.Tensor Layer(torch.Tensor hidden, LayerWeights layer)
    {
        using torch.Tensor between = AfterAttention(hidden, layer);
        return AfterMlp(between, layer);
    }

    /// <summary>The residual stream after the MLP, [B, T, D], from that before it.</summary>
    public torch.Tensor AfterMlp(torch.Tensor hidden, LayerWeights layer) => ByTokens(hidden, tokens =>
    {
        using DisposeScope scope = torch.NewDisposeScope();
        return AfterMlp(tokens, Gate(MlpInput(tokens, layer), layer), layer).MoveToOuterDisposeScope();
    });

    /// <summary>The residual stream after the MLP, [B, T, D], from that before it and the input of down.</summary>
    public static torch.Tensor AfterMlp(torch.Tensor hidden, torch.Tensor gated, LayerWeights layer) => Sum(layer.Apply(LinearRole.Down, gated), hidden);

    /// <summary>The logits, [B, T, D] to [B, T, vocabulary].</summary>
    /// <param name="hidden">The residual stream after the last layer.</param>
    /// <param name="norm">The weight of the last norm.</param>
    /// <param name="head">[vocabulary, D].</param>
    /// <param name="rounding">What the head's activations go through, if anything.</param>
    public torch.Tensor Head(torch.Tensor hidden, torch.Tensor norm, torch.Tensor head, Func<torch.Tensor, torch.Tensor>? rounding = null)
    {
        torch.Tensor input = Norm(hidden, norm);
        return linear(rounding is null ? input : rounding(input), head);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        cosine.Dispose();
        sine.Dispose();
        epsilon.Dispose();
    }

    /// <summary>An MLP sees each token alone, and is wide: a part of the tokens at a time needs a part of the memory.</summary>
    private static torch.Tensor ByTokens(torch.Tensor input, Func<torch.Tensor, torch.Tensor> compute)
    {
        long tokens = input.shape[1];
        if (input.shape[0] * tokens <= TokensAtOnce) return compute(input);
        // What a gradient is to be computed of may not be written into.
        if (torch.is_grad_enabled()) return compute(input);
        torch.Tensor? whole = null;
        for (long first = 0; first < tokens; first += TokensAtOnce)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            torch.Tensor part = compute(input.narrow(1, first, Math.Min(TokensAtOnce, tokens - first)));
            whole ??= torch.empty([input.shape[0], tokens, part.shape[2]], part.dtype, part.device).MoveToOuterDisposeScope();
            whole.narrow(1, first, part.shape[1]).copy_(part);
        }

        return whole!;
    }

    /// <summary>RMSNorm: <c>x / sqrt(mean(x^2) + epsilon) * weight</c>.</summary>
    public torch.Tensor Norm(torch.Tensor hidden, torch.Tensor weight)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor normed = hidden * InverseRms(hidden);
        return (torch.is_grad_enabled() ? normed * weight : normed.mul_(weight)).MoveToOuterDisposeScope();
    }

    /// <summary>What RMSNorm multiplies a token by: <c>1 / sqrt(mean(x^2) + epsilon)</c>, [B, T, D] to [B, T, 1].</summary>
    public torch.Tensor InverseRms(torch.Tensor hidden)
    {
        using torch.Tensor squares = hidden * hidden;
        return squares.mean([-1], keepdim: true).PlusInPlace(epsilon).rsqrt_();
    }

    /// <summary>[B, T, heads * headDim] to [B, heads, T, headDim].</summary>
    private torch.Tensor Heads(torch.Tensor projected, int heads) =>
        projected.view(projected.shape[0], projected.shape[1], heads, config.HeadDim).transpose(1, 2);

    /// <summary>The residual stream and what a linear adds to it.</summary>
    private static torch.Tensor Sum(torch.Tensor added, torch.Tensor hidden) => torch.is_grad_enabled() ? hidden.Plus(added) : added.PlusInPlace(hidden);

    /// <summary>Rotary embedding: turns the pairs (i, i + headDim / 2) of [B, heads, T, headDim] by the angle of their position.</summary>
    private torch.Tensor Rotate(torch.Tensor heads)
    {
        long tokens = heads.shape[2];
        int half = config.HeadDim / 2;
        torch.Tensor turned = torch.cat([heads.narrow(3, half, half).neg(), heads.narrow(3, 0, half)], 3);
        return (heads * cosine.narrow(0, 0, tokens)).Plus(turned * sine.narrow(0, 0, tokens));
    }
}
