using QuantBuild.Decoding;
using QuantBuild.Kernels;

namespace QuantBuild.Cuda.Decoding;

/// <summary>The weights of a layer on a device, with where each product goes.</summary>
internal sealed class DeviceLayer
{
    public DeviceLayer(DecoderConfig config, int number, LayerWeights source, DeviceWeights weights, DeviceActivations activations)
    {
        Number = number;
        Dictionary<string, LinearShape> shapes = config.Linears(number).ToDictionary(linear => linear.Name, StringComparer.Ordinal);
        string prefix = DecoderConfig.LayerPrefix(number);
        AttentionNorm = weights.Norm(source.AttentionNorm);
        QueryNorm = weights.Norm(source.QueryNorm);
        KeyNorm = weights.Norm(source.KeyNorm);
        AttentionPostNorm = weights.Norm(source.AttentionPostNorm);
        MlpNorm = weights.Norm(source.MlpNorm);
        MlpPostNorm = weights.Norm(source.MlpPostNorm);
        Sinks = weights.Vector(source.Sinks);
        int queries = config.Heads * config.HeadDim, keys = config.KvHeads * config.HeadDim, hidden = config.HiddenSize;
        (LinearShape?, WeightMatrix, IntPtr, int, float?) Of(string name, WeightMatrix weight, IntPtr y, int yStride) => (shapes[prefix + name], weight, y, yStride, null);
        // Nothing comes between such a product and the residual stream: it is added at once.
        (LinearShape?, WeightMatrix, IntPtr, int, float?) Added(string name, WeightMatrix weight) => (shapes[prefix + name], weight, activations.Hidden, hidden, (float)config.ResidualScale);
        AddsAttention = source.AttentionPostNorm is null;
        AddsMlp = source.MlpPostNorm is null;
        Projections = weights.Linears(
            Of("self_attn.q_proj", source.Query, activations.Queries, queries),
            Of("self_attn.k_proj", source.Key, activations.Keys, keys),
            Of("self_attn.v_proj", source.Value, activations.Values, keys));
        Output = weights.Linears(AddsAttention ? Added("self_attn.o_proj", source.Output) : Of("self_attn.o_proj", source.Output, activations.Block, hidden));
        if (source.Router is { } router) Router = weights.Linears((null, router, activations.Scores, config.Experts, null));
        if (source.SharedGate is { } shared) SharedGate = weights.Linears((null, shared, activations.Scores, 1, null));
        List<DeviceLinears> gateUp = [], down = [];
        Widths = [.. config.Mlps(number).Select(mlp => mlp.Width)];
        foreach (((string name, int width), MlpWeights mlp) in config.Mlps(number).Zip(source.Mlps))
        {
            gateUp.Add(mlp.Gate is { } gate
                ? weights.Linears(Of(name + "gate_proj", gate, activations.Gate, width), Of(name + "up_proj", mlp.Up, activations.Up, width))
                : weights.Linears(Of(name + "up_proj", mlp.Up, activations.Gate, width)));
            down.Add(weights.Linears(AddsMlp && source.Router is null ? Added(name + "down_proj", mlp.Down) : Of(name + "down_proj", mlp.Down, activations.Block, hidden)));
        }

        (GateUp, Down) = (gateUp, down);
    }

    public int Number { get; }

    public NormParameters AttentionNorm { get; }

    public NormParameters QueryNorm { get; }

    public NormParameters KeyNorm { get; }

    public NormParameters AttentionPostNorm { get; }

    public NormParameters MlpNorm { get; }

    public NormParameters MlpPostNorm { get; }

    /// <summary>The scores of query heads beside those of the tokens; 0 where there are none.</summary>
    public IntPtr Sinks { get; }

    /// <summary>q, k and v.</summary>
    public DeviceLinears Projections { get; }

    public DeviceLinears Output { get; }

    /// <summary>Gives each expert's score.</summary>
    public DeviceLinears? Router { get; }

    /// <summary>Gives the share of the MLP that sees every token beside the experts, where it has one.</summary>
    public DeviceLinears? SharedGate { get; }

    /// <summary>gate and up, or up, of each MLP (<see cref="DecoderConfig.Mlps"/>).</summary>
    public IReadOnlyList<DeviceLinears> GateUp { get; }

    public IReadOnlyList<DeviceLinears> Down { get; }

    /// <summary>The width of each MLP between its projections.</summary>
    public IReadOnlyList<int> Widths { get; }

    /// <summary>Whether the product of attention's output is added to the residual stream as it is.</summary>
    public bool AddsAttention { get; }

    /// <summary>Whether that of the MLP is.</summary>
    public bool AddsMlp { get; }
}
