namespace QuantBuild;

/// <summary>Granite 3 with experts (2024): 1B-A400M and 3B-A800M. One tensor holds a projection of all of them.</summary>
internal static class GraniteMoe
{
    public static DecoderConfig Read(ConfigReader config)
    {
        DecoderConfig decoder = Granite.Read(config);
        (int experts, int each) = config.Experts("num_local_experts", 8, 2);
        int mlp = decoder.IntermediateSize;
        return decoder with
        {
            MlpBias = false,
            Experts = experts,
            ExpertsPerToken = each,
            // The softmax of the chosen scores.
            NormalizesExperts = true,
            Names = new WeightNames()
                .With("mlp.router", "block_sparse_moe.router.layer")
                .WithExperts("mlp.experts.*.gate_proj", "block_sparse_moe.input_linear", experts, RowBlocks.Run(0, mlp, 2 * mlp))
                .WithExperts("mlp.experts.*.up_proj", "block_sparse_moe.input_linear", experts, RowBlocks.Run(mlp, mlp, 2 * mlp))
                .WithExperts("mlp.experts.*.down_proj", "block_sparse_moe.output_linear", experts),
        };
    }
}
