using System.Globalization;
using System.Text;
using System.Xml.Linq;

namespace QuantBuild;

/// <summary>
/// A strict reader of JSON. The framework's own for netstandard2.0 takes <c>[1 2]</c> for 12 and stops at the end of the first value,
/// whatever follows: a damaged file would be read as another one.
/// </summary>
internal sealed class JsonParser(string text)
{
    private const int MaximumDepth = 64;

    private int position;

    /// <summary>The one value that the text is.</summary>
    /// <exception cref="FormatException">The text is not JSON.</exception>
    public XElement Document()
    {
        XElement value = Value(depth: 0);
        SkipBlanks();
        return position == text.Length ? value : throw Unexpected("the end of the file");
    }

    private XElement Value(int depth)
    {
        if (depth > MaximumDepth) throw Error($"nested deeper than {MaximumDepth}");
        SkipBlanks();
        switch (Peek())
        {
            case '{':
                return Object(depth);
            case '[':
                return Array(depth);
            case '"':
                return Element("string", String());
            case '-' or (>= '0' and <= '9'):
                return Element("number", Number());
            default:
                foreach (string word in new[] { "true", "false", "null" })
                {
                    if (string.CompareOrdinal(text, position, word, 0, word.Length) != 0) continue;
                    position += word.Length;
                    return Element(word == "null" ? "null" : "boolean", word);
                }

                throw Unexpected("a value");
        }
    }

    private XElement Object(int depth)
    {
        XElement result = Element("object", null);
        position++;
        SkipBlanks();
        if (TryTake('}')) return result;
        do
        {
            SkipBlanks();
            if (Peek() != '"') throw Unexpected("a member's name in quotes");
            string name = String();
            SkipBlanks();
            if (!TryTake(':')) throw Unexpected("a colon");
            XElement value = Value(depth + 1);
            value.SetAttributeValue("name", name);
            result.Add(value);
            SkipBlanks();
        }
        while (TryTake(','));
        return TryTake('}') ? result : throw Unexpected("a comma or }");
    }

    private XElement Array(int depth)
    {
        XElement result = Element("array", null);
        position++;
        SkipBlanks();
        if (TryTake(']')) return result;
        do
        {
            result.Add(Value(depth + 1));
            SkipBlanks();
        }
        while (TryTake(','));
        return TryTake(']') ? result : throw Unexpected("a comma or ]");
    }

    private string String()
    {
        StringBuilder result = new();
        position++;
        while (!TryTake('"'))
        {
            char c = Peek();
            if (c < ' ') throw Unexpected("the closing quote");
            position++;
            result.Append(c == '\\' ? Escape() : c);
        }

        return result.ToString();
    }

    private char Escape()
    {
        char c = Peek();
        position++;
        switch (c)
        {
            case '"' or '\\' or '/': return c;
            case 'b': return '\b';
            case 'f': return '\f';
            case 'n': return '\n';
            case 'r': return '\r';
            case 't': return '\t';
            case 'u' when position + 4 <= text.Length
                && ushort.TryParse(text.Substring(position, 4), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ushort code):
                position += 4;
                return (char)code;
            default:
                position--;
                throw Unexpected("an escape");
        }
    }

    /// <summary>A number as it is written: <c>-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?</c>.</summary>
    private string Number()
    {
        int start = position;
        TryTake('-');
        if (!TryTake('0')) Digits();
        if (TryTake('.')) Digits();
        if (TryTake('e') || TryTake('E'))
        {
            if (!TryTake('+')) TryTake('-');
            Digits();
        }

        return text.Substring(start, position - start);
    }

    private void Digits()
    {
        if (Peek() is not (>= '0' and <= '9')) throw Unexpected("a digit");
        while (Peek() is >= '0' and <= '9') position++;
    }

    private void SkipBlanks()
    {
        while (Peek() is ' ' or '\t' or '\n' or '\r') position++;
    }

    // The end reads as a zero character, which is valid nowhere.
    private char Peek() => position < text.Length ? text[position] : '\0';

    private bool TryTake(char c)
    {
        if (position >= text.Length || text[position] != c) return false;
        position++;
        return true;
    }

    private static XElement Element(string type, string? value) => new("value", new XAttribute("type", type), value);

    private FormatException Unexpected(string expected)
    {
        string actual = position < text.Length ? $"'{text[position]}'" : "the end of the file";
        return Error($"expected {expected}, found {actual}");
    }

    private FormatException Error(string what)
    {
        int line = 1 + text.Take(position).Count(c => c == '\n');
        int column = position - text.LastIndexOf('\n', Math.Max(0, Math.Min(position, text.Length) - 1));
        return new FormatException($"line {line}, column {column}: {what}.");
    }
}
