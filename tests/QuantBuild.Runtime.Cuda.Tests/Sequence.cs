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

    /// <summary>The logits behind two tokens of each of several texts, [texts, vocabulary], which are computed together.</summary>
    public static float[] Together(LanguageModel model, int texts)
    {
        int vocabulary = model.Config.VocabularySize;
        float[] logits = new float[texts * vocabulary];
        KvCache[] caches = [.. Enumerable.Range(0, texts).Select(_ => model.CreateCache())];
        for (int step = 0; step < 2; step++)
        {
            model.Forward([.. caches.Select((cache, i) => new BatchPart(cache, new[] { ((i * 37) + step) % vocabulary }) { Logits = logits.AsMemory(i * vocabulary, vocabulary) })]);
        }

        foreach (KvCache cache in caches) cache.Dispose();
        return logits;
    }
}
