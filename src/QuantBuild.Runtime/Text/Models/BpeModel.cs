using System.Buffers;
using System.Text;

namespace QuantBuild.Text.Models;

/// <summary>A merge of byte-pair encoding.</summary>
/// <param name="Left">The token on the left.</param>
/// <param name="Right">The token on the right.</param>
/// <param name="Rank">The lowest of a word is done first, and of equal ones the leftmost.</param>
internal readonly record struct Merge(string Left, string Right, int Rank)
{
    /// <summary>The ids of the two tokens, where whoever read the merge looked them up.</summary>
    public (int Left, int Right)? Ids { get; init; }
}

/// <summary>What a BPE model has besides vocabulary and merges.</summary>
internal sealed record BpeOptions
{
    /// <summary>Whether a word that is a token as a whole is that token, whatever the merges would make of it.</summary>
    public bool IgnoreMerges { get; init; }

    /// <summary>Whether a character that is no token becomes the tokens of its UTF-8 bytes.</summary>
    public bool ByteFallback { get; init; }

    /// <summary>The token of a character that is none; without it such a character is left out.</summary>
    public string? Unknown { get; init; }

    /// <summary>Whether characters in a row that are no tokens become one unknown token.</summary>
    public bool FuseUnknown { get; init; }

    /// <summary>What tokens begin with that do not begin a word.</summary>
    public string InnerPrefix { get; init; } = "";

    /// <summary>What tokens end with that end a word.</summary>
    public string EndSuffix { get; init; } = "";
}

/// <summary>
/// Byte-pair encoding (Sennrich et al., 2016): the characters of a word, of which the most urgent pair is merged until none is left. A heap of the pairs and a linked
/// list of the symbols make it n log n: words are as long as their author likes.
/// </summary>
internal sealed class BpeModel : TokenModel
{
    // SentencePiece's blank, before which texts without words can be cut.
    private const char Blank = '\u2581';

    private readonly BpeOptions options;
    private readonly int unknown = -1;
    private readonly int[] byteTokens;
    private readonly Dictionary<ulong, (int Rank, int Id)> merges = [];

    // The characters after which a blank may be merged; null where words must not be cut at all.
    private readonly HashSet<char>? mergedBeforeBlank;

    /// <summary>Makes the model.</summary>
    /// <exception cref="FormatException">A merge is of a token that the vocabulary does not have, or there is no unknown token of that name.</exception>
    public BpeModel(Dictionary<string, int> vocabulary, IReadOnlyCollection<Merge> mergeList, BpeOptions options)
        : base(vocabulary)
    {
        this.options = options;
        if (options.Unknown is { } name) unknown = Id(name);
        byteTokens = options.ByteFallback ? ByteTokens() : [];
        merges.EnsureCapacity(mergeList.Count);
        char[] joined = new char[256];
        foreach (Merge merge in mergeList)
        {
            if (!merge.Right.StartsWith(options.InnerPrefix, StringComparison.Ordinal)) throw new FormatException($"the merge of {merge.Left} and {merge.Right} lacks the inner prefix");
            (int left, int right) = merge.Ids ?? (Id(merge.Left), Id(merge.Right));
            merges[Pair(left, right)] = (merge.Rank, Joined(merge.Left, merge.Right.AsSpan(options.InnerPrefix.Length)));
        }

        if (!options.IgnoreMerges && options.InnerPrefix.Length == 0 && options.EndSuffix.Length == 0 && vocabulary.ContainsKey("\u2581"))
        {
            mergedBeforeBlank = [.. mergeList.Where(m => m.Right[0] == Blank).Select(m => m.Left[^1])];
        }

        // The same without making a text of the two.
        int Joined(ReadOnlySpan<char> left, ReadOnlySpan<char> right)
        {
            if (left.Length + right.Length > joined.Length) return Id(string.Concat(left, right));
            left.CopyTo(joined);
            right.CopyTo(joined.AsSpan(left.Length));
            ReadOnlySpan<char> token = joined.AsSpan(0, left.Length + right.Length);
            return Ids.TryGetValue(token, out int id) ? id : Id(token.ToString());
        }

        int Id(string token) => vocabulary.TryGetValue(token, out int id) ? id : throw new FormatException($"the token {token} of a merge, or the unknown one, is not in the vocabulary");
    }

    public override void Encode(ReadOnlySpan<char> word, List<int> ids)
    {
        if (options.IgnoreMerges && Ids.TryGetValue(word, out int whole))
        {
            ids.Add(whole);
            return;
        }

        List<int> symbols = Symbols(word);
        if (symbols.Count > 1) MergeAll(symbols, ids);
        else ids.AddRange(symbols);
    }

    public override int FirstPart(ReadOnlySpan<char> word)
    {
        for (int i = 1; mergedBeforeBlank is not null && i < word.Length; i++)
        {
            // No merge joins what stands here, so none ever reaches across. What is unknown may be one token with what follows.
            if (word[i] == Blank && !mergedBeforeBlank.Contains(word[i - 1]) && Ids.ContainsKey(word[(i - 1)..i])) return i;
        }

        return word.Length;
    }

    /// <summary>The tokens of a word's characters.</summary>
    private List<int> Symbols(ReadOnlySpan<char> word)
    {
        List<int> symbols = new(word.Length);
        bool pendingUnknown = false;
        Span<byte> bytes = stackalloc byte[4];
        for (int start = 0, length; start < word.Length; start += length)
        {
            length = char.IsHighSurrogate(word[start]) ? 2 : 1;
            ReadOnlySpan<char> character = word.Slice(start, length);
            if (options.InnerPrefix.Length > 0 && start > 0) character = options.InnerPrefix + character.ToString();
            if (options.EndSuffix.Length > 0 && start + length == word.Length) character = character.ToString() + options.EndSuffix;
            if (Ids.TryGetValue(character, out int id))
            {
                Flush();
                symbols.Add(id);
                continue;
            }

            if (options.ByteFallback)
            {
                int count = Encoding.UTF8.GetBytes(character.Length > 2 ? word.Slice(start, length) : character, bytes);
                if (!bytes[..count].ToArray().Any(b => byteTokens[b] < 0))
                {
                    // As the reference has it: what is unknown before stays pending, and comes after these.
                    foreach (byte b in bytes[..count]) symbols.Add(byteTokens[b]);
                    continue;
                }
            }

            if (unknown < 0) continue;
            if (!options.FuseUnknown) Flush();
            pendingUnknown = true;
        }

        Flush();
        return symbols;

        void Flush()
        {
            if (pendingUnknown) symbols.Add(unknown);
            pendingUnknown = false;
        }
    }

    private void MergeAll(List<int> symbols, List<int> result)
    {
        int count = symbols.Count;
        // A doubly linked list of the symbols: a merged one takes the place of its left part, and the right one is taken out (id -1).
        int[] buffer = ArrayPool<int>.Shared.Rent(3 * count);
        Span<int> ids = buffer.AsSpan(0, count);
        Span<int> next = buffer.AsSpan(count, count);
        Span<int> previous = buffer.AsSpan(2 * count, count);
        // By rank, and of equal ranks by position.
        PriorityQueue<int, ulong> queue = new();
        List<(int, ulong)> first = new(count);
        for (int i = 0; i < count; i++) (ids[i], next[i], previous[i]) = (symbols[i], i + 1, i - 1);
        for (int i = 0; i + 1 < count; i++)
        {
            if (merges.TryGetValue(Pair(ids[i], ids[i + 1]), out (int Rank, int Id) merge)) first.Add((i, Priority(merge.Rank, i)));
        }

        queue.EnqueueRange(first);
        while (queue.TryDequeue(out int position, out ulong priority))
        {
            // Either part may have gone into another merge since.
            if (ids[position] < 0 || next[position] >= count || !merges.TryGetValue(Pair(ids[position], ids[next[position]]), out (int Rank, int Id) merge)
                || Priority(merge.Rank, position) != priority)
            {
                continue;
            }

            int taken = next[position];
            ids[position] = merge.Id;
            ids[taken] = -1;
            next[position] = next[taken];
            if (next[position] < count) previous[next[position]] = position;
            if (previous[position] >= 0) Consider(previous[position], ids, next);
            Consider(position, ids, next);
        }

        for (int i = 0; i < count; i = next[i]) result.Add(ids[i]);
        ArrayPool<int>.Shared.Return(buffer);

        void Consider(int position, ReadOnlySpan<int> ids, ReadOnlySpan<int> next)
        {
            if (next[position] < count && merges.TryGetValue(Pair(ids[position], ids[next[position]]), out (int Rank, int Id) merge))
            {
                queue.Enqueue(position, Priority(merge.Rank, position));
            }
        }
    }

    // Two ids as one number. Multiplied by an odd one, no two pairs are alike, and the bits are spread out for the dictionary.
    private static ulong Pair(int left, int right) => (((ulong)(uint)left << 32) | (uint)right) * 0x9E3779B97F4A7C15;

    private static ulong Priority(int rank, int position) => ((ulong)(uint)rank << 32) | (uint)position;
}
