using TorchSharp;
using static TorchSharp.torch.nn.functional;

namespace QuantBuild.Quantization;

/// <summary>
/// The forward pass of a decoder in float32, in the parts between which GPTQ looks at activations. All windows of a batch have the same
/// length and begin at position 0. B windows, T tokens, D hidden size.
/// </summary>
internal sealed class DecoderForward : IDisposable
{
    private readonly DecoderConfig config;
    private readonly RotaryTables rotary;
    private readonly RotaryTables? local;
    private readonly torch.Tensor epsilon; // [1]
    private readonly torch.Tensor? queryScale; // [1]
    private readonly torch.Tensor? scoreCap; // [1]
    private readonly torch.Tensor? logitCap; // [1]
    private readonly torch.Tensor? logitScale; // [1]
    private readonly torch.Tensor? residualScale; // [1]
    private readonly torch.Tensor? geluCubic; // [1]
    private readonly torch.Tensor? geluRoot; // [1]
    private readonly torch.Tensor? geluFactor; // [1]
    private readonly torch.Tensor? gateLimit; // [1]
    private readonly torch.Tensor? gateFloor; // [1]
    private readonly torch.Tensor? one; // [1]
    private readonly torch.Tensor? sinkScale; // [1]
    private readonly torch.Tensor? sinkRoot; // [1]
    private readonly torch.Tensor? capScale; // [1]
    private readonly torch.Tensor? never; // [1], minus infinity
    private readonly torch.Tensor? slopes; // [heads, 1, 1]
    private readonly torch.Tensor? distances; // [context, context], how far a key lies before the query, not above 0; minus infinity where it comes after it
    private readonly torch.Tensor? unseen; // [context, context], true where a key comes after the query

    /// <summary>Prepares the rotary angles.</summary>
    /// <param name="config">The decoder.</param>
    /// <param name="context">The longest window, in tokens.</param>
    /// <param name="device">Where to compute.</param>
    public DecoderForward(DecoderConfig config, int context, torch.Device device)
    {
        this.config = config;
        using DisposeScope scope = torch.NewDisposeScope();
        rotary = new RotaryTables(config, local: false, context, device);
        local = config.LocalRopeTheta is null ? null : new RotaryTables(config, local: true, context, device);
        // Numbers as operands are not safe here: see TensorAddition.
        torch.Tensor One(double value) => torch.tensor(new[] { (float)value }).to(device).DetachFromDisposeScope();
        torch.Tensor? Other(double value, double standard) => value == standard ? null : One(value);
        epsilon = One(config.NormEpsilon);
        // What is computed divides by the root of the head's width.
        queryScale = config.AttentionScale is { } scale ? Other(scale * Math.Sqrt(config.HeadDim), 1) : null;
        scoreCap = config.ScoreCap is { } scores ? One(scores) : null;
        capScale = config.ScoreCap is { } cap ? One(cap * Math.Sqrt(config.HeadDim)) : null;
        if (config.Activation == ActivationKind.GeluTanh) (geluCubic, geluRoot) = (One(0.044715), One(2 * Math.Sqrt(2 / Math.PI)));
        if (config.Activation == ActivationKind.GeluSigmoid) geluFactor = One(1.702);
        if (config.GateLimit is { } limit) (gateLimit, gateFloor, one) = (One(limit), One(-limit), One(1));
        if (config.AttentionSinks) (sinkScale, sinkRoot) = (One(Math.Sqrt((config.HeadDim + 1.0) / config.HeadDim)), One(Math.Sqrt(config.HeadDim + 1.0)));
        never = config.ScoreCap is null && config.AlibiSlopes.Count == 0 ? null : One(double.NegativeInfinity);
        logitCap = config.LogitCap is { } logits ? One(logits) : null;
        logitScale = Other(config.LogitScale, 1);
        residualScale = Other(config.ResidualScale, 1);
        if (config.AlibiSlopes.Count > 0)
        {
            slopes = torch.tensor(config.AlibiSlopes.Select(slope => (float)slope).ToArray()).view(-1, 1, 1).to(device).DetachFromDisposeScope();
            torch.Tensor places = torch.tensor(Enumerable.Range(0, context).Select(place => (float)place).ToArray()).to(device);
            torch.Tensor after = torch.ones(context, context, torch.float32, device).triu(1).to(torch.@bool);
            distances = torch.where(after, never!, places.unsqueeze(0).Minus(places.unsqueeze(1))).DetachFromDisposeScope();
        }

        if (config.SlidingWindow is { } window && window < context || config.ScoreCap is not null || config.AttentionSinks)
        {
            unseen = torch.ones(context, context, torch.float32, device).triu(1).to(torch.@bool).DetachFromDisposeScope();
        }
    }

    /// <summary>What q, k and v read: the residual stream, normed where the family does so, [B, T, D].</summary>
    public torch.Tensor AttentionInput(torch.Tensor hidden, LayerWeights layer) => layer.AttentionNorm is { } norm ? Norm(hidden, norm) : hidden.alias();

    /// <summary>Causal attention, the input of o: [B, T, D] to [B, T, heads * headDim].</summary>
    public torch.Tensor Attend(torch.Tensor input, LayerWeights layer)
    {
        torch.Tensor query = Heads(QueryKey(layer.Apply(LinearRole.Query, input), layer.QueryNorm), config.Heads);
        torch.Tensor key = Heads(QueryKey(layer.Apply(LinearRole.Key, input), layer.KeyNorm), config.KvHeads);
        torch.Tensor value = Heads(layer.Apply(LinearRole.Value, input), config.KvHeads);
        RotaryTables? turning = !config.IsRotary(layer.Index) ? null : config.IsLocal(layer.Index) ? local : rotary;
        torch.Tensor Turned(torch.Tensor heads) => turning is null ? heads : turning.Turn(heads);
        int shared = config.Heads / config.KvHeads;
        torch.Tensor[] contexts = new torch.Tensor[config.KvHeads];
        for (int head = 0; head < contexts.Length; head++)
        {
            // The query heads that share a key and a value head; what is made on the way is small.
            using DisposeScope scope = torch.NewDisposeScope();
            torch.Tensor queries = query.narrow(1, head * shared, shared);
            torch.Tensor context = Attention(
                Turned(queries), Turned(key.narrow(1, head, 1)).expand(-1, shared, -1, -1), value.narrow(1, head, 1).expand(-1, shared, -1, -1), config.WindowOf(layer.Index),
                layer.Sinks?.narrow(0, (long)head * shared, shared), slopes?.narrow(0, head * shared, shared));
            // Nobody reads these queries again, and the context is as large.
            contexts[head] = (torch.is_grad_enabled() ? context : queries.copy_(context)).MoveToOuterDisposeScope();
        }

        torch.Tensor all = torch.is_grad_enabled() ? torch.cat(contexts, 1) : query; // [B, heads, T, headDim]
        return all.transpose(1, 2).reshape(input.shape[0], input.shape[1], (long)config.Heads * config.HeadDim);
    }

    /// <summary>
    /// What follows attention: the residual stream, [B, T, D]. Where the MLP reads what it is before attention, that is beside it: [B, T, 2D], of which
    /// <see cref="Residual"/> is the stream.
    /// </summary>
    public torch.Tensor AfterAttention(torch.Tensor hidden, torch.Tensor context, LayerWeights layer)
    {
        torch.Tensor sum = Sum(layer.Apply(LinearRole.Output, context), layer.AttentionPostNorm, hidden);
        return config.ParallelResidual ? torch.cat([sum, hidden], -1) : sum;
    }

    /// <summary>The residual stream of what <see cref="AfterAttention(torch.Tensor, torch.Tensor, LayerWeights)"/> gives.</summary>
    public torch.Tensor Residual(torch.Tensor between) => config.ParallelResidual ? between.narrow(-1, 0, config.HiddenSize) : between;

    /// <summary>What gate and up read: the residual stream, normed where the family does so, [B, T, D].</summary>
    public torch.Tensor MlpInput(torch.Tensor between, LayerWeights layer)
    {
        torch.Tensor read = config.ParallelResidual ? between.narrow(-1, config.HiddenSize, config.HiddenSize) : between;
        return (config.SharedNorm ? layer.AttentionNorm : layer.MlpNorm) is { } norm ? Norm(read, norm) : read.alias();
    }

    /// <summary>What follows attention, from the residual stream before it.</summary>
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

    /// <summary>The input of down, <c>activation(gate x) * up x</c> or <c>activation(up x)</c>, [B, T, intermediate], in the MLP of a layer that has one.</summary>
    public torch.Tensor Gate(torch.Tensor input, LayerWeights layer) => Gate(input, layer, 0);

    /// <summary>The same in one of the layer's MLPs (<see cref="DecoderConfig.Mlps"/>).</summary>
    public torch.Tensor Gate(torch.Tensor input, LayerWeights layer, int expert) => ByTokens(input, tokens =>
    {
        if (!config.GatedMlp) return Activate(layer.Apply(LinearRole.Up.Of(expert), tokens));
        torch.Tensor gate = layer.Apply(LinearRole.Gate.Of(expert), tokens);
        if (gateLimit is not null) gate = gate.minimum(gateLimit);
        if (torch.is_grad_enabled()) return Activate(gate) * Limited(layer.Apply(LinearRole.Up.Of(expert), tokens));
        using torch.Tensor up = Limited(layer.Apply(LinearRole.Up.Of(expert), tokens));
        return Activate(gate).mul_(up);
    });

    /// <summary>What the gate is multiplied with: between the limits and one more, where there are limits.</summary>
    private torch.Tensor Limited(torch.Tensor up) => gateLimit is null ? up : up.minimum(gateLimit).maximum(gateFloor!).Plus(one!);

    /// <summary>The whole layer, [B, T, D] to [B, T, D].</summary>
    public torch.Tensor Layer(torch.Tensor hidden, LayerWeights layer)
    {
        using torch.Tensor between = AfterAttention(hidden, layer);
        return AfterMlp(between, layer);
    }

    /// <summary>The residual stream after the MLP, [B, T, D], from what follows attention.</summary>
    public torch.Tensor AfterMlp(torch.Tensor between, LayerWeights layer) => ByTokens(between, tokens =>
    {
        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor input = MlpInput(tokens, layer);
        torch.Tensor added = config.HasExperts(layer.Index) ? Mixed(input, layer) : layer.Apply(LinearRole.Down, Gate(input, layer));
        return Sum(added, layer.MlpPostNorm, Residual(tokens)).MoveToOuterDisposeScope();
    });

    /// <summary>The experts of each token, and their shares: both [tokens, <see cref="DecoderConfig.ExpertsPerToken"/>] (Shazeer et al., 2017).</summary>
    /// <param name="input">[..., D], what the experts read.</param>
    /// <param name="layer">The layer.</param>
    public (torch.Tensor Shares, torch.Tensor Experts) Route(torch.Tensor input, LayerWeights layer)
    {
        torch.Tensor probabilities = linear(input.reshape(-1, config.HiddenSize), layer.Router!, layer.RouterBias).softmax(-1);
        (torch.Tensor shares, torch.Tensor experts) = probabilities.topk(config.ExpertsPerToken, -1);
        return (config.NormalizesExperts ? shares / shares.sum(-1, keepdim: true) : shares, experts);
    }

    /// <summary>The logits, [B, T, D] to [B, T, vocabulary].</summary>
    /// <param name="hidden">The residual stream after the last layer.</param>
    /// <param name="final">What is between them and the head.</param>
    /// <param name="head">[vocabulary, embedding].</param>
    /// <param name="rounding">What the head's activations go through, if anything.</param>
    public torch.Tensor Head(torch.Tensor hidden, FinalWeights final, torch.Tensor head, Func<torch.Tensor, torch.Tensor>? rounding = null)
    {
        torch.Tensor input = HeadInput(hidden, final);
        torch.Tensor logits = linear(rounding is null ? input : rounding(input), head);
        return Logits(logits, final);
    }

    /// <summary>What the head reads, [..., D] to [..., embedding].</summary>
    public torch.Tensor HeadInput(torch.Tensor hidden, FinalWeights final)
    {
        torch.Tensor last = final.Norm is { } norm ? Norm(hidden, norm) : hidden.alias();
        return final.Projection is { } projection ? linear(last, projection) : last;
    }

    /// <summary>The logits, from the product of the head: with its bias, scaled and capped where the family does so.</summary>
    public torch.Tensor Logits(torch.Tensor product, FinalWeights final)
    {
        torch.Tensor logits = final.Bias is { } bias ? product.Plus(bias) : product;
        if (logitScale is not null) logits = logits * logitScale;
        return logitCap is null ? logits : (logits / logitCap).tanh() * logitCap;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        rotary.Dispose();
        local?.Dispose();
        epsilon.Dispose();
        foreach (torch.Tensor? made in new[] { queryScale, scoreCap, capScale, geluCubic, geluRoot, geluFactor, gateLimit, gateFloor, one, sinkScale, sinkRoot, never, logitCap, logitScale, residualScale, slopes, distances, unseen }) made?.Dispose();
    }

    /// <summary>An MLP sees each token alone, and is wide: a part of the tokens at a time needs a part of the memory.</summary>
    private static torch.Tensor ByTokens(torch.Tensor input, Func<torch.Tensor, torch.Tensor> compute)
    {
        long tokens = input.shape[1], atOnce = DeviceMemory.TokensOfPart(input.device);
        if (input.shape[0] * tokens <= atOnce) return compute(input);
        // What a gradient is to be computed of may not be written into.
        if (torch.is_grad_enabled()) return compute(input);
        torch.Tensor? whole = null;
        for (long first = 0; first < tokens; first += atOnce)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            torch.Tensor part = compute(input.narrow(1, first, Math.Min(atOnce, tokens - first)));
            whole ??= torch.empty([input.shape[0], tokens, part.shape[2]], part.dtype, part.device).MoveToOuterDisposeScope();
            whole.narrow(1, first, part.shape[1]).copy_(part);
        }

        return whole!;
    }

    /// <summary>RMSNorm, <c>x / sqrt(mean(x^2) + epsilon) * weight</c>, or LayerNorm, which takes the mean away first and adds a bias; over the last dimension.</summary>
    public torch.Tensor Norm(torch.Tensor hidden, NormWeights norm) => norm.Of(hidden, config.Norm, epsilon);

    /// <summary>What RMSNorm multiplies a token by: <c>1 / sqrt(mean(x^2) + epsilon)</c>, [B, T, D] to [B, T, 1].</summary>
    public torch.Tensor InverseRms(torch.Tensor hidden) => NormWeights.InverseRms(hidden, epsilon);

    /// <summary>[B, T, heads * headDim] to [B, heads, T, headDim].</summary>
    private torch.Tensor Heads(torch.Tensor projected, int heads) =>
        projected.view(projected.shape[0], projected.shape[1], heads, config.HeadDim).transpose(1, 2);

    /// <summary>The residual stream with what attention or MLP gives; the one or the other goes through the norm.</summary>
    private torch.Tensor Sum(torch.Tensor given, NormWeights? norm, torch.Tensor hidden)
    {
        torch.Tensor added = norm is null || config.SumNorms ? given : Norm(given, norm);
        if (residualScale is not null) added = added * residualScale;
        torch.Tensor sum = torch.is_grad_enabled() ? hidden.Plus(added) : added.PlusInPlace(hidden);
        return norm is not null && config.SumNorms ? Norm(sum, norm) : sum;
    }

    /// <summary>The norm of queries or keys, where there is one: [B, T, heads * headDim].</summary>
    private torch.Tensor QueryKey(torch.Tensor projected, NormWeights? norm)
    {
        if (norm is null) return projected;
        if (config.QueryKeyNorm == QueryKeyNorm.Width) return Norm(projected, norm);
        // One weight for all heads, or one each: [1 or heads, headDim].
        using NormWeights heads = new(norm.Weight.view(-1, config.HeadDim));
        return Norm(projected.view(projected.shape[0], projected.shape[1], -1, config.HeadDim), heads).view(projected.shape);
    }

    /// <summary>Attention of a few heads, [B, heads, T, headDim] each.</summary>
    /// <param name="query">The queries.</param>
    /// <param name="key">The keys.</param>
    /// <param name="value">The values.</param>
    /// <param name="window">How many tokens each sees; <see langword="null"/> for all before it.</param>
    /// <param name="sinks">The heads' scores beside those of the tokens, [heads], where there are any.</param>
    /// <param name="slopes">What scores fall by for each token between, [heads, 1, 1], where they do.</param>
    private torch.Tensor Attention(torch.Tensor query, torch.Tensor key, torch.Tensor value, int? window, torch.Tensor? sinks, torch.Tensor? slopes)
    {
        long tokens = query.shape[2];
        if (queryScale is not null) query = query * queryScale;
        torch.Tensor? masked = window is { } size && size < tokens ? Unseen(tokens).logical_or(torch.ones_like(Unseen(tokens)).tril(-size)) : null;
        if (sinks is not null) return WithSinks(query, key, value, masked ?? Unseen(tokens), sinks);
        if (slopes is not null)
        {
            torch.Tensor bias = distances!.narrow(0, 0, tokens).narrow(1, 0, tokens) * slopes; // [heads, T, T]
            return scaled_dot_product_attention(query, key, value, masked is null ? bias : torch.where(masked, never!, bias));
        }

        if (scoreCap is null)
        {
            return masked is null ? scaled_dot_product_attention(query, key, value, is_casual: true) : scaled_dot_product_attention(query, key, value, masked.logical_not());
        }

        torch.Tensor scores = (Product(query, key.transpose(2, 3)) / capScale!).tanh() * scoreCap;
        return Product(torch.where(masked ?? Unseen(tokens), never!, scores).softmax(-1), value);

        static torch.Tensor Product(torch.Tensor left, torch.Tensor right) => left.reshape(-1, left.shape[2], left.shape[3])
            .bmm(right.reshape(-1, right.shape[2], right.shape[3])).view(left.shape[0], left.shape[1], left.shape[2], right.shape[3]);
    }

    /// <summary>
    /// Attention with a score for each head beside those of the tokens: as one more token, without a value, whose key is nothing but one more dimension, in which the head's queries have that score.
    /// </summary>
    private torch.Tensor WithSinks(torch.Tensor query, torch.Tensor key, torch.Tensor value, torch.Tensor masked, torch.Tensor sinks)
    {
        (long windows, long heads, long tokens, long width) = (query.shape[0], query.shape[1], query.shape[2], query.shape[3]);
        torch.Tensor own = (sinks * sinkRoot!).view(1, heads, 1, 1).expand(windows, heads, tokens, 1);
        torch.Tensor none = torch.zeros([windows, heads, tokens, 1], query.dtype, query.device);
        torch.Tensor token = torch.cat([torch.zeros([windows, heads, 1, width], query.dtype, query.device), torch.ones([windows, heads, 1, 1], query.dtype, query.device)], -1);
        torch.Tensor keys = torch.cat([torch.cat([key, none], -1), token], 2), values = torch.cat([torch.cat([value, none], -1), torch.zeros_like(token)], 2);
        torch.Tensor seen = torch.cat([masked.logical_not(), torch.ones([tokens, 1], torch.@bool, query.device)], -1);
        return scaled_dot_product_attention(torch.cat([query * sinkScale!, own], -1), keys, values, seen).narrow(-1, 0, width);
    }

    /// <summary>What comes after each token, [T, T].</summary>
    private torch.Tensor Unseen(long tokens) => unseen!.narrow(0, 0, tokens).narrow(1, 0, tokens);

    /// <summary>The activation of the MLP; the input is not read again.</summary>
    private torch.Tensor Activate(torch.Tensor input) => config.Activation switch
    {
        ActivationKind.Silu => torch.is_grad_enabled() ? silu(input) : silu(input, inplace: true),
        ActivationKind.Gelu => gelu(input),
        ActivationKind.GeluTanh => GeluTanh(input),
        ActivationKind.GeluSigmoid => input * (input * geluFactor!).sigmoid(),
        ActivationKind.ReluSquared => ReluSquared(input),
        _ => relu(input),
    };

    private static torch.Tensor ReluSquared(torch.Tensor x)
    {
        using torch.Tensor positive = relu(x);
        return positive * positive;
    }

    /// <summary><c>x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3))</c>, which is the same.</summary>
    private torch.Tensor GeluTanh(torch.Tensor x) => x * (x.Plus(x * x * x * geluCubic!) * geluRoot!).sigmoid();

    /// <summary>What the experts of each token give together, with the one that sees every token, [B, T, D].</summary>
    private torch.Tensor Mixed(torch.Tensor input, LayerWeights layer)
    {
        torch.Tensor tokens = input.reshape(-1, config.HiddenSize);
        (torch.Tensor shares, torch.Tensor experts) = Route(tokens, layer);
        // One for all experts, so that whoever keeps what they read keeps it once.
        torch.Tensor all = tokens.unsqueeze(0);
        torch.Tensor mixed = layer.Observer is null ? OfChosen(tokens, shares, experts, layer) : OfAll(all, shares, experts, layer);
        if (config.EveryTokenMlp(layer.Index) is { } shared)
        {
            torch.Tensor given = Given(all, shared, layer);
            mixed = mixed.Plus(layer.SharedGate is { } gate ? given * linear(tokens, gate).sigmoid() : given);
        }

        return mixed.view(input.shape);
    }

    /// <summary>What each expert gives for the tokens that see it, times its share of them, summed up: [tokens, D].</summary>
    private torch.Tensor OfChosen(torch.Tensor tokens, torch.Tensor shares, torch.Tensor experts, LayerWeights layer)
    {
        int each = config.ExpertsPerToken;
        // Sorted by experts on the host: on a device each of them would be looked for among all.
        long[] chosen = experts.reshape(-1).cpu().data<long>().ToArray();
        int[] starts = new int[config.Experts + 1];
        foreach (long expert in chosen) starts[expert + 1]++;
        for (int expert = 0; expert < config.Experts; expert++) starts[expert + 1] += starts[expert];
        long[] places = new long[chosen.Length], tokensOf = new long[chosen.Length];
        int[] next = starts[..config.Experts];
        for (int i = 0; i < chosen.Length; i++)
        {
            int at = next[chosen[i]]++;
            (places[at], tokensOf[at]) = (i, i / each);
        }

        torch.Tensor sorted = shares.reshape(-1, 1).index_select(0, torch.tensor(places, torch.int64).to(tokens.device)), from = torch.tensor(tokensOf, torch.int64).to(tokens.device);
        torch.Tensor mixed = torch.zeros_like(tokens);
        for (int expert = 0; expert < config.Experts; expert++)
        {
            int count = starts[expert + 1] - starts[expert];
            // What is learned has a gradient in every window, of 0 where no token sees it.
            if (count == 0 && !torch.is_grad_enabled()) continue;
            using DisposeScope scope = torch.NewDisposeScope();
            torch.Tensor its = from.narrow(0, starts[expert], count);
            torch.Tensor given = Given(tokens.index_select(0, its).unsqueeze(0), expert, layer) * sorted.narrow(0, starts[expert], count);
            mixed.PlusInPlace(0, its, given);
        }

        return mixed;
    }

    /// <summary>The same where each expert sees every token, for one that watches: those that are not the expert's have a share of 0.</summary>
    private torch.Tensor OfAll(torch.Tensor all, torch.Tensor shares, torch.Tensor experts, LayerWeights layer)
    {
        torch.Tensor mixed = torch.zeros_like(all.squeeze(0));
        for (int expert = 0; expert < config.Experts; expert++)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            torch.Tensor chosen = experts.eq(torch.tensor(new[] { (long)expert }).to(experts.device));
            torch.Tensor given = Given(all, expert, layer) * (shares * chosen.to(torch.float32)).sum(-1, keepdim: true);
            torch.Tensor sum = mixed.Plus(given);
            mixed.Dispose();
            mixed = sum.MoveToOuterDisposeScope();
        }

        return mixed;
    }

    /// <summary>What an MLP gives, [1, tokens, D] to [tokens, D].</summary>
    private torch.Tensor Given(torch.Tensor seen, int mlp, LayerWeights layer) => layer.Apply(LinearRole.Down.Of(mlp), Gate(seen, layer, mlp)).squeeze(0);
}
