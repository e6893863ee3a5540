using System.Buffers;
using System.Text;

namespace QuantBuild.Text.Models;

/// <summary>
/// The unigram language model (Kudo, 2018): of all ways to cut a word into tokens the one whose scores (log-probabilities) sum highest, found by Viterbi's method in
/// time linear in the word, for tokens have a longest.
/// </summary>
internal sealed class UnigramModel : TokenModel
{
    // How much less likely an unknown character is than the least likely token: SentencePiece's constant.
    private const double UnknownPenalty = 10;

    private readonly TextTrie trie;
    private readonly IReadOnlyList<double> scores;
    private readonly int unknown;
    private readonly int[]? byteTokens;
    private readonly double unknownScore;
    private readonly bool singlePrecision;

    /// <summary>Makes the model.</summary>
    /// <param name="vocabulary">Token to id.</param>
    /// <param name="pieces">The tokens that texts are cut into, with their ids.</param>
    /// <param name="scores">By id.</param>
    /// <param name="unknown">The id of a character that is no token, or -1.</param>
    /// <param name="byteFallback">Whether such a character becomes the tokens of its UTF-8 bytes.</param>
    /// <param name="lowestScore">The score of the least likely token.</param>
    /// <param name="singlePrecision">Whether sums are kept in single precision, as SentencePiece does: it decides between ways that differ only in order.</param>
    public UnigramModel(
        Dictionary<string, int> vocabulary, IEnumerable<KeyValuePair<string, int>> pieces, IReadOnlyList<double> scores, int unknown, bool byteFallback, double lowestScore,
        bool singlePrecision)
        : base(vocabulary)
    {
        (trie, this.scores, this.unknown, this.singlePrecision) = (new TextTrie(pieces), scores, unknown, singlePrecision);
        unknownScore = lowestScore - UnknownPenalty;
        if (byteFallback && ByteTokens() is var tokens && tokens.All(id => id >= 0)) byteTokens = tokens;
    }

    public override void Encode(ReadOnlySpan<char> word, List<int> ids)
    {
        // At each place: the best sum of the tokens up to it, the token that ends there (unknown: -1), and where that begins.
        double[] sums = ArrayPool<double>.Shared.Rent(word.Length + 1);
        int[] nodes = ArrayPool<int>.Shared.Rent(2 * (word.Length + 1));
        Span<int> tokens = nodes.AsSpan(0, word.Length + 1);
        Span<int> starts = nodes.AsSpan(word.Length + 1, word.Length + 1);
        sums.AsSpan(0, word.Length + 1).Fill(double.NegativeInfinity);
        sums[0] = 0;
        for (int start = 0, length; start < word.Length; start += length)
        {
            length = char.IsHighSurrogate(word[start]) ? 2 : 1;
            bool hasCharacter = false;
            for (int end = start, node = TextTrie.Root; end < word.Length;)
            {
                node = trie.Step(node, word[end++]);
                if (node < 0) break;
                if (trie.Value(node) is not (>= 0 and int id)) continue;
                Offer(start, end, id, scores[id], sums, tokens, starts);
                hasCharacter |= end == start + length;
            }

            if (!hasCharacter) Offer(start, start + length, -1, unknownScore, sums, tokens, starts);
        }

        int before = ids.Count;
        // Unknown characters in a row are one.
        int unknownEnd = -1;
        for (int end = word.Length; end > 0; end = starts[end])
        {
            if (tokens[end] < 0)
            {
                if (unknownEnd < 0) unknownEnd = end;
                if (starts[end] == 0) AddUnknown(word[..unknownEnd], ids);
                continue;
            }

            if (unknownEnd >= 0) AddUnknown(word[end..unknownEnd], ids);
            unknownEnd = -1;
            ids.Add(tokens[end]);
        }

        ids.Reverse(before, ids.Count - before);
        ArrayPool<double>.Shared.Return(sums);
        ArrayPool<int>.Shared.Return(nodes);
    }

    /// <summary>Adds what stands for unknown characters, the last first.</summary>
    private void AddUnknown(ReadOnlySpan<char> characters, List<int> ids)
    {
        if (Ids.TryGetValue(characters, out int token)) ids.Add(token);
        else if (byteTokens is not null) ids.AddRange(Encoding.UTF8.GetBytes(characters.ToArray()).Reverse().Select(b => byteTokens[b]));
        else if (unknown >= 0) ids.Add(unknown);
    }

    private void Offer(int start, int end, int token, double score, double[] sums, Span<int> tokens, Span<int> starts)
    {
        double sum = sums[start] + score;
        if (sum > sums[end]) (sums[end], tokens[end], starts[end]) = (singlePrecision ? (float)sum : sum, token, start);
    }
}
