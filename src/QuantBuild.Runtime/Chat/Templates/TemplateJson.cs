using System.Collections.Generic;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;

namespace QuantBuild.Chat;

/// <summary>Values as JSON, character for character as Python's <c>json.dumps</c> writes them.</summary>
internal sealed class TemplateJson
{
    private readonly StringBuilder output = new();
    private readonly bool ascii;
    private readonly string? indent;
    private readonly string itemSeparator;
    private readonly string keySeparator;
    private readonly bool sortKeys;

    private TemplateJson(bool ascii, string? indent, string itemSeparator, string keySeparator, bool sortKeys) =>
        (this.ascii, this.indent, this.itemSeparator, this.keySeparator, this.sortKeys) = (ascii, indent, itemSeparator, keySeparator, sortKeys);

    /// <summary>Writes a value.</summary>
    /// <param name="value">The value.</param>
    /// <param name="ensureAscii">Whether all but ASCII is escaped.</param>
    /// <param name="indent">Spaces, or the text, that each level is indented by; none is all in one line.</param>
    /// <param name="separators">What is between items, and between key and value.</param>
    /// <param name="sortKeys">Whether members are ordered by their keys.</param>
    public static string Write(TemplateValue value, bool ensureAscii, TemplateValue indent, TemplateValue separators, bool sortKeys)
    {
        string? indentText = indent.Content switch
        {
            long spaces => new string(' ', (int)Math.Clamp(spaces, 0, 100)),
            string text => text,
            _ => null,
        };
        (string item, string key) = (indentText is null ? ", " : ",", ": ");
        if (separators.Content is TemplateSequence { Items: [{ Content: string givenItem }, { Content: string givenKey }] }) (item, key) = (givenItem, givenKey);
        TemplateJson json = new(ensureAscii, indentText, item, key, sortKeys);
        json.Write(value, 0);
        return json.output.ToString();
    }

    private void Write(TemplateValue value, int depth)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        switch (value.Content)
        {
            case bool boolean:
                output.Append(boolean ? "true" : "false");
                break;
            case long integer:
                output.Append(integer.ToString(CultureInfo.InvariantCulture));
                break;
            case double number:
                output.Append(double.IsNaN(number) ? "NaN" : double.IsInfinity(number) ? number > 0 ? "Infinity" : "-Infinity" : PythonText.Float(number));
                break;
            case string text:
                WriteText(text);
                break;
            case TemplateSequence { IsIndexed: true } sequence:
                WriteMembers('[', ']', sequence.Items, item => Write(item, depth + 1), depth);
                break;
            case OrderedDictionary<TemplateValue, TemplateValue> mapping:
                IEnumerable<KeyValuePair<TemplateValue, TemplateValue>> members = mapping;
                if (sortKeys) members = mapping.OrderBy(member => member.Key, TemplateOrder.Instance);
                WriteMembers('{', '}', [.. members], member => WriteMember(member, depth + 1), depth);
                break;
            default:
                if (!value.IsNone) throw TemplateError.Type($"Object of type {value.TypeName} is not JSON serializable");
                output.Append("null");
                break;
        }
    }

    private void WriteMember(KeyValuePair<TemplateValue, TemplateValue> member, int depth)
    {
        string key = member.Key.Content switch
        {
            string text => text,
            bool boolean => boolean ? "true" : "false",
            long or double => member.Key.ToString(),
            _ => member.Key.IsNone ? "null" : throw TemplateError.Type($"keys must be str, int, float, bool or None, not {member.Key.TypeName}"),
        };
        WriteText(key);
        output.Append(keySeparator);
        Write(member.Value, depth);
    }

    private void WriteMembers<T>(char begin, char end, IReadOnlyList<T> members, Action<T> write, int depth)
    {
        output.Append(begin);
        for (int i = 0; i < members.Count; i++)
        {
            if (i > 0) output.Append(itemSeparator);
            if (output.Length > ChatTemplate.LargestText) throw TemplateError.TooLong();
            NewLine(depth + 1);
            write(members[i]);
        }

        if (members.Count > 0) NewLine(depth);
        output.Append(end);
    }

    private void NewLine(int depth)
    {
        if (indent is null) return;
        output.Append('\n');
        if (indent.Length > (ChatTemplate.LargestText - output.Length) / Math.Max(1, depth)) throw TemplateError.TooLong();
        for (int i = 0; i < depth; i++) output.Append(indent);
    }

    private void WriteText(string text)
    {
        output.Append('"');
        foreach (char c in text)
        {
            switch (c)
            {
                case '"' or '\\':
                    output.Append('\\').Append(c);
                    break;
                case '\n':
                    output.Append("\\n");
                    break;
                case '\r':
                    output.Append("\\r");
                    break;
                case '\t':
                    output.Append("\\t");
                    break;
                case '\b':
                    output.Append("\\b");
                    break;
                case '\f':
                    output.Append("\\f");
                    break;
                default:
                    if (c < ' ' || (ascii && c > '~')) output.Append("\\u").Append(((int)c).ToString("x4", CultureInfo.InvariantCulture));
                    else output.Append(c);
                    break;
            }
        }

        output.Append('"');
    }
}

/// <summary>The order of values in Python: numbers with numbers, texts with texts, sequences with sequences; others have none.</summary>
internal sealed class TemplateOrder : IComparer<TemplateValue>
{
    public static TemplateOrder Instance { get; } = new();

    public int Compare(TemplateValue x, TemplateValue y)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        if (x.IsUndefined) throw x.Undefined();
        if (y.IsUndefined) throw y.Undefined();
        if (x.Integer is { } integer && y.Integer is { } otherInteger) return integer.CompareTo(otherInteger);
        if (x.Float is { } number && y.Float is { } otherNumber) return number.CompareTo(otherNumber);
        switch (x.Content, y.Content)
        {
            case (string text, string other):
                return CompareCodePoints(text, other);
            case (TemplateSequence { IsIndexed: true } sequence, TemplateSequence other) when sequence.Form == other.Form:
                for (int i = 0; i < Math.Min(sequence.Items.Count, other.Items.Count); i++)
                {
                    if (!sequence.Items[i].Equals(other.Items[i])) return Compare(sequence.Items[i], other.Items[i]);
                }

                return sequence.Items.Count.CompareTo(other.Items.Count);
            default:
                throw TemplateError.Type($"'<' not supported between instances of '{x.TypeName}' and '{y.TypeName}'");
        }
    }

    // The order of UTF-16 differs from that of code points where surrogates meet what is above them.
    private static int CompareCodePoints(string x, string y)
    {
        int i = 0;
        while (i < x.Length && i < y.Length && x[i] == y[i]) i++;
        if (i == x.Length || i == y.Length) return x.Length.CompareTo(y.Length);
        bool isPair = char.IsSurrogate(x[i]), isOtherPair = char.IsSurrogate(y[i]);
        return isPair == isOtherPair ? x[i].CompareTo(y[i]) : isPair.CompareTo(isOtherPair);
    }
}
