namespace QuantBuild;

/// <summary>AFM 4.5B (Arcee, 2025): Llama with squared ReLU in an MLP without a gate.</summary>
internal static class Arcee
{
    public static DecoderConfig Read(ConfigReader config) => Llama.Read(config) with
    {
        NormEpsilon = config.NumberOr("rms_norm_eps", 1e-5),
        Activation = config.Activation("hidden_act", "relu2"),
        GatedMlp = false,
    };
}
