using System.Runtime.InteropServices;
using System.Text;
using QuantBuild.Constraints;
using QuantBuild.Text;
using QuantBuild.Text.Models;

namespace QuantBuild;

/// <summary>
/// Text to tokens and back, as the model's tokenizer file says: <c>tokenizer.json</c> (BPE, Unigram, WordPiece), SentencePiece's <c>tokenizer.model</c>, or a file of
/// tiktoken. Safe to use from several threads at once.
/// </summary>
public sealed class TextTokenizer
{
    // Words up to this length are looked up before they are encoded again: longer ones do not recur.
    private const int RecurringWord = 64;

    // Ids index tables, which a file of a few tokens is not to make as large as it likes.
    private const int SmallVocabulary = 1 << 20;
    private const int GapsPerToken = 4;

    private readonly TokenizerDefinition definition;
    private readonly AddedTokens asGiven;
    private readonly AddedTokens asNormalized;

    // By id: each token as the vocabulary has it; null where no token has the id, or it is special.
    private readonly string?[] texts;

    // By id: the bytes of each token within a text; null where no token has the id, empty where it is special.
    private readonly byte[]?[] bytes;
    private readonly Lazy<TokenTrie> trie;

    private TextTokenizer(TokenizerDefinition definition)
    {
        this.definition = definition;
        asGiven = new AddedTokens(definition.AddedTokens.Where(t => !t.Normalized).Select(t => (t, t.Content)));
        asNormalized = new AddedTokens(definition.AddedTokens.Where(t => t.Normalized).Select(t => (t, t.SoughtAs ?? definition.Normalize(t.Content))));
        texts = new string?[1 + definition.LargestId];
        bytes = new byte[]?[1 + definition.LargestId];
        foreach ((string token, int id) in definition.Model.Vocabulary) texts[id] = token;
        foreach (AddedToken token in definition.AddedTokens) texts[token.Id] = token.Special ? null : token.Content;
        for (int id = 0; id < texts.Length; id++) bytes[id] = texts[id] is { } text ? definition.Text.Bytes(text, first: false) : null;
        foreach (AddedToken token in definition.AddedTokens) bytes[token.Id] ??= [];
        trie = new Lazy<TokenTrie>(MakeTrie);
    }

    /// <summary>One more than the largest token id.</summary>
    public int VocabularySize => bytes.Length;

    /// <summary>The tokens that text is made of, by their bytes: all but added ones.</summary>
    internal TokenTrie Trie => trie.Value;

    /// <summary>What is left out at the ends of a text.</summary>
    internal TokenText.Strip? StrippedEnds => definition.Text.Ends;

    /// <summary>Reads a tokenizer.</summary>
    /// <param name="file">The bytes of <c>tokenizer.json</c>, <c>tokenizer.model</c>, or a file of tiktoken; which of them it is, the bytes tell.</param>
    /// <param name="source">What to call the file in errors: its path.</param>
    /// <param name="config">
    /// The text of the model's <c>tokenizer_config.json</c>, if it has one: <c>add_bos_token</c> and <c>add_eos_token</c> in it say what goes around a text, where the file is not <c>tokenizer.json</c>, which says it itself.
    /// </param>
    /// <exception cref="QuantBuildException">
    /// QB2009: it is of a kind that is not supported, or <c>tokenizer.json</c> is malformed. QB2025: so is SentencePiece's. QB2026: so is tiktoken's, or it is not of a published vocabulary.
    /// QB2027: the map of characters in it is malformed.
    /// </exception>
    public static TextTokenizer Load(ReadOnlySpan<byte> file, string source, string? config = null)
    {
        TokenizerKind kind = TokenizerFile.KindOf(file);
        TokenizerDefinition definition = kind switch
        {
            TokenizerKind.SentencePiece => SentencePieceFile.Parse(file, source),
            TokenizerKind.Tiktoken => TiktokenFile.Parse(file, source),
            _ => TokenizerJson.Parse(file, source),
        };
        if (definition.LargestId is var largest && largest >= SmallVocabulary + ((long)GapsPerToken * definition.Model.Vocabulary.Count))
        {
            throw new QuantBuildException(
                DiagnosticIds.TokenizerUnsupported,
                $"{source}: it has the token id {largest}, and {definition.Model.Vocabulary.Count} tokens: ids index tables, and nearly all of theirs would be empty. Copy the file again from where the model came from.");
        }

        return new TextTokenizer(kind == TokenizerKind.Json || config is null ? definition : TokenizerSettings.Apply(definition, config, source));
    }

    /// <summary>The tokens of a text. Added tokens (such as <c>&lt;|end_of_text|&gt;</c>) are recognized where they stand in the text.</summary>
    /// <param name="text">The text; an unpaired surrogate counts as U+FFFD.</param>
    /// <param name="addSpecialTokens">Whether to add what the model expects around a text, such as the token that begins it.</param>
    /// <exception cref="QuantBuildException">QB2028: a pattern of the tokenizer takes more than linear time on this text.</exception>
    public IReadOnlyList<int> Encode(string text, bool addSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(text);
        // Through UTF-8 an unpaired surrogate becomes U+FFFD.
        if (text.AsSpan().ContainsAnyInRange('\uD800', '\uDFFF')) text = Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text));
        List<int> ids = new(text.Length / 3);
        if (addSpecialTokens) ids.AddRange(definition.Prefix);
        Dictionary<string, int[]> known = [];
        foreach ((Range range, AddedToken? token) in asGiven.Split(text))
        {
            if (token is not null) ids.Add(token.Id);
            else EncodePlain(text[range], range.Start.Value == 0, known, ids);
        }

        if (addSpecialTokens) ids.AddRange(definition.Suffix);
        return ids;
    }

    /// <summary>The text of tokens, without special tokens. What is not UTF-8 becomes U+FFFD.</summary>
    /// <exception cref="ArgumentOutOfRangeException">An id is negative.</exception>
    public string Decode(IEnumerable<int> ids)
    {
        ArgumentNullException.ThrowIfNull(ids);
        TokenDecoder decoder = CreateDecoder();
        StringBuilder text = new();
        foreach (int id in ids) text.Append(decoder.Append(id));
        return text.Append(decoder.Finish()).ToString();
    }

    /// <summary>A decoder for tokens that come one by one.</summary>
    /// <param name="continues">Whether the tokens go on with a text that has begun: then a blank that stands before the first stays.</param>
    public TokenDecoder CreateDecoder(bool continues = false) => CreateDecoder(continues, []);

    /// <summary>The same, special tokens of these ids being text.</summary>
    internal TokenDecoder CreateDecoder(bool continues, IReadOnlyCollection<int> visible) =>
        new(this, continues, definition.AddedTokens.Where(token => visible.Contains(token.Id)).ToDictionary(token => token.Id, token => Encoding.UTF8.GetBytes(token.Content)));

    /// <summary>The bytes of a token within a text; none if it is special. A model may have more rows than its tokenizer tokens: such an id has none either.</summary>
    internal ReadOnlySpan<byte> TokenBytes(int id)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(id);
        return id < bytes.Length ? bytes[id] : null;
    }

    /// <summary>The bytes of a token, which may differ where a text begins with it.</summary>
    internal ReadOnlySpan<byte> TokenBytes(int id, bool first) => first && IsText(id) ? definition.Text.Bytes(texts[id]!, first) : TokenBytes(id);

    /// <summary>Whether a token is one that text is made of, an added one that is not special among them.</summary>
    internal bool IsText(int id) => id >= 0 && id < texts.Length && texts[id] is not null;

    private TokenTrie MakeTrie()
    {
        byte[]?[] plain = [.. bytes];
        foreach (AddedToken token in definition.AddedTokens) plain[token.Id] = null;
        return new TokenTrie(plain);
    }

    private void EncodePlain(string text, bool first, Dictionary<string, int[]> known, List<int> ids)
    {
        text = definition.Normalize(text);
        foreach ((Range range, AddedToken? token) in asNormalized.Split(text))
        {
            if (token is not null)
            {
                ids.Add(token.Id);
                continue;
            }

            List<ReadOnlyMemory<char>> words = [text.AsMemory()[range]];
            foreach (PreTokenizer step in definition.PreTokenizers)
            {
                List<ReadOnlyMemory<char>> finer = new(words.Count);
                for (int i = 0; i < words.Count; i++) step.Apply(words[i], first && i == 0 && range.Start.Value == 0, finer);
                words = finer;
            }

            foreach (ReadOnlyMemory<char> word in words) EncodeWord(word.Span, known, ids);
        }
    }

    private void EncodeWord(ReadOnlySpan<char> word, Dictionary<string, int[]> known, List<int> ids)
    {
        while (word.Length > 0)
        {
            int length = definition.Model.FirstPart(word);
            ReadOnlySpan<char> part = word[..length];
            word = word[length..];
            if (part.Length > RecurringWord)
            {
                definition.Model.Encode(part, ids);
                continue;
            }

            Dictionary<string, int[]>.AlternateLookup<ReadOnlySpan<char>> lookup = known.GetAlternateLookup<ReadOnlySpan<char>>();
            if (!lookup.TryGetValue(part, out int[]? tokens))
            {
                int before = ids.Count;
                definition.Model.Encode(part, ids);
                lookup[part] = CollectionsMarshal.AsSpan(ids)[before..].ToArray();
            }
            else
            {
                ids.AddRange(tokens);
            }
        }
    }
}
