namespace QuantBuild;

/// <summary>Qwen 1.5 MoE A2.7B and Qwen 2 57B-A14B (Yang et al., 2024): Qwen 2 with experts, and beside them one that sees every token, with a share that the token decides.</summary>
internal static class Qwen2Moe
{
    public static DecoderConfig Read(ConfigReader config)
    {
        Qwen2.CheckWindows(config);
        DecoderConfig decoder = Qwen2.Read(config);
        (int experts, int each) = config.Experts("num_experts", 60, 4);
        return decoder with
        {
            AttentionBias = config.BooleanOr("qkv_bias", true),
            Experts = experts,
            ExpertLayers = config.ExpertLayers(decoder.Layers),
            ExpertSize = config.PositiveOr("moe_intermediate_size", 1408),
            ExpertsPerToken = each,
            NormalizesExperts = config.BooleanOr("norm_topk_prob", false),
            SharedExpertSize = config.PositiveOr("shared_expert_intermediate_size", 5632),
            SharedExpertGate = true,
            Names = new WeightNames().With("mlp.router", "mlp.gate"),
        };
    }
}
