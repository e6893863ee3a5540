namespace QuantBuild.Text.Models;

/// <summary>WordPiece (BERT): the longest token that the word begins with, then the longest of what is left. A word that does not come out even is one unknown token.</summary>
/// <param name="vocabulary">Token to id.</param>
/// <param name="unknown">The id of the unknown token.</param>
/// <param name="innerPrefix">What tokens begin with that do not begin a word.</param>
/// <param name="longestWord">Words of more code points are unknown.</param>
internal sealed class WordPieceModel(Dictionary<string, int> vocabulary, int unknown, string innerPrefix, int longestWord) : TokenModel(vocabulary)
{
    private readonly TextTrie trie = new(vocabulary.Where(t => t.Key.Length > 0));

    public override void Encode(ReadOnlySpan<char> word, List<int> ids)
    {
        int before = ids.Count;
        bool fits = CodePoints(word) <= longestWord;
        int inner = trie.Step(TextTrie.Root, innerPrefix);
        for (int start = 0; fits && start < word.Length;)
        {
            int node = start == 0 ? TextTrie.Root : inner;
            int id = -1;
            int length = node < 0 ? 0 : trie.LongestPrefix(node, word[start..], out id);
            fits = length > 0;
            ids.Add(id);
            start += length;
        }

        if (fits) return;
        ids.RemoveRange(before, ids.Count - before);
        ids.Add(unknown);
    }

    private static int CodePoints(ReadOnlySpan<char> word)
    {
        int count = word.Length;
        foreach (char c in word)
        {
            if (char.IsLowSurrogate(c)) count--;
        }

        return count;
    }
}
