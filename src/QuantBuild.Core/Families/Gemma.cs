namespace QuantBuild;

/// <summary>Gemma (2024): the weights of norms are offsets from one, and embeddings are multiplied by the root of their width.</summary>
internal static class Gemma
{
    public static DecoderConfig Read(ConfigReader config)
    {
        DecoderConfig decoder = config.Decoder(tied: true, headDim: 256);
        bool bias = config.BooleanOr("attention_bias", false);
        return decoder with
        {
            // The first files say gelu in hidden_act, and the models were trained with its approximation.
            Activation = config.Activation("hidden_activation", "gelu_pytorch_tanh"),
            NormOffset = 1,
            EmbeddingScale = Math.Sqrt(decoder.HiddenSize),
            AttentionBias = bias,
            OutputBias = bias,
        };
    }
}
