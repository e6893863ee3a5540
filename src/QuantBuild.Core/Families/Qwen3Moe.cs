namespace QuantBuild;

/// <summary>Qwen 3 with experts, of which eight of 128 see each token.</summary>
internal static class Qwen3Moe
{
    public static DecoderConfig Read(ConfigReader config)
    {
        Qwen2.CheckWindows(config);
        DecoderConfig decoder = Qwen3.Read(config);
        (int experts, int each) = config.Experts("num_experts", 128, 8);
        return decoder with
        {
            Experts = experts,
            ExpertLayers = config.ExpertLayers(decoder.Layers),
            ExpertSize = config.PositiveOr("moe_intermediate_size", 768),
            ExpertsPerToken = each,
            NormalizesExperts = config.BooleanOr("norm_topk_prob", false),
            Names = new WeightNames().With("mlp.router", "mlp.gate"),
        };
    }
}
