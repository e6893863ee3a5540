using System.Globalization;
using System.Text;
using QuantBuild.Text.Models;
using QuantBuild.Text.Normalization;

namespace QuantBuild.Text;

/// <summary>What tokens are as text: the bytes of each, which may be a part of a character, and what is left out at the ends of the whole.</summary>
/// <param name="steps">What a token goes through, in order.</param>
internal sealed class TokenText(IReadOnlyList<TokenText.Step> steps)
{
    /// <summary>Characters that are left out at the beginning and at the end of the whole text.</summary>
    public Strip? Ends { get; init; }

    /// <summary>The bytes of a token.</summary>
    /// <param name="token">As the vocabulary has it.</param>
    /// <param name="first">Whether the text begins with it.</param>
    public byte[] Bytes(string token, bool first)
    {
        foreach (Step step in steps)
        {
            if (step is ByteFallback && IsByte(token, out byte value)) return [value];
            if (step is ByteLevel) return ByteAlphabet.Decode(token);
            token = step.Apply(token, first);
        }

        return Encoding.UTF8.GetBytes(token);
    }

    private static bool IsByte(string token, out byte value)
    {
        value = 0;
        return token.Length == 6 && byte.TryParse(token.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value)
            && token.Equals(TokenModel.ByteToken(value), StringComparison.OrdinalIgnoreCase) && token.StartsWith("<0x", StringComparison.Ordinal);
    }

    /// <summary>What happens to a token.</summary>
    internal abstract record Step
    {
        /// <summary>The token after it.</summary>
        public virtual string Apply(string token, bool first) => token;
    }

    /// <summary>Tokens of the form <c>&lt;0x41&gt;</c> are bytes.</summary>
    public sealed record ByteFallback : Step;

    /// <summary>Tokens are written in the byte alphabet.</summary>
    public sealed record ByteLevel : Step;

    /// <summary>Something in a token becomes something else, as in normalizing.</summary>
    public sealed record Replace(Normalizer By) : Step
    {
        public override string Apply(string token, bool first) => By.Apply(token);
    }

    /// <summary>A character becomes a blank, or goes from the first token where one was put before the text.</summary>
    public sealed record Metaspace(char Replacement, bool Prepends) : Step
    {
        public override string Apply(string token, bool first) => first && Prepends
            ? token.Replace(Replacement.ToString(), "", StringComparison.Ordinal)
            : token.Replace(Replacement, ' ');
    }

    /// <summary>Up to so many of a character go from the beginning, and from the end.</summary>
    public sealed record Strip(char Content, int Start, int Stop) : Step
    {
        public override string Apply(string token, bool first)
        {
            int start = 0;
            while (start < Math.Min(Start, token.Length) && token[start] == Content) start++;
            int end = token.Length;
            while (end > start && token.Length - end < Stop && token[end - 1] == Content) end--;
            return token[start..end];
        }
    }

    /// <summary>A token without the inner prefix begins a word, so a blank goes before it; blanks that English writes without go.</summary>
    public sealed record WordPiece(string Prefix, bool Cleanup) : Step
    {
        private static readonly (string Written, string Meant)[] Cleanups =
        [
            (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
        ];

        public override string Apply(string token, bool first)
        {
            if (!first) token = token.StartsWith(Prefix, StringComparison.Ordinal) ? token[Prefix.Length..] : " " + token;
            if (!Cleanup) return token;
            foreach ((string written, string meant) in Cleanups) token = token.Replace(written, meant, StringComparison.Ordinal);
            return token;
        }
    }
}
