namespace QuantBuild;

/// <summary>OLMoE (Muennighoff et al., 2024): experts, of which eight of 64 see each token, and norms of all queries and all keys of a token together.</summary>
internal static class Olmoe
{
    public static DecoderConfig Read(ConfigReader config)
    {
        if (config.Has("clip_qkv")) throw config.Unsupported("\"clip_qkv\" caps queries, keys and values, which is not supported");
        DecoderConfig decoder = Llama.Read(config);
        (int experts, int each) = config.Experts("num_experts", 64, 8);
        return decoder with
        {
            MlpBias = false,
            NormEpsilon = config.NumberOr("rms_norm_eps", 1e-5),
            QueryKeyNorm = QueryKeyNorm.Width,
            Experts = experts,
            ExpertsPerToken = each,
            NormalizesExperts = config.BooleanOr("norm_topk_prob", false),
            Names = new WeightNames().With("mlp.router", "mlp.gate"),
        };
    }
}
