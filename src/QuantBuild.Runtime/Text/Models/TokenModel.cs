namespace QuantBuild.Text.Models;

/// <summary>How a word becomes tokens. Safe to use from several threads at once.</summary>
/// <param name="vocabulary">Token to id.</param>
internal abstract class TokenModel(Dictionary<string, int> vocabulary)
{
    /// <summary>Token to id.</summary>
    public IReadOnlyDictionary<string, int> Vocabulary => vocabulary;

    /// <summary>Looks tokens up by a part of a text.</summary>
    protected Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> Ids { get; } = vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();

    /// <summary>Adds the tokens of a word, which is not empty and valid UTF-16.</summary>
    public abstract void Encode(ReadOnlySpan<char> word, List<int> ids);

    /// <summary>Where the first part of a word ends whose tokens are the same alone as within the word; the parts of texts recur, the texts do not.</summary>
    public virtual int FirstPart(ReadOnlySpan<char> word) => word.Length;

    /// <summary>The ids of the tokens <c>&lt;0x00&gt;</c> to <c>&lt;0xFF&gt;</c>, -1 where there is none.</summary>
    protected int[] ByteTokens() => [.. Enumerable.Range(0, 256).Select(value => vocabulary.GetValueOrDefault(ByteToken((byte)value), -1))];

    /// <summary>The token of a byte.</summary>
    public static string ByteToken(byte value) => $"<0x{value:X2}>";
}
