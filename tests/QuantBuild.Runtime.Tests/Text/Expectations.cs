using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace QuantBuild.Runtime.Tests.Text;

/// <summary>
/// Small tokenizers of every kind, and what their own libraries make of texts with them: tokenizers 0.23.2 and SentencePiece 0.1.97, by the scripts in the folder Expectations.
/// </summary>
internal static class Expectations
{
    private static readonly JsonElement Tokenizers = Read("tokenizers.json");
    private static readonly JsonElement SentencePieces = Read("sentencepiece.json");

    public static string[] TokenizerNames { get; } = [.. Tokenizers.GetProperty("tokenizers").EnumerateArray().Select(Name)];

    public static string[] SentencePieceNames { get; } = [.. SentencePieces.GetProperty("models").EnumerateArray().Select(Name)];

    public static string[] Texts { get; } = [.. Tokenizers.GetProperty("texts").EnumerateArray().Select(t => t.GetString()!)];

    /// <summary>The tokenizer.json of a kind.</summary>
    public static byte[] Definition(string name) => Encoding.UTF8.GetBytes(Tokenizer(name).GetProperty("definition").GetRawText());

    /// <summary>The tokenizer.json of a kind, changed.</summary>
    public static byte[] Definition(string name, Action<JsonObject> change)
    {
        JsonObject root = JsonNode.Parse(Definition(name))!.AsObject();
        change(root);
        return Encoding.UTF8.GetBytes(root.ToJsonString());
    }

    /// <summary>The tokenizer of a kind.</summary>
    public static TextTokenizer Load(string name) => TextTokenizer.Load(Definition(name), name);

    /// <summary>The bytes of a tokenizer.model.</summary>
    public static byte[] SentencePiece(string name) => SentencePieceModel(name).GetProperty("model").GetBytesFromBase64();

    /// <summary>The token that begins texts, or -1.</summary>
    public static int BeginOfText(string name) => SentencePieceModel(name).GetProperty("beginOfText").GetInt32();

    /// <summary>Texts with ids, ids without special tokens, and the text of the former.</summary>
    public static IEnumerable<(string Text, string Ids, string Bare, string Decoded)> OfTokenizer(string name) =>
        Texts.Zip(Tokenizer(name).GetProperty("expected").EnumerateArray(), (text, e) => (text, e[0].GetString()!, e[1].GetString()!, e[2].GetString()!));

    /// <summary>Texts with ids, and their text, which is null where a token is unknown.</summary>
    public static IEnumerable<(string Text, string Ids, string? Decoded)> OfSentencePiece(string name) =>
        SentencePieces.GetProperty("texts").EnumerateArray().Zip(SentencePieceModel(name).GetProperty("expected").EnumerateArray(), (text, e) => (text.GetString()!, e[0].GetString()!, e[1].GetString()));

    private static JsonElement Tokenizer(string name) => Tokenizers.GetProperty("tokenizers").EnumerateArray().Single(t => Name(t) == name);

    private static JsonElement SentencePieceModel(string name) => SentencePieces.GetProperty("models").EnumerateArray().Single(t => Name(t) == name);

    private static string Name(JsonElement kind) => kind.GetProperty("name").GetString()!;

    private static JsonElement Read(string name) => JsonDocument.Parse(File.ReadAllBytes(Sample.Expectation(name))).RootElement;
}
