using System.Text.Json.Nodes;
using QuantBuild.Text;

namespace QuantBuild.Worker.Synthesis;

/// <summary>The smallest byte-level BPE tokenizer: a token for each byte, none for more than one, and the two that begin and end a text.</summary>
internal static class ByteTokenizer
{
    /// <summary>Number of tokens: the smallest vocabulary of a model with this tokenizer.</summary>
    public const int Size = 258;

    private const string BeginOfText = "<|begin_of_text|>";
    private const string EndOfText = "<|end_of_text|>";
    private const int BeginOfTextId = 256;

    /// <summary>The text of its <c>tokenizer.json</c>.</summary>
    public static string Json()
    {
        JsonObject vocabulary = [];
        for (int value = 0; value < 256; value++) vocabulary[ByteAlphabet.Letter((byte)value).ToString()] = value;
        JsonObject byteLevel() => new() { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["trim_offsets"] = true, ["use_regex"] = true };
        return Text(new JsonObject
        {
            ["version"] = "1.0",
            ["truncation"] = null,
            ["padding"] = null,
            ["added_tokens"] = new JsonArray(SpecialToken(BeginOfTextId, BeginOfText), SpecialToken(BeginOfTextId + 1, EndOfText)),
            ["normalizer"] = null,
            ["pre_tokenizer"] = byteLevel(),
            ["post_processor"] = new JsonObject
            {
                ["type"] = "TemplateProcessing",
                ["single"] = new JsonArray(Piece("SpecialToken", BeginOfText), Piece("Sequence", "A")),
                ["pair"] = new JsonArray(Piece("SpecialToken", BeginOfText), Piece("Sequence", "A"), Piece("Sequence", "B")),
                ["special_tokens"] = new JsonObject
                {
                    [BeginOfText] = new JsonObject { ["id"] = BeginOfText, ["ids"] = new JsonArray(BeginOfTextId), ["tokens"] = new JsonArray(BeginOfText) },
                },
            },
            ["decoder"] = byteLevel(),
            ["model"] = new JsonObject
            {
                ["type"] = "BPE",
                ["dropout"] = null,
                ["unk_token"] = null,
                ["continuing_subword_prefix"] = null,
                ["end_of_word_suffix"] = null,
                ["fuse_unk"] = false,
                ["byte_fallback"] = false,
                ["ignore_merges"] = false,
                ["vocab"] = vocabulary,
                ["merges"] = new JsonArray(),
            },
        });
    }

    /// <summary>The text of its <c>tokenizer_config.json</c>.</summary>
    /// <param name="context">The model's context, in tokens.</param>
    public static string ConfigJson(int context) => Text(new JsonObject
    {
        ["add_bos_token"] = true,
        ["bos_token"] = BeginOfText,
        ["eos_token"] = EndOfText,
        ["clean_up_tokenization_spaces"] = false,
        ["model_max_length"] = context,
        ["tokenizer_class"] = "PreTrainedTokenizerFast",
    });

    private static JsonObject SpecialToken(int id, string content) => new()
    {
        ["id"] = id,
        ["content"] = content,
        ["single_word"] = false,
        ["lstrip"] = false,
        ["rstrip"] = false,
        ["normalized"] = false,
        ["special"] = true,
    };

    private static JsonObject Piece(string kind, string id) => new() { [kind] = new JsonObject { ["id"] = id, ["type_id"] = 0 } };

    private static string Text(JsonObject json) => json.ToJsonString(new() { WriteIndented = true }) + "\n";
}
