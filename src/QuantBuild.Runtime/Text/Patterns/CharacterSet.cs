using System.Globalization;
using System.Text;

namespace QuantBuild.Text.Patterns;

/// <summary>A set of code points.</summary>
/// <param name="name">What tells it from other sets of a pattern.</param>
/// <param name="contains">Whether a code point is in it.</param>
internal sealed class CharacterSet(string name, Predicate<int> contains)
{
    // Script=Han (Unicode 15, Scripts.txt): the only script that published patterns name.
    private static readonly (int First, int Last)[] Han =
    [
        (0x2E80, 0x2E99), (0x2E9B, 0x2EF3), (0x2F00, 0x2FD5), (0x3005, 0x3005), (0x3007, 0x3007), (0x3021, 0x3029), (0x3038, 0x303B), (0x3400, 0x4DBF), (0x4E00, 0x9FFF),
        (0xF900, 0xFA6D), (0xFA70, 0xFAD9), (0x16FE2, 0x16FE3), (0x16FF0, 0x16FF1), (0x20000, 0x2A6DF), (0x2A700, 0x2B739), (0x2B740, 0x2B81D), (0x2B820, 0x2CEA1),
        (0x2CEB0, 0x2EBE0), (0x2F800, 0x2FA1D), (0x30000, 0x3134A), (0x31350, 0x323AF),
    ];

    // The names of the general categories, in the order of UnicodeCategory.
    private static readonly string[] CategoryNames =
    [
        "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Cn",
    ];

    /// <summary>White space, <c>\s</c>.</summary>
    public static CharacterSet WhiteSpace { get; } = new(@"\s", c => Rune.IsValid(c) && Rune.IsWhiteSpace(new Rune(c)));

    /// <summary>What words are made of, <c>\w</c>: letters, marks, decimal digits and connecting punctuation.</summary>
    public static CharacterSet WordCharacters { get; } = Categories(@"\w", ["L", "M", "Nd", "Pc"]);

    /// <summary>Any but the end of a line, <c>.</c></summary>
    public static CharacterSet NotLineEnd { get; } = new(".", c => c != '\n');

    /// <summary>What tells it from other sets of a pattern.</summary>
    public string Name => name;

    /// <summary>Whether a code point is in it.</summary>
    public bool Contains(int codePoint) => contains(codePoint);

    /// <summary>One code point.</summary>
    public static CharacterSet Of(int codePoint) => Between(codePoint, codePoint);

    /// <summary>The code points from one to another, both included.</summary>
    public static CharacterSet Between(int first, int last) => new($"{first:X}-{last:X}", c => c >= first && c <= last);

    /// <summary>A general category, one or two letters, or the script Han; <see langword="null"/> where the name is another.</summary>
    public static CharacterSet? Property(string property)
    {
        string label = @"\p{" + property + "}";
        if (property == "Han") return new CharacterSet(label, c => Array.Exists(Han, range => c >= range.First && c <= range.Last));
        return CategoryNames.Any(n => n == property || n[..1] == property) ? Categories(label, [property]) : null;
    }

    /// <summary>What is in any of them, of which there is one at least.</summary>
    public static CharacterSet AnyOf(IReadOnlyList<CharacterSet> sets)
    {
        CharacterSet[] distinct = [.. sets.DistinctBy(set => set.Name)];
        return distinct is [{ } only] ? only : new CharacterSet($"({string.Join('|', distinct.Select(set => set.Name))})", c => Array.Exists(distinct, set => set.Contains(c)));
    }

    /// <summary>What is in all of them, of which there is one at least.</summary>
    public static CharacterSet AllOf(IReadOnlyList<CharacterSet> sets)
    {
        CharacterSet[] distinct = [.. sets.DistinctBy(set => set.Name)];
        return distinct is [{ } only] ? only : new CharacterSet($"({string.Join('&', distinct.Select(set => set.Name))})", c => Array.TrueForAll(distinct, set => set.Contains(c)));
    }

    /// <summary>What is not in it.</summary>
    public CharacterSet Not() => new($"!({name})", c => !contains(c));

    /// <summary>What differs from something in it by case alone.</summary>
    public CharacterSet IgnoringCase() => new($"i({name})", c => contains(c) || contains(Lower(c)) || contains(Upper(c)) || contains(Lower(Upper(c))));

    private static CharacterSet Categories(string label, string[] names)
    {
        uint mask = 0;
        for (int i = 0; i < CategoryNames.Length; i++)
        {
            if (names.Contains(CategoryNames[i]) || names.Contains(CategoryNames[i][..1])) mask |= 1u << i;
        }

        return new CharacterSet(label, c => (mask >> (int)CharUnicodeInfo.GetUnicodeCategory(c) & 1) != 0);
    }

    private static int Lower(int c) => Rune.IsValid(c) ? Rune.ToLowerInvariant(new Rune(c)).Value : c;

    // The long s is a small S to regular expressions, and not to .NET where globalization is invariant.
    private static int Upper(int c) => c == 0x17F ? 'S' : Rune.IsValid(c) ? Rune.ToUpperInvariant(new Rune(c)).Value : c;
}
