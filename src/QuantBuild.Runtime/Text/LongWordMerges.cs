namespace QuantBuild.Text;

/// <summary>
/// BPE of very long words. The library's merging takes time quadratic in the length of a word, which nobody notices before a
/// text of a hundred thousand letters without a blank (a genome) comes along; this takes n log n.
/// </summary>
internal sealed class LongWordMerges
{
    private readonly Dictionary<char, int> letters = [];
    private readonly Dictionary<(int Left, int Right), (int Rank, int Id)> merges = [];

    public LongWordMerges(Dictionary<string, int> vocabulary, List<string> mergeList)
    {
        foreach ((string token, int id) in vocabulary)
        {
            if (token.Length == 1) letters[token[0]] = id;
        }

        for (int rank = 0; rank < mergeList.Count; rank++)
        {
            string merge = mergeList[rank];
            int blank = merge.IndexOf(' ', StringComparison.Ordinal);
            (string left, string right) = (merge[..blank], merge[(blank + 1)..]);
            merges.TryAdd((vocabulary[left], vocabulary[right]), (rank, vocabulary[left + right]));
        }
    }

    /// <summary>The tokens of a word that is written in the byte alphabet; a letter that is no token is left out.</summary>
    public IEnumerable<int> Encode(string word)
    {
        int[] ids = [.. word.Where(letters.ContainsKey).Select(letter => letters[letter])];
        // A doubly linked list of the symbols: a merged symbol takes the place of its left part, and the right one is taken out (id -1).
        int[] next = [.. Enumerable.Range(1, ids.Length)];
        int[] previous = [.. Enumerable.Range(-1, ids.Length)];
        // The most urgent merge first, and of equal ones the leftmost.
        PriorityQueue<(int Position, int Left, int Right), (int Rank, int Position)> queue = new();

        void Consider(int position)
        {
            if (position < 0 || next[position] >= ids.Length) return;
            (int left, int right) = (ids[position], ids[next[position]]);
            if (merges.TryGetValue((left, right), out (int Rank, int Id) merge)) queue.Enqueue((position, left, right), (merge.Rank, position));
        }

        for (int i = 0; i < ids.Length; i++) Consider(i);
        while (queue.TryDequeue(out (int Position, int Left, int Right) pair, out _))
        {
            (int position, int left, int right) = pair;
            // Either part may have gone into another merge since.
            if (ids[position] != left || next[position] >= ids.Length || ids[next[position]] != right) continue;
            int taken = next[position];
            ids[position] = merges[(left, right)].Id;
            ids[taken] = -1;
            next[position] = next[taken];
            if (next[position] < ids.Length) previous[next[position]] = position;
            Consider(previous[position]);
            Consider(position);
        }

        return ids.Where(id => id >= 0);
    }
}
