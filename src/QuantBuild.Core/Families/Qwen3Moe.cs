namespace QuantBuild;

/// <summary>Qwen 3 with experts in every layer, of which eight of 128 see each token.</summary>
internal static class Qwen3Moe
{
    public static DecoderConfig Read(ConfigReader config)
    {
        config.Require("decoder_sparse_step", "1");
        if (config.Length("mlp_only_layers") > 0) throw config.Unsupported("\"mlp_only_layers\" names layers without experts, and only experts in every layer are supported");
        (int experts, int each) = config.Experts("num_experts", 128, 8);
        return Qwen3.Read(config) with
        {
            IntermediateSize = config.PositiveOr("moe_intermediate_size", 768),
            Experts = experts,
            ExpertsPerToken = each,
            NormalizesExperts = config.BooleanOr("norm_topk_prob", false),
            Names = new WeightNames().With("mlp.router", "mlp.gate"),
        };
    }
}
