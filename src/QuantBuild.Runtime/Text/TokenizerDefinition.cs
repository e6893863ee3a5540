using QuantBuild.Text.Models;
using QuantBuild.Text.Normalization;

namespace QuantBuild.Text;

/// <summary>What a tokenizer's file says, whatever its kind: the parts that a text goes through, in order.</summary>
internal sealed record TokenizerDefinition
{
    /// <summary>Tokens that are matched in the text itself.</summary>
    public IReadOnlyList<AddedToken> AddedTokens { get; init; } = [];

    /// <summary>What is done with each stretch of text before it is cut into words.</summary>
    public IReadOnlyList<Normalizer> Normalizers { get; init; } = [];

    /// <summary>How words are cut, one step after the other.</summary>
    public IReadOnlyList<PreTokenizer> PreTokenizers { get; init; } = [];

    /// <summary>How a word becomes tokens.</summary>
    public required TokenModel Model { get; init; }

    /// <summary>Ids that go before a text.</summary>
    public IReadOnlyList<int> Prefix { get; init; } = [];

    /// <summary>Ids that go after a text.</summary>
    public IReadOnlyList<int> Suffix { get; init; } = [];

    /// <summary>What tokens are as text.</summary>
    public required TokenText Text { get; init; }

    /// <summary>The largest token id; -1 without a token.</summary>
    public int LargestId => Math.Max(Model.Vocabulary.Values.DefaultIfEmpty(-1).Max(), AddedTokens.Select(t => t.Id).DefaultIfEmpty(-1).Max());

    /// <summary>A text after all normalizers.</summary>
    public string Normalize(string text)
    {
        foreach (Normalizer normalizer in Normalizers)
        {
            if (text.Length > 0) text = normalizer.Apply(text);
        }

        return text;
    }
}
