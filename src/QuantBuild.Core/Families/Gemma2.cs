namespace QuantBuild;

/// <summary>Gemma 2 (2024): norms before and behind attention and MLP, capped scores and logits, a sliding window in every other layer.</summary>
internal static class Gemma2
{
    /// <summary>The names of a layer with four norms.</summary>
    public static WeightNames Names { get; } = new WeightNames()
        .With("self_attn.post_norm", "post_attention_layernorm")
        .With("post_attention_layernorm", "pre_feedforward_layernorm")
        .With("mlp.post_norm", "post_feedforward_layernorm");

    public static DecoderConfig Read(ConfigReader config)
    {
        DecoderConfig decoder = Gemma.Read(config);
        return decoder with
        {
            PostNorms = true,
            AttentionScale = 1 / Math.Sqrt(config.NumberOr("query_pre_attn_scalar", 256)),
            ScoreCap = config.OptionalNumber("attn_logit_softcapping", 50),
            LogitCap = config.OptionalNumber("final_logit_softcapping", 30),
            SlidingWindow = config.OptionalSize("sliding_window", 4096),
            SlidingLayers = config.SlidingLayers(decoder.Layers, layer => layer % 2 == 0),
            Names = Names,
        };
    }
}
