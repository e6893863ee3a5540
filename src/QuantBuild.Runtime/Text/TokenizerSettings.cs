using System.Text.Json;

namespace QuantBuild.Text;

/// <summary>
/// What <c>tokenizer_config.json</c> adds to a file of SentencePiece or tiktoken, neither of which says what goes around a text: <c>add_bos_token</c> and <c>add_eos_token</c>, and which tokens those are.
/// <c>tokenizer.json</c> says it itself.
/// </summary>
internal static class TokenizerSettings
{
    // The end of texts where the file has no name for it, as transformers has it.
    private const string StandardEnd = "</s>";

    /// <summary>A definition with the tokens around a text that the settings ask for.</summary>
    /// <param name="definition">What the file says.</param>
    /// <param name="config">The text of <c>tokenizer_config.json</c>. One that is no JSON object says nothing; the build warns of it.</param>
    /// <param name="source">What to call the tokenizer's file in errors.</param>
    /// <exception cref="QuantBuildException">QB2009: it asks for a token that the tokenizer does not have.</exception>
    public static TokenizerDefinition Apply(TokenizerDefinition definition, string config, string source)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(config);
            JsonElement settings = document.RootElement;
            if (settings.ValueKind != JsonValueKind.Object) return definition;
            if (Flag(settings, "add_bos_token") is { } begins) definition = definition with { Prefix = begins ? Token("bos_token", definition.Prefix) : [] };
            if (Flag(settings, "add_eos_token") is { } ends) definition = definition with { Suffix = ends ? Token("eos_token", []) : [] };
            return definition;

            IReadOnlyList<int> Token(string name, IReadOnlyList<int> otherwise)
            {
                string? content = Content(settings, name);
                if (content is null && otherwise.Count > 0) return otherwise;
                if (definition.AddedTokens.FirstOrDefault(token => token.Content == (content ?? StandardEnd)) is { } added) return [added.Id];
                throw new QuantBuildException(
                    DiagnosticIds.TokenizerUnsupported,
                    $"{source}: tokenizer_config.json asks for {name} {content ?? StandardEnd} around each text (add_{name}), and the tokenizer has no such special token. " +
                    $"Copy both files again from where the model came from, or set add_{name} to false.");
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return definition;
        }
    }

    private static bool? Flag(JsonElement settings, string name) =>
        settings.TryGetProperty(name, out JsonElement flag) && flag.ValueKind is JsonValueKind.True or JsonValueKind.False ? flag.GetBoolean() : null;

    // A text, or an object that has it.
    private static string? Content(JsonElement settings, string name)
    {
        if (!settings.TryGetProperty(name, out JsonElement token)) return null;
        if (token.ValueKind == JsonValueKind.Object && token.TryGetProperty("content", out JsonElement content)) token = content;
        return token.ValueKind == JsonValueKind.String ? token.GetString() : null;
    }
}
