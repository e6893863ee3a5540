using System.Text.Json.Nodes;

namespace QuantBuild.Runtime.Tests.Text;

public class ReferenceModelTests
{
    private static readonly string[] Letters = ["a", "e", "o", "th", "the", "fox", "er", "ing", "d", "o", "g", "狐", "ли", "са", "\u2581", "\u2581the", "ż", "😀", "x", "q"];

    [Fact]
    public void Merges_are_those_of_the_definition()
    {
        byte[] json = Alone("Llama 2");
        TextTokenizer tokenizer = TextTokenizer.Load(json, "t");
        ReferenceModels reference = new(json);
        foreach (string word in Words(1, 60)) Assert.Equal((word, string.Join(' ', reference.Bpe(word))), (word, Ids(tokenizer, word)));
    }

    [Fact]
    public void Unigrams_are_the_most_likely()
    {
        byte[] json = Alone("T5");
        TextTokenizer tokenizer = TextTokenizer.Load(json, "t");
        ReferenceModels reference = new(json);
        // The unknown emoji has no score of its own.
        foreach (string word in Words(2, 30).Where(w => !w.Contains('\uD83D')))
        {
            IReadOnlyList<int> ids = tokenizer.Encode(word, addSpecialTokens: false);
            Assert.Equal(reference.BestUnigramScore(word), reference.UnigramScore(ids), 1e-6);
            Assert.Equal(word, string.Concat(ids.Select(id => System.Text.Encoding.UTF8.GetString(tokenizer.TokenBytes(id)))));
        }
    }

    [Fact]
    public void Word_pieces_are_the_longest()
    {
        byte[] json = Alone("BERT");
        TextTokenizer tokenizer = TextTokenizer.Load(json, "t");
        ReferenceModels reference = new(json);
        foreach (string word in Words(3, 12)) Assert.Equal((word, string.Join(' ', reference.WordPiece(word))), (word, Ids(tokenizer, word)));
    }

    private static string Ids(TextTokenizer tokenizer, string text) => string.Join(' ', tokenizer.Encode(text, addSpecialTokens: false));

    private static IEnumerable<string> Words(int seed, int longest)
    {
        Random random = new(seed);
        return Enumerable.Range(0, 400).Select(_ => string.Concat(Enumerable.Range(0, random.Next(1, longest)).Select(_ => Letters[random.Next(Letters.Length)])));
    }

    /// <summary>The model of a tokenizer, and nothing that changes a text before it.</summary>
    private static byte[] Alone(string name) => Expectations.Definition(name, root =>
    {
        foreach (string part in new[] { "normalizer", "pre_tokenizer", "post_processor" }) root[part] = null;
        root["decoder"] = new JsonObject { ["type"] = "Fuse" };
        root["added_tokens"] = new JsonArray();
    });
}
