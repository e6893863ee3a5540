namespace QuantBuild.Constraints;

/// <summary>
/// The tokens of a tokenizer by their bytes: a trie, laid out so that a walk in order of the bytes is a loop over arrays. Special and other added tokens are not
/// in it.
/// </summary>
internal sealed class TokenTrie
{
    private readonly byte[] labels;
    private readonly ushort[] depths;
    private readonly int[] ends;
    private readonly int[] firstTokens;
    private readonly int[] tokens;
    private readonly IReadOnlyList<byte[]?> tokenBytes;

    /// <summary>Makes a trie.</summary>
    /// <param name="tokenBytes">The bytes of each token by id; a token without bytes is not in the trie.</param>
    public TokenTrie(IReadOnlyList<byte[]?> tokenBytes)
    {
        this.tokenBytes = tokenBytes;
        VocabularySize = tokenBytes.Count;
        tokens = [.. Enumerable.Range(0, tokenBytes.Count).Where(id => tokenBytes[id] is { Length: > 0 and <= ushort.MaxValue })];
        Array.Sort(tokens, (a, b) =>
        {
            int order = tokenBytes[a].AsSpan().SequenceCompareTo(tokenBytes[b]);
            return order != 0 ? order : a.CompareTo(b);
        });
        List<byte> labelList = [];
        List<ushort> depthList = [];
        List<int> firstList = [];
        ReadOnlySpan<byte> last = [];
        for (int i = 0; i < tokens.Length; i++)
        {
            ReadOnlySpan<byte> bytes = tokenBytes[tokens[i]];
            for (int depth = last.CommonPrefixLength(bytes); depth < bytes.Length; depth++)
            {
                labelList.Add(bytes[depth]);
                depthList.Add((ushort)depth);
                firstList.Add(i);
            }

            last = bytes;
            LongestToken = Math.Max(LongestToken, bytes.Length);
        }

        // Of the nodes that a token adds, it ends at the last: there the next node's first token is another one.
        labels = [.. labelList];
        depths = [.. depthList];
        firstTokens = [.. firstList, tokens.Length];
        ends = new int[labels.Length];
        Stack<int> open = new();
        for (int node = 0; node < labels.Length; node++)
        {
            while (open.Count > 0 && depths[open.Peek()] >= depths[node]) ends[open.Pop()] = node;
            open.Push(node);
        }

        while (open.Count > 0) ends[open.Pop()] = labels.Length;
        foreach (int token in tokens)
        {
            if (tokenBytes[token] is [byte single]) HasByte[single] = true;
        }
    }

    /// <summary>One more than the largest token id.</summary>
    public int VocabularySize { get; }

    /// <summary>The bytes of the longest token.</summary>
    public int LongestToken { get; }

    /// <summary>Per byte, whether a token is that byte alone.</summary>
    public bool[] HasByte { get; } = new bool[256];

    /// <summary>The number of nodes, in an order in which each follows its parent and its smaller siblings with all that is below them.</summary>
    public int Count => labels.Length;

    /// <summary>Per node, the byte that leads to it.</summary>
    public ReadOnlySpan<byte> Labels => labels;

    /// <summary>Per node, how many nodes are above it.</summary>
    public ReadOnlySpan<ushort> Depths => depths;

    /// <summary>Per node, the first node that is not below it.</summary>
    public ReadOnlySpan<int> Ends => ends;

    /// <summary>The bytes of a token; none if it is not in the trie.</summary>
    public ReadOnlySpan<byte> BytesOf(int token) => token >= 0 && token < tokenBytes.Count && tokenBytes[token] is { Length: <= ushort.MaxValue } bytes ? bytes : [];

    /// <summary>The tokens that end at a node.</summary>
    public ReadOnlySpan<int> TokensAt(int node) => tokens.AsSpan(firstTokens[node]..firstTokens[node + 1]);
}
