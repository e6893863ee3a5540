using System.Globalization;
using System.Text;

namespace QuantBuild.Text.Patterns;

/// <summary>
/// Reads the regular expressions of tokenizers: Oniguruma's language, as far as a match of it can be found without backtracking. Look-around is of one character.
/// </summary>
internal sealed class PatternParser
{
    // Deeper nesting than a person would write is a file meant to exhaust the stack.
    private const int MaxDepth = 50;
    private const int MaxCount = 1000;

    /// <summary>
    /// What words are made of by Unicode's technical standard 18: letters, numbers and signs that are letters, marks, decimal digits, connectors and joiners. The tokenizers library takes
    /// it so where it does not use Oniguruma.
    /// </summary>
    public const string UnicodeWord = @"\p{L}\p{Nl}\p{M}\p{Nd}\p{Pc}\u200C\u200D\u24B6-\u24E9\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189}";

    private readonly string pattern;
    private int position;
    private int depth;
    private bool ignoreCase;

    private PatternParser(string pattern) => this.pattern = pattern;

    /// <summary>Reads a pattern.</summary>
    /// <exception cref="FormatException">It is not one, or has what is not supported.</exception>
    public static PatternNode Parse(string pattern)
    {
        PatternParser parser = new(pattern);
        PatternNode node = parser.ReadChoice();
        return parser.position == pattern.Length ? node : throw parser.Error("a ) without a (");
    }

    /// <summary>The set that a pattern has within brackets.</summary>
    /// <exception cref="FormatException">It is not one.</exception>
    public static CharacterSet ParseClass(string members) => new PatternParser(members + "]").ReadClass();

    private bool AtEnd => position >= pattern.Length;

    private FormatException Error(string what) => new(string.Create(CultureInfo.InvariantCulture, $"{what}, at character {position} of the pattern {pattern}"));

    private bool Take(string text)
    {
        if (string.CompareOrdinal(pattern, position, text, 0, text.Length) != 0) return false;
        position += text.Length;
        return true;
    }

    private int Next()
    {
        if (AtEnd) throw Error("it ends too early");
        Rune.DecodeFromUtf16(pattern.AsSpan(position), out Rune rune, out int length);
        position += length;
        return rune.Value;
    }

    private PatternNode ReadChoice()
    {
        if (++depth > MaxDepth) throw Error($"groups are nested more than {MaxDepth} deep");
        List<PatternNode> options = [ReadSequence()];
        while (Take("|")) options.Add(ReadSequence());
        depth--;
        return options.Count == 1 ? options[0] : new PatternNode.Choice(options);
    }

    private PatternNode ReadSequence()
    {
        List<PatternNode> parts = [];
        while (!AtEnd && pattern[position] is not ('|' or ')'))
        {
            if (ReadAtom() is { } atom) parts.Add(ReadQuantifiers(atom));
        }

        return parts.Count == 1 ? parts[0] : new PatternNode.Sequence(parts);
    }

    /// <summary>A part; none where it only changes how the rest is read.</summary>
    private PatternNode? ReadAtom()
    {
        if (Take("(")) return ReadGroup();
        if (Take("[")) return Character(ReadClass());
        if (Take(".")) return new PatternNode.Character(CharacterSet.NotLineEnd);
        if (Take("$")) return new PatternNode.Assertion(CharacterSet.Of('\n').Not(), Ahead: true, Negative: true);
        if (Take("^")) return new PatternNode.Assertion(CharacterSet.Of('\n').Not(), Ahead: false, Negative: true);
        if (Take(@"\z")) return End();
        if (Take(@"\A")) return Start();
        if (Take(@"\b") || Take(@"\B")) throw Error(@"the boundary \b is not supported");
        if (pattern[position] is '*' or '+' or '?') throw Error("nothing stands before a quantifier");
        return Character(Take(@"\") ? ReadEscape() : CharacterSet.Of(Next()));
    }

    // No character follows, and none precedes.
    private static PatternNode.Assertion End() => new(CharacterSet.Between(0, 0x10FFFF), Ahead: true, Negative: true);

    private static PatternNode.Assertion Start() => new(CharacterSet.Between(0, 0x10FFFF), Ahead: false, Negative: true);

    private PatternNode.Character Character(CharacterSet set) => new(ignoreCase ? set.IgnoringCase() : set);

    private PatternNode? ReadGroup()
    {
        bool before = ignoreCase;
        if (Take("?"))
        {
            if (Take("=")) return ReadAssertion(ahead: true, negative: false);
            if (Take("!")) return ReadAssertion(ahead: true, negative: true);
            if (Take("<=")) return ReadAssertion(ahead: false, negative: false);
            if (Take("<!")) return ReadAssertion(ahead: false, negative: true);
            if (Take("i)"))
            {
                ignoreCase = true;
                return null;
            }

            if (Take("i:")) ignoreCase = true;
            else if (!Take(":")) throw Error("this kind of group is not supported");
        }

        PatternNode node = ReadChoice();
        if (!Take(")")) throw Error("a ( without a )");
        ignoreCase = before;
        return node;
    }

    private PatternNode.Assertion ReadAssertion(bool ahead, bool negative)
    {
        PatternNode node = ReadChoice();
        if (!Take(")")) throw Error("a ( without a )");
        return node is PatternNode.Character character
            ? new PatternNode.Assertion(character.Set, ahead, negative)
            : throw Error("look-around of more than one character is not supported");
    }

    private PatternNode ReadQuantifiers(PatternNode node)
    {
        while (ReadCounts() is { } counts)
        {
            if (node is PatternNode.Assertion) throw Error("a condition cannot be repeated");
            if (!counts.IsInterval && Take("+")) node = Possessive(node, counts.Least, counts.Most);
            else node = new PatternNode.Repeat(node, counts.Least, counts.Most, Greedy: !Take("?"));
        }

        return node;
    }

    private (int Least, int? Most, bool IsInterval)? ReadCounts()
    {
        if (Take("?")) return (0, 1, false);
        if (Take("*")) return (0, null, false);
        if (Take("+")) return (1, null, false);
        if (AtEnd || pattern[position] != '{') return null;
        int close = pattern.IndexOf('}', position);
        string[] counts = close < 0 ? [] : pattern[(position + 1)..close].Split(',');
        // A brace that begins no counts stands for itself, as in other engines; here that would only hide a mistake.
        if (counts.Length is not (1 or 2) || !Count(counts[0], 0, out int? least) || !Count(counts[^1], null, out int? most) || least is null || most < least)
        {
            throw Error($"{{ begins no counts, or one over {MaxCount}");
        }

        position = close + 1;
        return (least.Value, most, true);

        static bool Count(string text, int? standard, out int? count)
        {
            count = standard;
            if (text.Length == 0) return true;
            bool valid = int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int value) && value <= MaxCount;
            count = value;
            return valid;
        }
    }

    /// <summary>As many as there are, and no fewer: of one set that is to repeat it and then not to see it.</summary>
    private PatternNode Possessive(PatternNode node, int least, int? most)
    {
        if (node is not PatternNode.Character { Set: { } set }) throw Error("a possessive quantifier of more than one character is not supported");
        PatternNode.Assertion noMore = new(set, Ahead: true, Negative: true);
        PatternNode all = new PatternNode.Sequence([new PatternNode.Repeat(node, least, null, Greedy: true), noMore]);
        return most is null
            ? all
            : new PatternNode.Choice([new PatternNode.Repeat(node, most.Value, most, Greedy: true), new PatternNode.Sequence([new PatternNode.Repeat(node, least, most - 1, Greedy: true), noMore])]);
    }

    /// <summary>What follows a [.</summary>
    private CharacterSet ReadClass()
    {
        if (++depth > MaxDepth) throw Error($"classes are nested more than {MaxDepth} deep");
        bool negative = Take("^");
        // Joined once, at the end: a class has as many parts as its author likes.
        List<CharacterSet> all = [];
        List<CharacterSet> union = [];
        bool first = true;
        while (first || !Take("]"))
        {
            if (Take("&&"))
            {
                all.Add(union.Count > 0 ? CharacterSet.AnyOf(union) : throw Error("nothing stands before &&"));
                union = [];
            }
            else
            {
                union.Add(ReadClassItem());
            }

            first = false;
        }

        depth--;
        if (union.Count == 0) throw Error("nothing stands after &&");
        CharacterSet set = CharacterSet.AllOf([.. all, CharacterSet.AnyOf(union)]);
        return negative ? set.Not() : set;
    }

    private CharacterSet ReadClassItem()
    {
        if (Take("[:")) throw Error("a POSIX bracket is not supported");
        if (Take("[")) return ReadClass();
        int? first = null;
        if (Take(@"\"))
        {
            int start = position;
            first = ReadEscapedCharacter();
            if (first is null)
            {
                position = start;
                return ReadEscape();
            }
        }

        int from = first ?? Next();
        if (position + 1 >= pattern.Length || pattern[position] != '-' || pattern[position + 1] is ']' or '[') return CharacterSet.Of(from);
        position++;
        int to = Take(@"\") ? ReadEscapedCharacter() ?? throw Error("a range ends with a class") : Next();
        return from <= to ? CharacterSet.Between(from, to) : throw Error("a range is backwards");
    }

    /// <summary>What follows a \.</summary>
    private CharacterSet ReadEscape()
    {
        int start = position;
        if (ReadEscapedCharacter() is { } character) return CharacterSet.Of(character);
        position = start;
        switch (Next())
        {
            case 's': return CharacterSet.WhiteSpace;
            case 'S': return CharacterSet.WhiteSpace.Not();
            case 'd': return CharacterSet.Property("Nd")!;
            case 'D': return CharacterSet.Property("Nd")!.Not();
            case 'w': return CharacterSet.WordCharacters;
            case 'W': return CharacterSet.WordCharacters.Not();
            case 'p': return ReadProperty();
            case 'P': return ReadProperty().Not();
            default: throw Error($"the escape \\{pattern[start]} is not supported");
        }
    }

    private CharacterSet ReadProperty()
    {
        int close = pattern.IndexOf('}', position);
        if (!Take("{") || close < 0) throw Error("a property is written with braces");
        bool negative = Take("^");
        string name = pattern[position..close];
        position = close + 1;
        CharacterSet set = CharacterSet.Property(name) ?? throw Error($"the property {name} is not supported");
        return negative ? set.Not() : set;
    }

    /// <summary>The one character that an escape stands for; none if it stands for a class.</summary>
    private int? ReadEscapedCharacter()
    {
        int c = Next();
        switch (c)
        {
            case 'r': return '\r';
            case 'n': return '\n';
            case 't': return '\t';
            case 'f': return '\f';
            case 'v': return '\v';
            case 'e': return 0x1B;
            case 'a': return 7;
            case '0': return 0;
            case 'x' when Take("{"): return ReadHex(pattern.IndexOf('}', position) - position, closed: true);
            case 'x': return ReadHex(2, closed: false);
            case 'u': return ReadHex(4, closed: false);
            default: return c < 128 && char.IsAsciiLetterOrDigit((char)c) ? null : c;
        }
    }

    private int ReadHex(int digits, bool closed)
    {
        if (digits is < 1 or > 8 || position + digits > pattern.Length
            || !int.TryParse(pattern.AsSpan(position, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int value) || value is < 0 or > 0x10FFFF)
        {
            throw Error("a character's number is wrong");
        }

        position += digits + (closed ? 1 : 0);
        return value;
    }
}
