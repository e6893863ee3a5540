namespace QuantBuild;

/// <summary>Mistral 7B, Nemo and Small (Jiang et al., 2023): Llama with a sliding window in every layer, in its first version.</summary>
internal static class Mistral
{
    // The window of a file that does not name one; null is none.
    private const int Window = 4096;

    public static DecoderConfig Read(ConfigReader config) => config.Decoder() with
    {
        Activation = config.Activation("hidden_act", "silu"),
        SlidingWindow = config.OptionalSize("sliding_window", Window),
    };
}
