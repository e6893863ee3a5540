using QuantBuild.Decoding;

namespace QuantBuild.Cuda.Tests;

/// <summary>Texts that are fed to a model piece by piece.</summary>
internal static class Sequence
{
    /// <summary>The logits of every token, [tokens, vocabulary].</summary>
    public static float[] Logits(LanguageModel model, int[] tokens, int[] pieces)
    {
        int vocabulary = model.Config.VocabularySize, done = 0;
        float[] logits = new float[tokens.Length * vocabulary];
        using KvCache cache = model.CreateCache();
        foreach (int piece in pieces)
        {
            model.Feed(cache, tokens.AsMemory(done, piece), logits.AsMemory(done * vocabulary, piece * vocabulary), CancellationToken.None);
            done += piece;
        }

        return logits;
    }
}
