using System.Collections.Generic;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;

namespace QuantBuild.Chat;

/// <summary>Texts as Python has them: sequences of code points, where .NET has UTF-16.</summary>
internal static class PythonText
{
    /// <summary>Whether a character is white space.</summary>
    public static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\x1c' and <= '\x1f';

    /// <summary>The characters of a text, each as a text.</summary>
    public static IEnumerable<string> Characters(string text)
    {
        for (int i = 0; i < text.Length; i++)
        {
            int length = char.IsSurrogatePair(text, i) ? 2 : 1;
            yield return text.Substring(i, length);
            i += length - 1;
        }
    }

    /// <summary>Number of characters.</summary>
    public static int Length(string text) => HasPairs(text) ? Characters(text).Count() : text.Length;

    /// <summary>Whether characters and UTF-16 units are not the same.</summary>
    public static bool HasPairs(string text) => text.AsSpan().ContainsAnyInRange('\ud800', '\udbff');

    /// <summary>Position in characters of one in UTF-16 units.</summary>
    public static int CharacterIndex(string text, int unit) => unit < 0 ? unit : Length(text[..unit]);

    public static string Strip(string text, string? characters, bool start, bool end)
    {
        bool Strips(string c) => characters is null ? IsSpace(c[0]) : characters.Contains(c, StringComparison.Ordinal);
        int from = 0, to = text.Length;
        string At(int i) => char.IsSurrogatePair(text, i) ? text.Substring(i, 2) : text[i].ToString();
        while (start && from < to && Strips(At(from))) from += At(from).Length;
        while (end && to > from)
        {
            int last = to - 2 >= from && char.IsSurrogatePair(text, to - 2) ? to - 2 : to - 1;
            if (!Strips(At(last))) break;
            to = last;
        }

        return text[from..to];
    }

    /// <summary>Splits at white space; empty pieces are left out.</summary>
    public static List<string> SplitSpace(string text, long most, bool fromEnd)
    {
        List<string> pieces = [];
        string rest = Strip(text, null, start: true, end: true);
        while (rest.Length > 0)
        {
            int gap = fromEnd ? LastSpace(rest) : FirstSpace(rest);
            if (gap < 0 || (most >= 0 && pieces.Count >= most))
            {
                pieces.Add(fromEnd ? Strip(rest, null, start: true, end: true) : rest);
                break;
            }

            pieces.Add(fromEnd ? rest[(gap + 1)..] : rest[..gap]);
            rest = fromEnd ? Strip(rest[..gap], null, start: false, end: true) : Strip(rest[gap..], null, start: true, end: false);
        }

        // A rest keeps the white space at the end that is far from the cut.
        if (!fromEnd && most >= 0 && pieces.Count > most && pieces.Count > 0)
        {
            string trailing = text[Strip(text, null, start: false, end: true).Length..];
            pieces[^1] += trailing;
        }

        if (fromEnd) pieces.Reverse();
        return pieces;
    }

    public static List<string> Split(string text, string separator, long most, bool fromEnd)
    {
        if (separator.Length == 0) throw TemplateError.Of("empty separator");
        List<string> pieces = [];
        string rest = text;
        while (most < 0 || pieces.Count < most)
        {
            int at = fromEnd ? rest.LastIndexOf(separator, StringComparison.Ordinal) : rest.IndexOf(separator, StringComparison.Ordinal);
            if (at < 0) break;
            pieces.Add(fromEnd ? rest[(at + separator.Length)..] : rest[..at]);
            rest = fromEnd ? rest[..at] : rest[(at + separator.Length)..];
        }

        pieces.Add(rest);
        if (fromEnd) pieces.Reverse();
        return pieces;
    }

    /// <summary>The lines of a text.</summary>
    public static List<string> Lines(string text, bool keepEnds = false)
    {
        List<string> lines = [];
        int start = 0;
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] is not ('\n' or '\r' or '\v' or '\f' or '\x1c' or '\x1d' or '\x1e' or '\x85' or '\u2028' or '\u2029')) continue;
            int end = i;
            if (text[i] == '\r' && i + 1 < text.Length && text[i + 1] == '\n') i++;
            lines.Add(text[start..(keepEnds ? i + 1 : end)]);
            start = i + 1;
        }

        if (start < text.Length) lines.Add(text[start..]);
        return lines;
    }

    public static string Replace(string text, string old, string with, long most)
    {
        if (most < 0 && old.Length > 0 && with.Length <= old.Length) return text.Replace(old, with, StringComparison.Ordinal);
        StringBuilder result = new();
        int position = 0;
        for (long done = 0; most < 0 || done < most; done++)
        {
            if (result.Length > ChatTemplate.LargestText) throw TemplateError.TooLong();
            // Nothing is before, between and after all characters.
            if (old.Length == 0)
            {
                result.Append(with);
                if (position == text.Length) return result.ToString();
                int length = char.IsSurrogatePair(text, position) ? 2 : 1;
                result.Append(text, position, length);
                position += length;
                continue;
            }

            int at = text.IndexOf(old, position, StringComparison.Ordinal);
            if (at < 0) break;
            result.Append(text, position, at - position).Append(with);
            position = at + old.Length;
        }

        return result.Append(text, position, text.Length - position).ToString();
    }

    /// <summary>Python's <c>str.title</c>: words are runs of letters.</summary>
    public static string Title(string text)
    {
        StringBuilder result = new(text.Length);
        bool inWord = false;
        foreach (char c in text)
        {
            result.Append(inWord ? char.ToLowerInvariant(c) : char.ToUpperInvariant(c));
            inWord = char.IsLetter(c);
        }

        return result.ToString();
    }

    public static string Capitalize(string text) => text.Length == 0 ? "" : text[..1].ToUpperInvariant() + text[1..].ToLowerInvariant();

    /// <summary>Python's <c>repr</c>.</summary>
    public static string Representation(TemplateValue value)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        switch (value.Content)
        {
            case null or TemplateUndefined:
                return "Undefined";
            case bool boolean:
                return boolean ? "True" : "False";
            case long integer:
                return integer.ToString(CultureInfo.InvariantCulture);
            case double number:
                return Float(number);
            case string text:
                return Quoted(text);
            case TemplateSequence { Form: SequenceForm.Tuple } tuple:
                return tuple.Items.Count == 1 ? $"({Representation(tuple.Items[0])},)" : $"({ChatTemplate.Joined(", ", tuple.Items.Select(Representation))})";
            case TemplateSequence { Form: SequenceForm.View } view:
                return $"dict_items([{ChatTemplate.Joined(", ", view.Items.Select(Representation))}])";
            case TemplateSequence { Form: SequenceForm.List } list:
                return $"[{ChatTemplate.Joined(", ", list.Items.Select(Representation))}]";
            case OrderedDictionary<TemplateValue, TemplateValue> mapping:
                return $"{{{ChatTemplate.Joined(", ", mapping.Select(entry => $"{Representation(entry.Key)}: {Representation(entry.Value)}"))}}}";
            default:
                return value.IsNone ? "None" : $"<{value.TypeName}>";
        }
    }

    /// <summary>The shortest text of a number that reads back as it.</summary>
    public static string Float(double number)
    {
        if (double.IsNaN(number)) return "nan";
        if (double.IsInfinity(number)) return number > 0 ? "inf" : "-inf";
        string text = number.ToString("R", CultureInfo.InvariantCulture);
        string sign = text.StartsWith('-') ? "-" : "";
        text = text[sign.Length..];
        int mark = text.IndexOf('E', StringComparison.Ordinal);
        int exponent = mark < 0 ? 0 : int.Parse(text[(mark + 1)..], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
        string mantissa = mark < 0 ? text : text[..mark];
        int point = mantissa.IndexOf('.', StringComparison.Ordinal);
        string digits = mantissa.Replace(".", "", StringComparison.Ordinal);
        // The number is 0.DIGITS · 10^scale.
        int scale = (point < 0 ? mantissa.Length : point) + exponent;
        int zeros = digits.Length - digits.TrimStart('0').Length;
        digits = digits.Trim('0');
        scale -= zeros;
        if (digits.Length == 0) return sign + "0.0";
        if (scale is > -4 and <= 16)
        {
            if (scale <= 0) return $"{sign}0.{new string('0', -scale)}{digits}";
            return digits.Length <= scale ? $"{sign}{digits.PadRight(scale, '0')}.0" : $"{sign}{digits[..scale]}.{digits[scale..]}";
        }

        string rest = digits.Length > 1 ? "." + digits[1..] : "";
        int power = scale - 1;
        return $"{sign}{digits[0]}{rest}e{(power < 0 ? "-" : "+")}{Math.Abs(power).ToString("00", CultureInfo.InvariantCulture)}";
    }

    private static string Quoted(string text)
    {
        char quote = text.Contains('\'', StringComparison.Ordinal) && !text.Contains('"', StringComparison.Ordinal) ? '"' : '\'';
        StringBuilder result = new();
        result.Append(quote);
        foreach (string character in Characters(text))
        {
            int code = character.Length == 2 ? char.ConvertToUtf32(character, 0) : character[0];
            string? escape = code switch
            {
                '\\' => "\\\\",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                _ when code == quote => "\\" + quote,
                _ when IsPrintable(character) => null,
                <= 0xff => $"\\x{code:x2}",
                <= 0xffff => $"\\u{code:x4}",
                _ => $"\\U{code:x8}",
            };
            result.Append(escape ?? character);
        }

        return result.Append(quote).ToString();
    }

    private static bool IsPrintable(string character) => character == " " || CharUnicodeInfo.GetUnicodeCategory(character, 0) is not
        (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned or
        UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or UnicodeCategory.SpaceSeparator);

    private static int FirstSpace(string text)
    {
        int i = 0;
        while (i < text.Length && !IsSpace(text[i])) i++;
        return i < text.Length ? i : -1;
    }

    private static int LastSpace(string text)
    {
        int i = text.Length - 1;
        while (i >= 0 && !IsSpace(text[i])) i--;
        return i;
    }
}
