using TorchSharp;
using static TorchSharp.torch.nn.functional;

namespace QuantBuild.Quantization;

/// <summary>The weights of one decoder layer on a device, float32. A linear's weight can be replaced by a quantized one.</summary>
internal sealed class LayerWeights : IDisposable
{
    private readonly DecoderConfig config;
    private readonly torch.Tensor?[] linears;
    private readonly torch.Tensor?[] biases;
    private readonly Func<torch.Tensor, torch.Tensor>?[] roundings;

    // Weights in the type of Products, where that is another: made when they are first asked for.
    private readonly torch.Tensor?[] copies;
    private NormWeights? attentionNorm;
    private NormWeights? mlpNorm;

    /// <summary>Takes over the tensors.</summary>
    /// <param name="config">The decoder.</param>
    /// <param name="index">The layer, from 0.</param>
    /// <param name="weights">[outputs, inputs] each, in the order of <see cref="DecoderConfig.Linears"/>.</param>
    /// <param name="biases">[outputs] each, in the same order, where a linear has one.</param>
    public LayerWeights(DecoderConfig config, int index, IEnumerable<torch.Tensor> weights, IEnumerable<torch.Tensor?>? biases = null)
    {
        this.config = config;
        Index = index;
        int slots = LinearRoles.Slots(config, index);
        (linears, this.biases, roundings, copies) = (new torch.Tensor?[slots], new torch.Tensor?[slots], new Func<torch.Tensor, torch.Tensor>?[slots], new torch.Tensor?[slots]);
        LinearRole[] roles = LinearRoles.All(config, index);
        foreach ((LinearRole role, torch.Tensor weight) in roles.Zip(weights)) linears[(int)role] = weight.DetachFromDisposeScope();
        foreach ((LinearRole role, torch.Tensor? bias) in roles.Zip(biases ?? [])) this.biases[(int)role] = bias?.DetachFromDisposeScope();
    }

    /// <summary>The layer, from 0.</summary>
    public int Index { get; }

    /// <summary>The norm before attention, where there is one. A new one frees the old.</summary>
    public NormWeights? AttentionNorm
    {
        get => attentionNorm;
        set
        {
            attentionNorm?.Dispose();
            attentionNorm = value;
        }
    }

    /// <summary>The norm before the MLP, where it has its own. A new one frees the old.</summary>
    public NormWeights? MlpNorm
    {
        get => mlpNorm;
        set
        {
            mlpNorm?.Dispose();
            mlpNorm = value;
        }
    }

    /// <summary>The norm behind attention, where there is one.</summary>
    public NormWeights? AttentionPostNorm { get; set; }

    /// <summary>The norm behind the MLP, where there is one.</summary>
    public NormWeights? MlpPostNorm { get; set; }

    /// <summary>The norm of queries, where there is one.</summary>
    public NormWeights? QueryNorm { get; set; }

    /// <summary>The norm of keys, where there is one.</summary>
    public NormWeights? KeyNorm { get; set; }

    /// <summary>What gives each expert's score, [experts, hidden], where there are experts.</summary>
    public torch.Tensor? Router { get; set; }

    /// <summary>The bias of these scores, [experts], where they have one.</summary>
    public torch.Tensor? RouterBias { get; set; }

    /// <summary>What gives the share of the MLP that sees every token, [1, hidden], where it has one.</summary>
    public torch.Tensor? SharedGate { get; set; }

    /// <summary>The scores of query heads beside those of the tokens, [heads], where there are any.</summary>
    public torch.Tensor? Sinks { get; set; }

    /// <summary>The weight of a linear, [outputs, inputs].</summary>
    public torch.Tensor this[LinearRole role] => linears[(int)role]!;

    /// <summary>The bias of a linear, [outputs], where it has one.</summary>
    public torch.Tensor? Bias(LinearRole role) => biases[(int)role];

    /// <summary>In what linears multiply: float32, or a type in which the device is faster. Inputs, outputs and biases are float32 either way.</summary>
    public torch.ScalarType Products { get; set; } = torch.float32;

    /// <summary>Sees each linear's input and output, where it is set. A set that <see cref="Share"/> made has one of its own.</summary>
    public Action<LinearRole, torch.Tensor, torch.Tensor>? Observer { get; set; }

    /// <summary>The output of a linear, [..., outputs], for its input, [..., inputs].</summary>
    public torch.Tensor Apply(LinearRole role, torch.Tensor input)
    {
        torch.Tensor read = roundings[(int)role] is { } round ? round(input) : input;
        torch.Tensor output = Products == torch.float32 ? linear(read, this[role], biases[(int)role]) : Multiply(role, read);
        Observer?.Invoke(role, input, output);
        return output;
    }

    /// <summary>A second set that shares the tensors until one is replaced there.</summary>
    public LayerWeights Share()
    {
        LinearRole[] roles = LinearRoles.All(config, Index);
        LayerWeights shared = new(config, Index, roles.Select(role => this[role].alias()), roles.Select(role => Bias(role)?.alias()))
        {
            AttentionNorm = AttentionNorm?.Share(),
            MlpNorm = MlpNorm?.Share(),
            AttentionPostNorm = AttentionPostNorm?.Share(),
            MlpPostNorm = MlpPostNorm?.Share(),
            QueryNorm = QueryNorm?.Share(),
            KeyNorm = KeyNorm?.Share(),
            Router = Router?.alias().DetachFromDisposeScope(),
            RouterBias = RouterBias?.alias().DetachFromDisposeScope(),
            SharedGate = SharedGate?.alias().DetachFromDisposeScope(),
            Sinks = Sinks?.alias().DetachFromDisposeScope(),
            Products = Products,
        };
        roundings.CopyTo(shared.roundings, 0);
        return shared;
    }

    /// <summary>A copy on a device.</summary>
    public LayerWeights To(torch.Device device) => Copy(tensor => tensor.to(device, copy: true, non_blocking: true));

    /// <summary>A copy in memory of the host that a GPU can fetch from.</summary>
    public LayerWeights Pinned() => Copy(tensor => tensor.pin_memory());

    private LayerWeights Copy(Func<torch.Tensor, torch.Tensor> copy)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        LinearRole[] roles = LinearRoles.All(config, Index);
        NormWeights? Norm(NormWeights? norm) => norm is null ? null : new NormWeights(copy(norm.Weight), norm.Bias is null ? null : copy(norm.Bias));
        torch.Tensor? Other(torch.Tensor? tensor) => tensor is null ? null : copy(tensor).DetachFromDisposeScope();
        // The large ones leave the scope last: where memory ends before, what there is of them is freed.
        torch.Tensor[] weights = [.. roles.Select(role => copy(this[role]))];
        torch.Tensor?[] others = [.. roles.Select(role => Bias(role) is { } bias ? copy(bias) : null)];
        NormWeights? attention = Norm(AttentionNorm), mlp = Norm(MlpNorm), attentionPost = Norm(AttentionPostNorm), mlpPost = Norm(MlpPostNorm), query = Norm(QueryNorm), key = Norm(KeyNorm);
        torch.Tensor? router = Other(Router), routerBias = Other(RouterBias), sharedGate = Other(SharedGate), sinks = Other(Sinks);
        return new LayerWeights(config, Index, weights, others)
        {
            AttentionNorm = attention,
            MlpNorm = mlp,
            AttentionPostNorm = attentionPost,
            MlpPostNorm = mlpPost,
            QueryNorm = query,
            KeyNorm = key,
            Router = router,
            RouterBias = routerBias,
            SharedGate = sharedGate,
            Sinks = sinks,
            Products = Products,
        };
    }

    /// <summary>Replaces everything that was quantized, and the norms and biases that a method changed.</summary>
    /// <param name="finished">What was made of the layer.</param>
    /// <param name="device">Where the weights go.</param>
    public void Replace(FinishedLayer finished, torch.Device device)
    {
        IReadOnlyList<LinearShape> shapes = config.Linears(Index);
        foreach ((LinearRole role, int i) in LinearRoles.All(config, Index).Select((role, i) => (role, i)))
        {
            if (finished.Linears[i] is { } linear) Replace(role, linear, device);
            if (finished.Vectors.TryGetValue(shapes[i].BiasName, out float[]? bias)) ReplaceBias(role, torch.tensor(bias, device: device));
        }

        if (Norm(DecoderConfig.AttentionNormName(Index)) is { } attention) AttentionNorm = attention;
        if (Norm(DecoderConfig.MlpNormName(Index)) is { } mlp) MlpNorm = mlp;

        NormWeights? Norm(string name) => finished.Vectors.TryGetValue(name, out float[]? weight)
            ? new NormWeights(
                torch.tensor([.. weight.Select(value => value + config.NormOffset)], device: device),
                finished.Vectors.TryGetValue(DecoderConfig.BiasName(name), out float[]? bias) ? torch.tensor(bias, device: device) : null)
            : null;
    }

    /// <summary>Replaces a linear by a quantized one, and frees the old weight.</summary>
    public void Replace(LinearRole role, QuantizedLinear quantized, torch.Device device) =>
        Replace(role, quantized.Dequantize(device), quantized.ActivationRounding);

    /// <summary>Replaces the weight of a linear, and frees the old one.</summary>
    /// <param name="role">Which linear.</param>
    /// <param name="weight">[outputs, inputs].</param>
    /// <param name="rounding">What its activations go through, if anything.</param>
    public void Replace(LinearRole role, torch.Tensor weight, Func<torch.Tensor, torch.Tensor>? rounding = null)
    {
        Release([role]);
        linears[(int)role] = weight.DetachFromDisposeScope();
        roundings[(int)role] = rounding;
    }

    /// <summary>Replaces the bias of a linear, and frees the old one.</summary>
    /// <param name="role">Which linear.</param>
    /// <param name="bias">[outputs].</param>
    public void ReplaceBias(LinearRole role, torch.Tensor bias)
    {
        biases[(int)role]?.Dispose();
        biases[(int)role] = bias.DetachFromDisposeScope();
    }

    /// <summary>Frees weights that are not read again, or not before they are replaced.</summary>
    public void Release(params IEnumerable<LinearRole> roles)
    {
        foreach (LinearRole role in roles)
        {
            this[role].Dispose();
            copies[(int)role]?.Dispose();
            copies[(int)role] = null;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (NormWeights? norm in new[] { AttentionNorm, MlpNorm, AttentionPostNorm, MlpPostNorm, QueryNorm, KeyNorm }) norm?.Dispose();
        foreach (torch.Tensor? tensor in linears.Concat(biases).Concat(copies).Append(Router).Append(RouterBias).Append(SharedGate).Append(Sinks)) tensor?.Dispose();
    }

    /// <summary>The output of a linear, multiplied in the type of <see cref="Products"/>.</summary>
    private torch.Tensor Multiply(LinearRole role, torch.Tensor input)
    {
        torch.Tensor weight;
        lock (copies) weight = copies[(int)role] ??= this[role].to(Products).DetachFromDisposeScope();
        torch.Tensor output = linear(input.to(Products), weight).to(torch.float32);
        return Bias(role) is { } bias ? output.PlusInPlace(bias) : output;
    }
}
