using System.Text;
using System.Text.Json;

namespace QuantBuild.Runtime.Tests.Text;

/// <summary>The models of words written straight from their definitions, over strings, without regard to time: oracles that share nothing with the tokenizer but the file.</summary>
internal sealed class ReferenceModels
{
    private readonly JsonElement model;
    private readonly Dictionary<string, int> vocabulary;
    private readonly List<double> scores = [];
    private readonly Dictionary<(string, string), int> ranks = [];

    public ReferenceModels(byte[] tokenizerJson)
    {
        model = JsonDocument.Parse(tokenizerJson).RootElement.GetProperty("model");
        JsonElement vocab = model.GetProperty("vocab");
        if (vocab.ValueKind == JsonValueKind.Array)
        {
            vocabulary = vocab.EnumerateArray().Select((piece, id) => (Text: piece[0].GetString()!, id)).ToDictionary(p => p.Text, p => p.id);
            scores.AddRange(vocab.EnumerateArray().Select(piece => piece[1].GetDouble()));
        }
        else
        {
            vocabulary = vocab.EnumerateObject().ToDictionary(p => p.Name, p => p.Value.GetInt32());
        }

        if (!model.TryGetProperty("merges", out JsonElement merges)) return;
        foreach (JsonElement merge in merges.EnumerateArray())
        {
            string[] parts = merge.GetString()!.Split(' ');
            ranks.Add((parts[0], parts[1]), ranks.Count);
        }
    }

    /// <summary>BPE: all pairs are looked at again after each merge. Characters without a token are their bytes.</summary>
    public List<int> Bpe(string word)
    {
        List<string> symbols = [.. word.EnumerateRunes().SelectMany(rune => vocabulary.ContainsKey(rune.ToString()) ? [rune.ToString()] : Bytes(rune))];
        while (true)
        {
            List<(int Rank, int Index)> pairs = [];
            for (int i = 0; i + 1 < symbols.Count; i++)
            {
                if (ranks.TryGetValue((symbols[i], symbols[i + 1]), out int rank)) pairs.Add((rank, i));
            }

            if (pairs.Count == 0) return [.. symbols.Select(s => vocabulary[s])];
            int best = pairs.Min().Index;
            symbols[best] += symbols[best + 1];
            symbols.RemoveAt(best + 1);
        }
    }

    /// <summary>The sum of scores of the best way to cut a word: the best of all first tokens and what is best after them.</summary>
    public double BestUnigramScore(string word)
    {
        double unknown = scores.Min() - 10;
        Dictionary<int, double> known = new() { [word.Length] = 0 };
        double Best(int start)
        {
            if (known.TryGetValue(start, out double best)) return best;
            int character = char.IsHighSurrogate(word[start]) ? 2 : 1;
            best = vocabulary.ContainsKey(word.Substring(start, character)) ? double.NegativeInfinity : unknown + Best(start + character);
            for (int end = start + 1; end <= word.Length; end++)
            {
                if (vocabulary.TryGetValue(word[start..end], out int id)) best = Math.Max(best, scores[id] + Best(end));
            }

            return known[start] = best;
        }

        return Best(0);
    }

    /// <summary>The sum of scores of tokens.</summary>
    public double UnigramScore(IEnumerable<int> ids) => ids.Sum(id => scores[id]);

    /// <summary>WordPiece: prefixes are tried from the longest.</summary>
    public List<int> WordPiece(string word)
    {
        List<int> ids = [];
        for (int start = 0; start < word.Length;)
        {
            int end = word.Length;
            while (end > start && !vocabulary.ContainsKey((start > 0 ? "##" : "") + word[start..end])) end--;
            if (end == start) return [vocabulary["[UNK]"]];
            ids.Add(vocabulary[(start > 0 ? "##" : "") + word[start..end]]);
            start = end;
        }

        return ids;
    }

    private static IEnumerable<string> Bytes(Rune rune) => Encoding.UTF8.GetBytes(rune.ToString()).Select(b => $"<0x{b:X2}>");
}
