namespace QuantBuild;

/// <summary>
/// gpt-oss (OpenAI, 2025): experts with biases, whose gate and up are capped, attention with a score of each head's own beside those of the tokens, and a sliding window in every other layer.
/// </summary>
internal static class GptOss
{
    public static DecoderConfig Read(ConfigReader config)
    {
        config.Require("swiglu_alpha", "1.702");
        DecoderConfig decoder = config.Decoder(headDim: 64);
        (int experts, int each) = config.Experts("num_local_experts", 128, 4);
        int mlp = decoder.IntermediateSize;
        // OpenAI's files are in MXFP4, and of a weight [outputs, inputs]; what is trained further is saved in floating point, [inputs, outputs].
        bool transposed = !config.Has("quantization_config"), bias = config.BooleanOr("attention_bias", true);
        // Gate and up take turns.
        RowBlocks Of(int first) => new(first, 1, 2, mlp, 2 * mlp);
        WeightNames Named(WeightNames names, string module, string name, RowBlocks? rows) =>
            names.WithExperts("mlp.experts.*." + module, "mlp.experts." + name, experts, rows, transposed, weight: "", bias: "_bias");
        return decoder with
        {
            NormEpsilon = config.NumberOr("rms_norm_eps", 1e-5),
            RopeTheta = config.RopeTheta(150_000),
            AttentionBias = bias,
            OutputBias = bias,
            AttentionSinks = true,
            SlidingWindow = config.OptionalSize("sliding_window", 128),
            SlidingLayers = config.SlidingLayers(decoder.Layers, layer => layer % 2 == 0),
            Activation = ActivationKind.GeluSigmoid,
            GateLimit = config.NumberOr("swiglu_limit", 7),
            MlpBias = true,
            Experts = experts,
            ExpertsPerToken = each,
            NormalizesExperts = true,
            RouterBias = true,
            Names = Named(Named(Named(new WeightNames(), "gate_proj", "gate_up_proj", Of(0)), "up_proj", "gate_up_proj", Of(1)), "down_proj", "down_proj", null),
        };
    }
}
