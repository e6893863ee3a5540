namespace QuantBuild;

/// <summary>Gemma 3 (2025), text alone: a norm of each head's query and key, and of six layers five with a sliding window, whose rotary embedding has a base of its own.</summary>
internal static class Gemma3
{
    public static DecoderConfig Read(ConfigReader config)
    {
        int pattern = config.PositiveOr("sliding_window_pattern", 6);
        // The files of the larger models leave out what their smallest one has.
        DecoderConfig decoder = Gemma.Read(config.WithDefaults(("num_attention_heads", 8), ("num_key_value_heads", 4), ("vocab_size", 262_208), ("max_position_embeddings", 131_072)));
        return decoder with
        {
            PostNorms = true,
            QueryKeyNorm = QueryKeyNorm.Head,
            AttentionScale = 1 / Math.Sqrt(config.NumberOr("query_pre_attn_scalar", 256)),
            ScoreCap = config.OptionalNumber("attn_logit_softcapping", null),
            LogitCap = config.OptionalNumber("final_logit_softcapping", null),
            RopeTheta = config.RopeTheta(1_000_000),
            LocalRopeTheta = config.LocalRopeTheta(10_000),
            SlidingWindow = config.OptionalSize("sliding_window", 4096),
            SlidingLayers = config.SlidingLayers(decoder.Layers, layer => (layer + 1) % pattern != 0),
            Names = Gemma2.Names,
        };
    }
}
