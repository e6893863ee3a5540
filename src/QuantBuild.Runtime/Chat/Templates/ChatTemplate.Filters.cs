using System.Collections.Generic;
using System.Globalization;
using System.Text;
using QuantBuild.Chat;

namespace QuantBuild;

// The filters of templates. A filter named "x" is the method "FilterX" here; an argument that is left out is undefined.
#pragma warning disable CS1591 // For generated code alone.
public abstract partial class ChatTemplate
{
    protected static TemplateValue FilterToJson(TemplateValue value, TemplateValue ensureAscii = default, TemplateValue indent = default, TemplateValue separators = default, TemplateValue sortKeys = default) =>
        TemplateJson.Write(value, ensureAscii.IsTrue, indent, separators, sortKeys.IsTrue);

    protected static TemplateValue FilterTrim(TemplateValue value, TemplateValue characters = default) =>
        new(PythonText.Strip(value.ToString(), characters.Content as string, start: true, end: true), value.IsMarkup);

    protected static TemplateValue FilterUpper(TemplateValue value) => value.ToString().ToUpperInvariant();

    protected static TemplateValue FilterLower(TemplateValue value) => value.ToString().ToLowerInvariant();

    protected static TemplateValue FilterCapitalize(TemplateValue value) => PythonText.Capitalize(value.ToString());

    /// <summary>Words begin after white space, hyphens and opening brackets.</summary>
    protected static TemplateValue FilterTitle(TemplateValue value)
    {
        StringBuilder text = new();
        bool begins = true;
        foreach (char c in value.ToString())
        {
            text.Append(begins ? char.ToUpperInvariant(c) : char.ToLowerInvariant(c));
            begins = PythonText.IsSpace(c) || c is '-' or '(' or '{' or '[' or '<';
        }

        return text.ToString();
    }

    protected static TemplateValue FilterString(TemplateValue value) => new(value.ToString(), value.IsMarkup);

    protected static TemplateValue FilterSafe(TemplateValue value) => new(value.ToString(), isMarkup: true);

    protected static TemplateValue FilterEscape(TemplateValue value) => new(Escaped(value), isMarkup: true);

    protected static TemplateValue FilterLength(TemplateValue value) => value.Length();

    protected static TemplateValue FilterDefault(TemplateValue value, TemplateValue otherwise = default, TemplateValue boolean = default) =>
        value.IsUndefined || (boolean.IsTrue && !value.IsTrue) ? otherwise.IsUndefined ? "" : otherwise : value;

    protected static TemplateValue FilterReplace(TemplateValue value, TemplateValue old, TemplateValue with, TemplateValue count = default) =>
        Limited(PythonText.Replace(value.ToString(), old.ToString(), with.ToString(), count.Integer ?? -1));

    protected static TemplateValue FilterJoin(TemplateValue value, TemplateValue separator = default, TemplateValue attribute = default)
    {
        IEnumerable<TemplateValue> items = value.Items();
        if (!attribute.IsUndefined && !attribute.IsNone) items = items.Select(item => AttributeOf(item, attribute));
        return Joined(separator.ToString(), items.Select(item => item.ToString()));
    }

    protected static TemplateValue FilterList(TemplateValue value) => Sequence(value.Items());

    protected static TemplateValue FilterFirst(TemplateValue value) => value.Items() is [TemplateValue first, ..] ? first : Absent("No first item, sequence was empty.");

    protected static TemplateValue FilterLast(TemplateValue value)
    {
        if (value.Content is TemplateSequence { Form: SequenceForm.Generator }) throw TemplateError.Type("'generator' object is not reversible");
        return value.Items() is [.., TemplateValue last] ? last : Absent("No last item, sequence was empty.");
    }

    protected static TemplateValue FilterReverse(TemplateValue value) =>
        value.Content is string ? string.Concat(value.Items().Reverse()) : Generator(value.Items().Reverse());

    protected static TemplateValue FilterItems(TemplateValue value) => value.Content switch
    {
        null or TemplateUndefined => Generator([]),
        OrderedDictionary<TemplateValue, TemplateValue> mapping => Entries(mapping, SequenceForm.Generator),
        _ => throw TemplateError.Type("Can only get item pairs from a mapping."),
    };

    protected static TemplateValue FilterDictSort(TemplateValue value, TemplateValue caseSensitive = default, TemplateValue by = default, TemplateValue reverse = default)
    {
        if (value.Content is not OrderedDictionary<TemplateValue, TemplateValue> mapping) throw TemplateError.Type($"'{value.TypeName}' object has no attribute 'items'");
        int position = by.IsUndefined || by == "key" ? 0 : by == "value" ? 1 : throw TemplateError.Of("You can only sort by either \"key\" or \"value\"");
        return Sequence(Sorted(Entries(mapping, SequenceForm.List).Items(), item => SortKey(item.Items()[position], caseSensitive), reverse));
    }

    protected static TemplateValue FilterSort(TemplateValue value, TemplateValue reverse = default, TemplateValue caseSensitive = default, TemplateValue attribute = default)
    {
        string[] attributes = attribute.IsUndefined || attribute.IsNone ? [] : attribute.ToString().Split(',');
        return Sequence(Sorted(value.Items(), Key, reverse));

        TemplateValue Key(TemplateValue item) => attributes.Length switch
        {
            0 => SortKey(item, caseSensitive),
            1 => SortKey(AttributeOf(item, attribute), caseSensitive),
            _ => Sequence([.. attributes.Select(name => SortKey(AttributeOf(item, name), caseSensitive))]),
        };
    }

    protected static TemplateValue FilterUnique(TemplateValue value, TemplateValue caseSensitive = default, TemplateValue attribute = default)
    {
        HashSet<TemplateValue> seen = [];
        return Generator(value.Items().Where(item => seen.Add(SortKey(attribute.IsUndefined || attribute.IsNone ? item : AttributeOf(item, attribute), caseSensitive))));
    }

    protected static TemplateValue FilterMin(TemplateValue value, TemplateValue caseSensitive = default, TemplateValue attribute = default) => Extreme(value, caseSensitive, attribute, false);

    protected static TemplateValue FilterMax(TemplateValue value, TemplateValue caseSensitive = default, TemplateValue attribute = default) => Extreme(value, caseSensitive, attribute, true);

    protected static TemplateValue FilterSum(TemplateValue value, TemplateValue attribute = default, TemplateValue start = default) =>
        value.Items().Select(item => attribute.IsUndefined || attribute.IsNone ? item : AttributeOf(item, attribute)).Aggregate(start.IsUndefined ? 0L : start, Add);

    protected static TemplateValue FilterAttr(TemplateValue value, TemplateValue name) => value.Content switch
    {
        // Of a mapping, what is not a method of it is not an attribute.
        OrderedDictionary<TemplateValue, TemplateValue> when !MappingMethods.Contains(name.ToString()) => Absent($"'dict object' has no attribute '{name}'"),
        _ => Attribute(value, name.ToString()),
    };

    protected static TemplateValue FilterInt(TemplateValue value, TemplateValue otherwise = default, TemplateValue numberBase = default)
    {
        if (value.Integer is { } integer) return integer;
        if (value.Content is double number) return double.IsFinite(number) && Math.Abs(number) < 9e18 ? (long)number : otherwise.IsUndefined ? 0L : otherwise;
        string text = PythonText.Strip(value.ToString(), null, start: true, end: true).Replace("_", "", StringComparison.Ordinal);
        if (value.Content is string && numberBase.Integer == 16 && long.TryParse(text.Replace("0x", "", StringComparison.OrdinalIgnoreCase), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out long hexadecimal))
        {
            return hexadecimal;
        }

        if (value.Content is string && long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long parsed)) return parsed;
        if (value.Content is string && IsFloat(text, out double real) && Math.Abs(real) < 9e18) return (long)real;
        return otherwise.IsUndefined ? 0L : otherwise;
    }

    protected static TemplateValue FilterFloat(TemplateValue value, TemplateValue otherwise = default)
    {
        if (value.Float is { } number) return number;
        string text = PythonText.Strip(value.ToString(), null, start: true, end: true).Replace("_", "", StringComparison.Ordinal);
        return value.Content is string && IsFloat(text, out double parsed) ? parsed : otherwise.IsUndefined ? 0.0 : otherwise;
    }

    protected static TemplateValue FilterAbs(TemplateValue value) =>
        value.Integer is { } integer ? Exact(Int128.Abs(integer)) : value.Float is { } number ? Math.Abs(number) : throw TemplateError.Type($"bad operand type for abs(): '{value.TypeName}'");

    protected static TemplateValue FilterRound(TemplateValue value, TemplateValue precision = default, TemplateValue method = default)
    {
        int digits = (int)Math.Clamp(precision.Integer ?? 0, 0, 15);
        if (value.Float is not { } number) throw TemplateError.Type($"type {value.TypeName} doesn't define __round__ method");
        double scale = Math.Pow(10, digits);
        return method.Content switch
        {
            "ceil" => Math.Ceiling(number * scale) / scale,
            "floor" => Math.Floor(number * scale) / scale,
            _ => value.Integer is { } integer ? (TemplateValue)integer : Math.Round(number, digits, MidpointRounding.ToEven),
        };
    }

    protected static TemplateValue FilterIndent(TemplateValue value, TemplateValue width = default, TemplateValue first = default, TemplateValue blank = default)
    {
        string indention = width.Content as string ?? new string(' ', (int)Math.Clamp(width.Integer ?? 4, 0, 1000));
        List<string> lines = PythonText.Lines(value + "\n");
        string text = Joined("\n", lines.Select((line, i) => i > 0 && (blank.IsTrue || line.Length > 0) ? indention + line : line));
        return Limited(first.IsTrue ? indention + text : text);
    }

    protected static TemplateValue FilterCenter(TemplateValue value, TemplateValue width = default) => Padded(value.ToString(), "center", width.Integer ?? 80, " ");

    protected static TemplateValue FilterWordCount(TemplateValue value)
    {
        long words = 0;
        bool inWord = false;
        foreach (char c in value.ToString())
        {
            bool isWord = char.IsLetterOrDigit(c) || c == '_';
            if (isWord && !inWord) words++;
            inWord = isWord;
        }

        return words;
    }

    protected static TemplateValue FilterFormat(TemplateValue value, params TemplateValue[] arguments) => Format(value.ToString(), Tuple(arguments));

    protected static TemplateValue FilterBatch(TemplateValue value, TemplateValue size, TemplateValue fill = default)
    {
        int count = (int)Math.Clamp(size.Integer ?? 1, 1, LargestRange);
        return Generator(value.Items().Chunk(count).Select(part =>
            Sequence(fill.IsUndefined || fill.IsNone ? part : [.. part, .. Enumerable.Repeat(fill, count - part.Length)])));
    }

    /// <summary><c>map('filter')</c></summary>
    protected static TemplateValue FilterMap(TemplateValue value, Func<TemplateValue, TemplateValue> filter) => Generator(Each(value).Select(filter));

    /// <summary><c>map(attribute='a.b', default=…)</c></summary>
    protected static TemplateValue FilterMapAttribute(TemplateValue value, TemplateValue attribute, TemplateValue otherwise) => Generator(Each(value).Select(item =>
    {
        TemplateValue found = AttributeOf(item, attribute);
        return found.IsUndefined && !otherwise.IsUndefined ? otherwise : found;
    }));

    /// <summary><c>select('test')</c> and <c>reject('test')</c></summary>
    protected static TemplateValue FilterSelect(TemplateValue value, Func<TemplateValue, bool> test) => Generator(Each(value).Where(test));

    /// <summary><c>selectattr('a', 'test')</c> and <c>rejectattr('a', 'test')</c></summary>
    protected static TemplateValue FilterSelectAttribute(TemplateValue value, TemplateValue attribute, Func<TemplateValue, bool> test) =>
        Generator(Each(value).Where(item => test(AttributeOf(item, attribute))));

    private static string Escaped(TemplateValue value) => value.IsMarkup ? value.ToString() : value.ToString()
        .Replace("&", "&amp;", StringComparison.Ordinal).Replace(">", "&gt;", StringComparison.Ordinal).Replace("<", "&lt;", StringComparison.Ordinal)
        .Replace("'", "&#39;", StringComparison.Ordinal).Replace("\"", "&#34;", StringComparison.Ordinal);

    /// <summary>The items of a value that a filter goes through: what counts as false has none.</summary>
    private static IEnumerable<TemplateValue> Each(TemplateValue value) => value.IsTrue ? value.Items() : [];

    private static TemplateValue Generator(IEnumerable<TemplateValue> items) => new(new TemplateSequence([.. items], SequenceForm.Generator));

    /// <summary>An attribute of an attribute: of a mapping its members, before its methods.</summary>
    private static TemplateValue AttributeOf(TemplateValue value, TemplateValue path)
    {
        if (path.Content is not string names) return Item(value, path);
        foreach (string name in names.Split('.'))
        {
            value = long.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out long index) ? Item(value, index) : Item(value, name);
        }

        return value;
    }

    private static TemplateValue SortKey(TemplateValue value, TemplateValue caseSensitive) =>
        value.Content is string text && !caseSensitive.IsTrue ? text.ToLowerInvariant() : value;

    private static TemplateValue[] Sorted(IEnumerable<TemplateValue> items, Func<TemplateValue, TemplateValue> key, TemplateValue reverse) => reverse.IsTrue
        ? [.. items.OrderByDescending(key, TemplateOrder.Instance)]
        : [.. items.OrderBy(key, TemplateOrder.Instance)];

    private static TemplateValue Extreme(TemplateValue value, TemplateValue caseSensitive, TemplateValue attribute, bool largest)
    {
        TemplateValue Key(TemplateValue item) => SortKey(attribute.IsUndefined || attribute.IsNone ? item : AttributeOf(item, attribute), caseSensitive);
        IReadOnlyList<TemplateValue> items = value.Items();
        if (items.Count == 0) return Absent("No aggregated item, sequence was empty.");
        return largest ? items.MaxBy(Key, TemplateOrder.Instance) : items.MinBy(Key, TemplateOrder.Instance);
    }

    private static bool IsFloat(string text, out double number) =>
        double.TryParse(text, NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent, CultureInfo.InvariantCulture, out number) && double.IsFinite(number);
}
