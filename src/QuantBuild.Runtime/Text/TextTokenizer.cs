using System.Text;
using Microsoft.ML.Tokenizers;
using QuantBuild.Constraints;
using QuantBuild.Text;

namespace QuantBuild;

/// <summary>
/// Text to tokens and back, as <c>tokenizer.json</c> says: byte-level BPE (GPT-2, Llama 3 and their kin). Safe to use from several threads at once.
/// </summary>
public sealed class TextTokenizer
{
    // Where the library's quadratic merging begins to cost more than a table of our own.
    private const int LongWord = 512;

    private readonly TokenizerFile file;
    private readonly AddedTokens added;
    private readonly WordSplitter words;
    private readonly BpeTokenizer merges;
    private readonly Lazy<LongWordMerges> longWordMerges;

    // By id: the bytes of each token; null where no token has the id, empty where it is special.
    private readonly byte[]?[] bytes;
    private readonly Lazy<TokenTrie> trie;

    private TextTokenizer(TokenizerFile file)
    {
        this.file = file;
        added = new AddedTokens(file.AddedTokens);
        words = new WordSplitter(file.Patterns);
        merges = BpeTokenizer.Create(new BpeOptions(file.Vocabulary) { Merges = file.Merges, ByteLevel = true });
        longWordMerges = new Lazy<LongWordMerges>(() => new LongWordMerges(file.Vocabulary, file.Merges));
        bytes = new byte[]?[1 + Math.Max(file.Vocabulary.Values.DefaultIfEmpty(-1).Max(), file.AddedTokens.Select(t => t.Id).DefaultIfEmpty(-1).Max())];
        foreach ((string token, int id) in file.Vocabulary) bytes[id] = ByteAlphabet.Decode(token);
        foreach (AddedToken token in file.AddedTokens) bytes[token.Id] = token.Special ? [] : ByteAlphabet.Decode(token.Content);
        trie = new Lazy<TokenTrie>(MakeTrie);
    }

    /// <summary>One more than the largest token id.</summary>
    public int VocabularySize => bytes.Length;

    /// <summary>The tokens that text is made of, by their bytes: all but added ones.</summary>
    internal TokenTrie Trie => trie.Value;

    /// <summary>Reads a tokenizer.</summary>
    /// <param name="tokenizerJson">The bytes of <c>tokenizer.json</c>.</param>
    /// <param name="source">What to call the file in errors: its path.</param>
    /// <exception cref="QuantBuildException">QB2009: malformed, or of a kind that is not supported.</exception>
    public static TextTokenizer Load(ReadOnlySpan<byte> tokenizerJson, string source)
    {
        TokenizerFile file = TokenizerFile.Parse(tokenizerJson, source);
        try
        {
            return new TextTokenizer(file);
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException or FormatException or KeyNotFoundException)
        {
            throw new QuantBuildException(
                DiagnosticIds.TokenizerUnsupported,
                $"{source}: its vocabulary and merges do not make a tokenizer: {e.Message} Copy the file again from where the model came from.", e);
        }
    }

    /// <summary>The tokens of a text. Added tokens (such as <c>&lt;|end_of_text|&gt;</c>) are recognized where they stand in the text.</summary>
    /// <param name="text">The text; an unpaired surrogate counts as U+FFFD.</param>
    /// <param name="addSpecialTokens">Whether to add what the model expects around a text, such as the token that begins it.</param>
    public IReadOnlyList<int> Encode(string text, bool addSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(text);
        // Through UTF-8 an unpaired surrogate becomes U+FFFD.
        if (text.AsSpan().ContainsAnyInRange('\uD800', '\uDFFF')) text = Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text));
        List<int> ids = new(text.Length / 3);
        if (addSpecialTokens) ids.AddRange(file.Prefix);
        foreach ((Range range, AddedToken? token) in added.Split(text))
        {
            if (token is not null) ids.Add(token.Id);
            else EncodePlain(text[range], ids);
        }

        if (addSpecialTokens) ids.AddRange(file.Suffix);
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
    public TokenDecoder CreateDecoder() => new(this);

    /// <summary>The bytes of a token; none if it is special. A model may have more rows than its tokenizer tokens: such an id has none either.</summary>
    internal ReadOnlySpan<byte> TokenBytes(int id)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(id);
        return id < bytes.Length ? bytes[id] : null;
    }

    private TokenTrie MakeTrie()
    {
        byte[]?[] plain = [.. bytes];
        foreach (AddedToken token in file.AddedTokens) plain[token.Id] = null;
        return new TokenTrie(plain);
    }

    private void EncodePlain(string text, List<int> ids)
    {
        foreach (Range range in words.Split(text))
        {
            string word = text[range];
            if (file.IgnoreMerges && file.Vocabulary.TryGetValue(ByteAlphabet.Encode(word), out int id)) ids.Add(id);
            else if (word.Length > LongWord) ids.AddRange(longWordMerges.Value.Encode(ByteAlphabet.Encode(word)));
            else ids.AddRange(merges.EncodeToIds(word, considerPreTokenization: false, considerNormalization: false));
        }
    }
}
