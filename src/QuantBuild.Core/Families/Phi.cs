namespace QuantBuild;

/// <summary>Phi 1, 1.5 and 2 (Gunasekar et al., 2023; Li et al., 2023): attention and MLP behind one LayerNorm, a part of each head turned, and biases in all linears, the head too.</summary>
internal static class Phi
{
    public static DecoderConfig Read(ConfigReader config)
    {
        config.Require("qk_layernorm", "false");
        return config.Decoder(rotaryShare: 0.5) with
        {
            Norm = NormKind.Layer,
            NormBias = true,
            NormEpsilon = config.NumberOr("layer_norm_eps", 1e-5),
            Activation = config.Activation("hidden_act", "gelu_new"),
            GatedMlp = false,
            ParallelResidual = true,
            SharedNorm = true,
            AttentionBias = true,
            OutputBias = true,
            MlpBias = true,
            HeadBias = true,
            Names = new WeightNames()
                .With("self_attn.o_proj", "self_attn.dense")
                .With("mlp.up_proj", "mlp.fc1")
                .With("mlp.down_proj", "mlp.fc2")
                .With("model.norm", "model.final_layernorm"),
        };
    }
}
