namespace QuantBuild;

/// <summary>Mixtral 8x7B and 8x22B (Jiang et al., 2024): Mistral, in which two of eight experts see each token.</summary>
internal static class Mixtral
{
    public static DecoderConfig Read(ConfigReader config)
    {
        (int experts, int each) = config.Experts("num_local_experts", 8, 2);
        return config.Decoder() with
        {
            Activation = config.Activation("hidden_act", "silu"),
            SlidingWindow = config.OptionalSize("sliding_window", null),
            Experts = experts,
            ExpertsPerToken = each,
            NormalizesExperts = true,
            Names = new WeightNames()
                .With("mlp.router", "block_sparse_moe.gate")
                .With("mlp.experts.*.gate_proj", "block_sparse_moe.experts.*.w1")
                .With("mlp.experts.*.up_proj", "block_sparse_moe.experts.*.w3")
                .With("mlp.experts.*.down_proj", "block_sparse_moe.experts.*.w2"),
        };
    }
}
