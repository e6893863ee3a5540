using System.Globalization;
using System.Text;
using System.Text.Json;

namespace QuantBuild.Constraints;

/// <summary>Pieces of JSON as grammar expressions, without white space between them.</summary>
internal static class JsonText
{
    // Digits of a number, so many at most that they fit a double and that a weak model comes to an end.
    private const int IntegerDigits = 15;
    private const int FractionDigits = 15;

    private static readonly CodePointSet Escaped = CodePointSet.Of((0, 0x1F), ('"', '"'), ('\\', '\\'));
    private static readonly CodePointSet Hex = CodePointSet.OfText("0123456789abcdefABCDEF");

    /// <summary>One digit.</summary>
    public static GrammarExpression Digit { get; } = Class("0123456789");

    /// <summary>One digit, not 0.</summary>
    public static GrammarExpression DigitButZero { get; } = Class("123456789");

    /// <summary>A number without an exponent, which every type for fractions can hold.</summary>
    public static GrammarExpression FixedNumber { get; } = GrammarExpression.Join(Text("-").Optional(), Whole(), Fraction().Optional());

    /// <summary>A number.</summary>
    public static GrammarExpression Number { get; } = GrammarExpression.Join(
        FixedNumber, GrammarExpression.Join(Class("eE"), Class("+-").Optional(), Digit.Times(1, 2)).Optional());

    /// <summary>Any character of a string, in any spelling but halves of surrogate pairs alone.</summary>
    public static GrammarExpression AnyCharacter { get; } = GrammarExpression.Any(
        new GrammarExpression.Characters(Escaped.Complement()),
        GrammarExpression.Join(Text("\\"), GrammarExpression.Any(
            Class("\"\\/bfnrt"),
            GrammarExpression.Join(Text("u"), Class("0123456789abcefABCEF"), HexDigits(3)),
            GrammarExpression.Join(Text("u"), Class("dD"), Class("01234567"), HexDigits(2)),
            GrammarExpression.Join(Text("u"), Class("dD"), Class("89abAB"), HexDigits(2), Text("\\u"), Class("dD"), Class("cdefCDEF"), HexDigits(2)))));

    /// <summary>The beginning and the end of a string, and what is between them.</summary>
    public static GrammarExpression Quoted(GrammarExpression content) => GrammarExpression.Join(Text("\""), content, Text("\""));

    /// <summary>A text as it stands.</summary>
    public static GrammarExpression Text(string text) => new GrammarExpression.Literal(text);

    /// <summary>One of the characters of a text as it stands.</summary>
    public static GrammarExpression Class(string characters) => new GrammarExpression.Characters(CodePointSet.OfText(characters));

    /// <summary>A character of a set within a string, in the shortest spelling.</summary>
    public static GrammarExpression Character(CodePointSet set)
    {
        List<GrammarExpression> options = [new GrammarExpression.Characters(set.Except(Escaped))];
        for (int value = 0; value <= '\\'; value++)
        {
            if (Escaped.Contains(value) && set.Contains(value)) options.Add(Text(Spell(new Rune(value))));
        }

        return options.Count == 1 ? options[0] : GrammarExpression.Any(options);
    }

    /// <summary>A fraction that follows a whole number.</summary>
    public static GrammarExpression Fraction() => GrammarExpression.Join(Text("."), Digit.Times(1, FractionDigits));

    /// <summary>A fraction that follows a whole number, and is not nothing.</summary>
    public static GrammarExpression FractionButZero() =>
        GrammarExpression.Join(Text("."), Text("0").Times(0, 7), DigitButZero, Digit.Times(0, FractionDigits - 8));

    /// <summary>A string of any text but some, in the shortest spelling.</summary>
    public static GrammarExpression StringExcept(IEnumerable<string> texts) => Quoted(Except([.. texts]));

    /// <summary>The text of a JSON value, without white space, in the shortest spelling.</summary>
    public static string Write(JsonElement value)
    {
        return value.ValueKind switch
        {
            JsonValueKind.Object => "{" + string.Join(',', value.EnumerateObject().Select(member => Write(member.Name) + ":" + Write(member.Value))) + "}",
            JsonValueKind.Array => "[" + string.Join(',', value.EnumerateArray().Select(Write)) + "]",
            JsonValueKind.String => Write(value.GetString()!),
            _ => value.GetRawText(),
        };
    }

    /// <summary>A text as a JSON string, in the shortest spelling.</summary>
    public static string Write(string text) => "\"" + string.Concat(text.EnumerateRunes().Select(Spell)) + "\"";

    private static GrammarExpression Whole() => GrammarExpression.Any(Text("0"), GrammarExpression.Join(DigitButZero, Digit.Times(0, IntegerDigits - 1)));

    private static GrammarExpression HexDigits(int count) => new GrammarExpression.Characters(Hex).Times(count, count);

    private static string Spell(Rune character) => character.Value switch
    {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\b' => "\\b",
        '\f' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        <= 0x1F => "\\u" + character.Value.ToString("x4", CultureInfo.InvariantCulture),
        _ => character.ToString(),
    };

    /// <summary>What is not one of the texts: it leaves each of them somewhere, or goes on where one ends.</summary>
    private static GrammarExpression Except(string[] texts)
    {
        Dictionary<Rune, List<string>> rests = [];
        foreach (string text in texts)
        {
            if (text.Length == 0) continue;
            Rune first = text.EnumerateRunes().First();
            if (!rests.TryGetValue(first, out List<string>? rest)) rests[first] = rest = [];
            rest.Add(text[first.Utf16SequenceLength..]);
        }

        CodePointSet firsts = CodePointSet.Of(rests.Keys.Select(rune => (rune.Value, rune.Value)));
        List<GrammarExpression> options = [GrammarExpression.Join(Character(firsts.Complement()), Character(CodePointSet.All).Times(0, null))];
        foreach ((Rune first, List<string> rest) in rests) options.Add(GrammarExpression.Join(Text(Spell(first)), Except([.. rest])));
        if (!texts.Contains("")) options.Add(GrammarExpression.Empty);
        return GrammarExpression.Any(options);
    }
}
