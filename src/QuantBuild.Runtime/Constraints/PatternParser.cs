using System.Globalization;
using System.Text;

namespace QuantBuild.Constraints;

/// <summary>
/// Reads the regular expression of a <c>pattern</c> as what a JSON string holds: a subset of ECMA-262's that is regular. Where it is not anchored, anything may
/// come before or after.
/// </summary>
internal sealed class PatternParser
{
    private const int MaxNesting = 100;

    private const int MaxRepetitions = 100_000;

    private static readonly CodePointSet Digits = CodePointSet.Of(('0', '9'));
    private static readonly CodePointSet WordCharacters = CodePointSet.Of(('0', '9'), ('A', 'Z'), ('a', 'z'), ('_', '_'));
    private static readonly CodePointSet LineEnds = CodePointSet.OfText("\n\r\u2028\u2029");
    private static readonly CodePointSet Spaces = CodePointSet.Of(
        ('\t', '\r'), (' ', ' '), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000),
        (0xFEFF, 0xFEFF));

    private readonly string pattern;
    private readonly Func<string, QuantBuildException> error;
    private int position;
    private int nesting;

    private PatternParser(string pattern, Func<string, QuantBuildException> error)
    {
        this.pattern = pattern;
        this.error = error;
    }

    private char Current => position < pattern.Length ? pattern[position] : '\0';

    private bool AtEnd => position >= pattern.Length;

    /// <summary>Reads a pattern.</summary>
    /// <param name="pattern">The pattern.</param>
    /// <param name="error">Makes an error of what is wrong with it.</param>
    /// <returns>The content of the string, without its quotes.</returns>
    public static GrammarExpression Parse(string pattern, Func<string, QuantBuildException> error)
    {
        PatternParser parser = new(pattern, error);
        GrammarExpression content = parser.ReadChoice();
        return parser.AtEnd ? content : throw parser.Unsupported($"a {parser.Current} that closes nothing");
    }

    private GrammarExpression ReadChoice()
    {
        List<GrammarExpression> options = [ReadSequence()];
        while (Current == '|')
        {
            position++;
            options.Add(ReadSequence());
        }

        return options.Count == 1 ? options[0] : GrammarExpression.Any(options);
    }

    private GrammarExpression ReadSequence()
    {
        List<GrammarExpression> parts = [];
        bool anchored = nesting > 0 || Current == '^';
        if (anchored && nesting == 0) position++;
        if (!anchored) parts.Add(Anything());
        while (!AtEnd && Current is not ('|' or ')' or '$'))
        {
            GrammarExpression item = ReadItem();
            parts.Add(ReadRepetition() is { } times ? item.Times(times.Min, times.Max) : item);
        }

        if (Current == '$' && !AtEnd)
        {
            position++;
            if (nesting > 0 || (!AtEnd && Current != '|')) throw Unsupported("a $ that is not at the end");
        }
        else if (nesting == 0)
        {
            parts.Add(Anything());
        }

        return parts.Count == 1 ? parts[0] : GrammarExpression.Join(parts);
    }

    private static GrammarExpression Anything() => JsonText.Character(CodePointSet.All).Times(0, null);

    private GrammarExpression ReadItem()
    {
        switch (Current)
        {
            case '(':
                return ReadGroup();
            case '[':
                return JsonText.Character(ReadClass());
            case '.':
                position++;
                return JsonText.Character(LineEnds.Complement());
            case '^':
                throw Unsupported("a ^ that is not at the beginning");
            case '*' or '+' or '?' or '{':
                throw Unsupported($"a {Current} with nothing before it");
            default:
                return JsonText.Character(ReadCharacter(inClass: false));
        }
    }

    private GrammarExpression ReadGroup()
    {
        position++;
        if (++nesting > MaxNesting) throw Unsupported($"groups nested deeper than {MaxNesting}");
        if (Current == '?')
        {
            if (pattern.AsSpan(position).StartsWith("?:")) position += 2;
            else throw Unsupported("a group that looks around or has a name");
        }

        GrammarExpression body = ReadChoice();
        if (Current != ')') throw Unsupported("a group without an end");
        position++;
        nesting--;
        return body;
    }

    private CodePointSet ReadClass()
    {
        position++;
        bool negated = Current == '^';
        if (negated) position++;
        CodePointSet set = CodePointSet.None;
        while (Current != ']')
        {
            if (AtEnd) throw Unsupported("a class without an end");
            CodePointSet item = ReadCharacter(inClass: true);
            if (Current == '-' && position + 1 < pattern.Length && pattern[position + 1] != ']')
            {
                position++;
                CodePointSet end = ReadCharacter(inClass: true);
                if (item.Ranges is not [(int first, int same)] || end.Ranges is not [(int last, int alike)] || first != same || last != alike || first > last)
                {
                    throw Unsupported("a range between what are not two characters in order");
                }

                item = CodePointSet.Of((first, last));
            }

            set = set.Union(item);
        }

        position++;
        return negated ? set.Complement() : set;
    }

    private CodePointSet ReadCharacter(bool inClass)
    {
        if (Current != '\\')
        {
            if (!Rune.TryGetRuneAt(pattern, position, out Rune rune)) throw Unsupported("half of a surrogate pair");
            position += rune.Utf16SequenceLength;
            return Single(rune.Value);
        }

        position++;
        if (AtEnd) throw Unsupported("a \\ at the end");
        char escape = pattern[position++];
        return escape switch
        {
            'd' => Digits,
            'D' => Digits.Complement(),
            'w' => WordCharacters,
            'W' => WordCharacters.Complement(),
            's' => Spaces,
            'S' => Spaces.Complement(),
            't' => Single('\t'),
            'n' => Single('\n'),
            'v' => Single('\v'),
            'f' => Single('\f'),
            'r' => Single('\r'),
            '0' when !char.IsAsciiDigit(Current) => Single(0),
            'b' when inClass => Single('\b'),
            'x' => ReadHex(2),
            'u' => ReadHex(4),
            _ when !char.IsAsciiLetterOrDigit(escape) && char.IsAscii(escape) => Single(escape),
            _ => throw Unsupported($"\\{escape}"),
        };
    }

    private static CodePointSet Single(int codePoint) => CodePointSet.Of((codePoint, codePoint));

    private CodePointSet ReadHex(int digits)
    {
        if (position + digits > pattern.Length || !int.TryParse(
            pattern.AsSpan(position, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int value) || !Rune.IsValid(value))
        {
            throw Unsupported($"an escape that is not {digits} hexadecimal digits of a character");
        }

        position += digits;
        return Single(value);
    }

    private (int Min, int? Max)? ReadRepetition()
    {
        (int Min, int? Max) times;
        switch (Current)
        {
            case '*':
                times = (0, null);
                break;
            case '+':
                times = (1, null);
                break;
            case '?':
                times = (0, 1);
                break;
            case '{':
                times = ReadBounds();
                break;
            default:
                return null;
        }

        position++;
        // Whether as few as possible or as many makes no difference to what matches.
        if (Current == '?') position++;
        if (Current is '*' or '+' or '{') throw Unsupported("a repetition of a repetition");
        return times;
    }

    private (int Min, int? Max) ReadBounds()
    {
        int close = pattern.IndexOf('}', position);
        string[] bounds = close < 0 ? [] : pattern[(position + 1)..close].Split(',');
        if (bounds.Length is 0 or > 2 || !Bound(bounds[0], out int min)) throw Unsupported("a { that is not {m}, {m,} or {m,n}");
        position = close;
        if (bounds.Length == 1) return (min, min);
        if (bounds[1].Length == 0) return (min, null);
        if (!Bound(bounds[1], out int max) || max < min) throw Unsupported("a { that is not {m}, {m,} or {m,n}");
        return (min, max);
    }

    private bool Bound(string text, out int value)
    {
        if (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value)) return false;
        return value <= MaxRepetitions ? true : throw Unsupported($"more than {MaxRepetitions} repetitions");
    }

    private QuantBuildException Unsupported(string what) => error(
        $"it has {what} (near character {Math.Min(position, pattern.Length)}), which is not supported. " +
        "Patterns may have characters, classes, groups, | and repetitions, ^ at the beginning and $ at the end");
}
