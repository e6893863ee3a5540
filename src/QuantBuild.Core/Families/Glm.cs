namespace QuantBuild;

/// <summary>GLM-4 9B (Zeng et al., 2024): half of each head turned, neighbouring dimensions together, a bias in q, k and v, and gate and up in one tensor.</summary>
internal static class Glm
{
    public static DecoderConfig Read(ConfigReader config)
    {
        DecoderConfig decoder = config.Decoder(headDim: 128, rotaryShare: 0.5);
        return decoder with
        {
            Activation = config.Activation("hidden_act", "silu"),
            NormEpsilon = config.NumberOr("rms_norm_eps", 1.5625e-7),
            AttentionBias = config.BooleanOr("attention_bias", true),
            RopeInterleaved = true,
            Names = Names(decoder),
        };
    }

    /// <summary>The names of GLM's checkpoints.</summary>
    public static WeightNames Names(DecoderConfig decoder) =>
        new WeightNames().WithFused("mlp.gate_up_proj", ("mlp.gate_proj", decoder.IntermediateSize), ("mlp.up_proj", decoder.IntermediateSize));
}
