using System.Text;
using System.Text.Json.Nodes;

namespace QuantBuild.Runtime.Tests.Chat;

/// <summary>
/// A model that says what a test wants: where a prompt ends with a cue, it answers with the pieces of that cue's script, one token each, and ends. Cues and pieces are added tokens; attention and
/// MLP are zero, so that a token alone decides which one is next.
/// </summary>
internal static class ScriptedModel
{
    private const int PlainVocabulary = 4096;
    private const int Hidden = 96;

    /// <param name="folder">Where the artifact is written.</param>
    /// <param name="scripts">By cue: the pieces of the answer.</param>
    /// <param name="specialTokens">Special tokens that the tokenizer has besides, and pieces may be. The last one ends an answer, if there is one.</param>
    public static LanguageModel Load(TemporaryFolder folder, Dictionary<string, string[]> scripts, params string[] specialTokens)
    {
        JsonNode tokenizer = JsonNode.Parse(Sample.TokenizerJson)!;
        int Add(string content, bool special)
        {
            int id = PlainVocabulary + tokenizer["added_tokens"]!.AsArray().Count;
            tokenizer["added_tokens"]!.AsArray().Add(new JsonObject
            {
                ["id"] = id, ["content"] = content, ["special"] = special, ["single_word"] = false, ["lstrip"] = false, ["rstrip"] = false, ["normalized"] = false,
            });
            return id;
        }

        int end = 4094;
        Dictionary<string, int> special = [];
        foreach (string token in specialTokens) end = special[token] = Add(token, special: true);

        // A token is one direction of the hidden state, and the row of the token after it is the same.
        List<(int Token, int Next)> steps = [];
        foreach ((string cue, string[] pieces) in scripts)
        {
            int[] tokens = [Add(cue, special: false), .. pieces.Select(piece => special.TryGetValue(piece, out int id) ? id : Add(piece, special: false)), end];
            steps.AddRange(tokens.Zip(tokens.Skip(1)));
        }

        int vocabulary = PlainVocabulary + tokenizer["added_tokens"]!.AsArray().Count;
        string config = TestArtifact.Config(hidden: Hidden, intermediate: 16, layers: 1, heads: 2, kvHeads: 1, headDim: 8, vocabulary: vocabulary, context: 2048);
        Dictionary<string, float[]> weights = DecoderConfig.Parse(config, "config.json").Tensors()
            .ToDictionary(t => t.Key, t => Enumerable.Repeat(t.Value.Count == 1 ? 1f : 0f, t.Value.Aggregate((a, b) => a * b)).ToArray());
        for (int i = 0; i < steps.Count; i++)
        {
            weights["model.embed_tokens.weight"][(steps[i].Token * Hidden) + i] = 1;
            weights["lm_head.weight"][(steps[i].Next * Hidden) + i] = 1;
        }

        string path = TestArtifact.Write(folder.File(Guid.NewGuid().ToString("N")), config, weights, tokenizerJson: Encoding.UTF8.GetBytes(tokenizer.ToJsonString()));
        return LanguageModel.Load(path);
    }
}
