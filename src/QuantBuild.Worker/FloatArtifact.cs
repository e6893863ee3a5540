using QuantBuild.Quantization;

namespace QuantBuild.Worker;

/// <summary>An artifact in which nothing is quantized: what the quantized ones are compared with, run by the same runtime.</summary>
internal static class FloatArtifact
{
    /// <summary>Writes it.</summary>
    /// <exception cref="QuantBuildException">QB1003 or QB1004: it cannot be written. QB2xxx: the model's files are at fault.</exception>
    public static void Write(string path, ModelFolder model)
    {
        using ModelWeights weights = ModelWeights.Open(model);
        TensorSource[] tensors =
        [
            ArtifactWriter.TokenizerTensor(model.ReadTokenizer()),
            .. model.Config.Tensors().Select(tensor => weights.Source(tensor.Key)),
        ];
        ArtifactWriter.Write(
            path,
            new ArtifactManifest
            {
                Fingerprint = "",
                ModelName = model.Name,
                QuantizerVersion = ModelQuantizer.Version,
                Spec = new Dictionary<string, string>(),
                ConfigJson = model.ConfigJson,
                ModelFiles = [],
                OriginalBytes = weights.Bytes,
                Layers = new Dictionary<string, LayerFormat>(),
            },
            tensors);
    }
}
