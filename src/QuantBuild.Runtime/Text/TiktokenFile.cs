using System.Buffers.Text;
using System.Globalization;
using System.Text;
using QuantBuild.Text.Models;
using QuantBuild.Text.Normalization;
using QuantBuild.Text.Patterns;

namespace QuantBuild.Text;

/// <summary>
/// Reads a file of tiktoken: lines of a token in base64 and its rank. Neither the pattern that cuts words nor the special tokens are in it: they are known for the
/// vocabularies that were published, which the number of ranks tells apart.
/// </summary>
internal static class TiktokenFile
{
    // That of every published vocabulary.
    private const int LongestToken = 128;

    private const string Cl100kPattern = @"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+\z|\s*[\r\n]|\s+(?!\S)|\s";

    private const string O200kPattern =
        @"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|" +
        @"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|" +
        @"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private const string Llama3Pattern = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private const string QwenPattern = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private static readonly Published[] Vocabularies =
    [
        new("r50k", 50256, null, [new(50256, "<|endoftext|>")]),
        new("p50k", 50280, null, [new(50256, "<|endoftext|>")]),
        new(
            "cl100k",
            100256,
            Cl100kPattern,
            [new(100257, "<|endoftext|>"), new(100258, "<|fim_prefix|>"), new(100259, "<|fim_middle|>"), new(100260, "<|fim_suffix|>"), new(100276, "<|endofprompt|>")]),
        new("o200k", 199998, O200kPattern, [new(199999, "<|endoftext|>"), new(200018, "<|endofprompt|>")]),
        new("Llama 3", 128000, Llama3Pattern, Llama3Tokens()) { BeginOfText = 128000 },
        new("Qwen", 151643, QwenPattern, [new(151643, "<|endoftext|>"), new(151644, "<|im_start|>"), new(151645, "<|im_end|>"), .. Numbered("<|extra_{0}|>", 0, 151646, 205)])
        {
            Normalizer = new Normalizer.Form(NormalizationForm.FormC),
        },
    ];

    /// <summary>Reads the file.</summary>
    /// <exception cref="QuantBuildException">QB2026.</exception>
    public static TokenizerDefinition Parse(ReadOnlySpan<byte> file, string source)
    {
        Dictionary<string, int> ranks;
        try
        {
            ranks = ReadRanks(file);
        }
        catch (FormatException e)
        {
            throw Malformed(source, e.Message, e);
        }

        Published known = Array.Find(Vocabularies, v => v.Ranks == ranks.Count)
            ?? throw Malformed(source, $"it has {ranks.Count} tokens, expected {string.Join(", ", Vocabularies.Select(v => $"{v.Ranks} ({v.Name})"))}: how it cuts words is not in the file");
        if (ranks.Values.Any(id => known.Tokens.Any(t => t.Id == id))) throw Malformed(source, $"it has a token of the rank that {known.Name} has a special token at");
        return new TokenizerDefinition
        {
            AddedTokens = known.Tokens,
            Normalizers = known.Normalizer is { } normalizer ? [normalizer] : [],
            PreTokenizers = known.Pattern is { } pattern
                ? [new PreTokenizer.Split(Pattern.Parse(pattern), SplitBehavior.Isolated), new PreTokenizer.ByteLevel(PrefixSpace: false, Pattern: null)]
                : [new PreTokenizer.ByteLevel(PrefixSpace: false, PreTokenizer.ByteLevel.Gpt2Pattern)],
            Model = new BpeModel(ranks, Merges(ranks), new BpeOptions { IgnoreMerges = true }),
            Prefix = known.BeginOfText is { } first ? [first] : [],
            Text = new TokenText([new TokenText.ByteLevel()]),
        };
    }

    private static QuantBuildException Malformed(string source, string what, Exception? cause = null) => new(
        DiagnosticIds.TiktokenMalformed,
        $"{source} is not a tiktoken vocabulary that QuantBuild knows: {what.TrimEnd('.')}. Copy the file again from where the model came from, or use the model's tokenizer.json.", cause);

    /// <summary>Token in the byte alphabet to rank, which is its id.</summary>
    private static Dictionary<string, int> ReadRanks(ReadOnlySpan<byte> file)
    {
        Dictionary<string, int> ranks = [];
        HashSet<int> ids = [];
        int number = 0;
        Span<byte> bytes = stackalloc byte[LongestToken + 2];
        foreach (Range range in file.Split((byte)'\n'))
        {
            number++;
            ReadOnlySpan<byte> line = file[range].Trim(" \t\r"u8);
            if (line.IsEmpty) continue;
            int blank = line.IndexOf((byte)' ');
            if (blank < 0 || Base64.DecodeFromUtf8(line[..blank], bytes, out _, out int length) != System.Buffers.OperationStatus.Done || length is 0 or > LongestToken
                || !int.TryParse(line[(blank + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out int rank) || rank >= 1 << 24)
            {
                throw new FormatException($"line {number} is not a token of up to {LongestToken} bytes in base64 and its rank");
            }

            if (!ids.Add(rank) || !ranks.TryAdd(ByteAlphabet.Encode(bytes[..length].ToArray()), rank)) throw new FormatException($"line {number} repeats a token or a rank");
        }

        return ranks;
    }

    /// <summary>
    /// The last merge that makes each token. Whatever surrounds it, a token comes about by the merges that it comes about by alone, so it is one pair. What no merges
    /// make is found as a whole word only.
    /// </summary>
    private static List<Merge> Merges(Dictionary<string, int> ranks)
    {
        Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> lookup = ranks.GetAlternateLookup<ReadOnlySpan<char>>();
        List<Merge> merges = new(ranks.Count);
        List<int> cuts = [];
        foreach ((string token, int rank) in ranks)
        {
            cuts.Clear();
            cuts.AddRange(Enumerable.Range(0, token.Length + 1));
            while (cuts.Count > 3)
            {
                (int best, int bestRank) = (-1, rank);
                for (int i = 0; i + 2 < cuts.Count; i++)
                {
                    if (lookup.TryGetValue(token.AsSpan(cuts[i]..cuts[i + 2]), out int pair) && pair < bestRank) (best, bestRank) = (i, pair);
                }

                if (best < 0) break;
                cuts.RemoveAt(best + 1);
            }

            if (cuts.Count == 3 && ranks.ContainsKey(token[..cuts[1]]) && ranks.ContainsKey(token[cuts[1]..])) merges.Add(new Merge(token[..cuts[1]], token[cuts[1]..], rank));
        }

        return merges;
    }

    private static IEnumerable<AddedToken> Numbered(string format, int first, int id, int count) =>
        Enumerable.Range(0, count).Select(i => Special(id + i, string.Format(CultureInfo.InvariantCulture, format, first + i)));

    private static AddedToken Special(int id, string content) => new(id, content) { Special = true };

    // Those of Llama 3.1 and later; in Llama 3 three of them were still reserved.
    private static AddedToken[] Llama3Tokens()
    {
        string[] names =
        [
            "<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>", "<|finetune_right_pad_id|>", "<|reserved_special_token_2|>",
            "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>",
        ];
        return [.. names.Select((name, i) => Special(128000 + i, name)), .. Numbered("<|reserved_special_token_{0}|>", 3, 128011, 245)];
    }

    /// <summary>A vocabulary that was published.</summary>
    /// <param name="Name">What it is called.</param>
    /// <param name="Ranks">How many tokens its file has.</param>
    /// <param name="Pattern">How it cuts words; <see langword="null"/> as GPT-2.</param>
    /// <param name="Added">The tokens that are not in the file.</param>
    private sealed record Published(string Name, int Ranks, string? Pattern, IReadOnlyList<AddedToken> Added)
    {
        /// <summary>The token that goes before a text.</summary>
        public int? BeginOfText { get; init; }

        /// <summary>What is done with a text first.</summary>
        public Normalizer? Normalizer { get; init; }

        /// <summary>The tokens that are not in the file, all special.</summary>
        public IReadOnlyList<AddedToken> Tokens { get; } = [.. Added.Select(t => t with { Special = true })];
    }
}
