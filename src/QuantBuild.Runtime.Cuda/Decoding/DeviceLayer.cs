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
        LinearSource Of(string name, WeightMatrix weight, IntPtr y, int yStride) => new(shapes[prefix + name], weight, y, yStride);
        // Nothing comes between such a product and the residual stream: it is added at once.
        LinearSource Added(string name, WeightMatrix weight) => new(shapes[prefix + name], weight, activations.Hidden, hidden, (float)config.ResidualScale);
        AddsAttention = source.AttentionPostNorm is null;
        AddsMlp = source.MlpPostNorm is null;
        Projections = weights.Linears(
            Of("self_attn.q_proj", source.Query, activations.Queries, queries),
            Of("self_attn.k_proj", source.Key, activations.Keys, keys),
            Of("self_attn.v_proj", source.Value, activations.Values, keys));
        Output = weights.Linears(AddsAttention ? Added("self_attn.o_proj", source.Output) : Of("self_attn.o_proj", source.Output, activations.Block, hidden));
        ((string Name, int Width) Mlp, MlpWeights Weights)[] mlps = [.. config.Mlps(number).Zip(source.Mlps)];
        LinearSource[] GateUp(int mlp)
        {
            ((string name, int width), MlpWeights of) = mlps[mlp];
            return of.Gate is { } gate
                ? [Of(name + "gate_proj", gate, activations.Gate, width), Of(name + "up_proj", of.Up, activations.Up, width)]
                : [Of(name + "up_proj", of.Up, activations.Gate, width)];
        }

        LinearSource Down(int mlp, IntPtr y) => Of(mlps[mlp].Mlp.Name + "down_proj", mlps[mlp].Weights.Down, y, hidden);
        if (config.EveryTokenMlp(number) is { } every)
        {
            LinearSource down = AddsMlp && source.Router is null ? Added(mlps[every].Mlp.Name + "down_proj", mlps[every].Weights.Down) : Down(every, activations.Block);
            Mlp = new DeviceMlp(weights.Linears(GateUp(every)), weights.Linears(down), mlps[every].Mlp.Width);
        }

        if (source.Router is not { } router) return;
        Router = weights.Linears(new LinearSource(null, router, activations.Scores, config.Experts));
        if (source.SharedGate is { } shared) SharedGate = weights.Linears(new LinearSource(null, shared, activations.Scores, 1));
        int[] experts = [.. Enumerable.Range(0, config.Experts)];
        Experts = new DeviceMlp(weights.Experts([.. experts.Select(GateUp)]), weights.Experts([.. experts.Select(expert => new[] { Down(expert, activations.ExpertOutput) })]), mlps[0].Mlp.Width);
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

    /// <summary>The MLP that sees every token, where there is one.</summary>
    public DeviceMlp? Mlp { get; }

    /// <summary>The experts, where it has some.</summary>
    public DeviceMlp? Experts { get; }

    /// <summary>Whether the product of attention's output is added to the residual stream as it is.</summary>
    public bool AddsAttention { get; }

    /// <summary>Whether that of the MLP is.</summary>
    public bool AddsMlp { get; }
}

/// <summary>An MLP on a device, or all experts of a layer.</summary>
/// <param name="GateUp">gate and up, or up.</param>
/// <param name="Down">down.</param>
/// <param name="Width">Its width between them; of experts, that of each.</param>
internal sealed record DeviceMlp(DeviceLinears GateUp, DeviceLinears Down, int Width);
