namespace QuantBuild.Text;

/// <summary>
/// Texts by their characters. The nodes lie in order of their depth, so that those below one are neighbours, ordered by character: a step is a binary search in an array.
/// </summary>
internal sealed class TextTrie
{
    private readonly char[] labels;
    private readonly int[] firstChildren;
    private readonly int[] values;

    /// <summary>Makes a trie.</summary>
    /// <param name="texts">The texts, none empty, and what each stands for, at least 0; of equal texts the last counts.</param>
    public TextTrie(IEnumerable<KeyValuePair<string, int>> texts)
    {
        Dictionary<string, int> distinct = [];
        foreach ((string text, int value) in texts) distinct[text] = value;
        string[] sorted = [.. distinct.Keys];
        Array.Sort(sorted, StringComparer.Ordinal);
        List<char> labelList = ['\0'];
        List<int> firstList = [];
        List<int> valueList = [-1];
        Queue<(int First, int Last, int Depth)> open = new();
        open.Enqueue((0, sorted.Length, 0));
        while (open.TryDequeue(out (int First, int Last, int Depth) node))
        {
            firstList.Add(labelList.Count);
            int i = node.First;
            // The text that ends here comes first of those that go on.
            if (i < node.Last && sorted[i].Length == node.Depth) i++;
            while (i < node.Last)
            {
                int start = i;
                char label = sorted[i][node.Depth];
                while (i < node.Last && sorted[i][node.Depth] == label) i++;
                labelList.Add(label);
                valueList.Add(sorted[start].Length == node.Depth + 1 ? distinct[sorted[start]] : -1);
                open.Enqueue((start, i, node.Depth + 1));
            }
        }

        firstList.Add(labelList.Count);
        (labels, firstChildren, values) = ([.. labelList], [.. firstList], [.. valueList]);
    }

    /// <summary>The node from which all begin.</summary>
    public const int Root = 0;

    /// <summary>The node that a character leads to, or -1.</summary>
    public int Step(int node, char label)
    {
        int first = firstChildren[node];
        int found = labels.AsSpan(first, firstChildren[node + 1] - first).BinarySearch(label);
        return found < 0 ? -1 : first + found;
    }

    /// <summary>The node that characters lead to, or -1.</summary>
    public int Step(int node, ReadOnlySpan<char> characters)
    {
        for (int i = 0; i < characters.Length && node >= 0; i++) node = Step(node, characters[i]);
        return node;
    }

    /// <summary>What the text that ends at a node stands for, or -1.</summary>
    public int Value(int node) => values[node];

    /// <summary>The longest text that the characters begin with.</summary>
    /// <param name="node">Where to begin.</param>
    /// <param name="characters">What to follow.</param>
    /// <param name="value">What it stands for, or -1.</param>
    /// <returns>Its characters, of those given.</returns>
    public int LongestPrefix(int node, ReadOnlySpan<char> characters, out int value)
    {
        (value, int length) = (-1, 0);
        for (int i = 0; i < characters.Length; i++)
        {
            node = Step(node, characters[i]);
            if (node < 0) break;
            if (values[node] >= 0) (value, length) = (values[node], i + 1);
        }

        return length;
    }
}
