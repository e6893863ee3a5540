using System.Collections.Generic;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using QuantBuild.Chat;

namespace QuantBuild;

// The methods of Python's values that templates call.
#pragma warning disable CS1591 // For generated code alone.
public abstract partial class ChatTemplate
{
    /// <summary><c>target.name(…)</c></summary>
    protected static TemplateValue Method(TemplateValue target, string name, params TemplateValue[] arguments)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        switch (target.Content)
        {
            case null or TemplateUndefined:
                throw target.Undefined();
            case string text when TextMethods.Contains(name):
                return TextMethod(text, name, arguments);
            case TemplateSequence { IsIndexed: true } sequence when name is "index" or "count" or "copy":
                return SequenceMethod(sequence, name, arguments);
            case OrderedDictionary<TemplateValue, TemplateValue> mapping when MappingMethods.Contains(name):
                return MappingMethod(mapping, name, arguments);
            case TemplateLoop loop:
                return loop.Call(name, arguments);
            default:
                TemplateValue function = Attribute(target, name);
                if (function.Content is TemplateMethod) throw TemplateError.Of($"access to attribute '{name}' of '{target.TypeName}' object is unsafe: it would change it");
                return Call(function, [], arguments);
        }
    }

    private static TemplateValue TextMethod(string text, string name, TemplateValue[] arguments)
    {
        TemplateValue Argument(int i) => i < arguments.Length ? arguments[i] : TemplateValue.None;
        string? Word(int i) => Argument(i).IsNone ? null : Argument(i).Content as string ?? throw WrongArguments(name, arguments);
        string Needed(int i) => Word(i) ?? throw WrongArguments(name, arguments);
        long Most(int i) => Argument(i).IsNone ? -1 : Argument(i).Integer ?? throw WrongArguments(name, arguments);
        bool All(Func<char, bool> condition) => text.Length > 0 && text.All(condition);
        switch (name)
        {
            case "strip":
                return PythonText.Strip(text, Word(0), start: true, end: true);
            case "lstrip":
                return PythonText.Strip(text, Word(0), start: true, end: false);
            case "rstrip":
                return PythonText.Strip(text, Word(0), start: false, end: true);
            case "split" or "rsplit":
                bool fromEnd = name == "rsplit";
                return Texts(Word(0) is { } separator ? PythonText.Split(text, separator, Most(1), fromEnd) : PythonText.SplitSpace(text, Most(1), fromEnd));
            case "splitlines":
                return Texts(PythonText.Lines(text, keepEnds: Argument(0).IsTrue));
            case "partition" or "rpartition":
                return Partition(text, Needed(0), fromEnd: name == "rpartition");
            case "startswith" or "endswith":
                IEnumerable<TemplateValue> parts = Argument(0).Content is TemplateSequence { Form: SequenceForm.Tuple } tuple ? tuple.Items : [Needed(0)];
                string within = arguments.Length > 1 ? Slice(text, Argument(1), Argument(2), TemplateValue.None).ToString() : text;
                return parts.Any(part => name == "startswith" ? within.StartsWith(part.ToString(), StringComparison.Ordinal) : within.EndsWith(part.ToString(), StringComparison.Ordinal));
            case "upper":
                return text.ToUpperInvariant();
            case "lower" or "casefold":
                return text.ToLowerInvariant();
            case "title":
                return PythonText.Title(text);
            case "capitalize":
                return PythonText.Capitalize(text);
            case "swapcase":
                return string.Concat(text.Select(c => char.IsUpper(c) ? char.ToLowerInvariant(c) : char.ToUpperInvariant(c)));
            case "replace":
                return Limited(PythonText.Replace(text, Needed(0), Needed(1), Most(2)));
            case "join":
                return Joined(text, Argument(0).Items().Select(item => item.Content as string ?? throw TemplateError.Type($"sequence item: expected str instance, {item.TypeName} found")));
            case "count":
                return (long)(Needed(0).Length == 0 ? PythonText.Length(text) + 1 : PythonText.Split(text, Needed(0), -1, fromEnd: false).Count - 1);
            case "find" or "index":
            case "rfind" or "rindex":
                int at = name[0] == 'r' ? text.LastIndexOf(Needed(0), StringComparison.Ordinal) : Find(text, Needed(0), Argument(1).Integer ?? 0);
                if (at < 0 && name.EndsWith("index", StringComparison.Ordinal)) throw TemplateError.Of("substring not found");
                return (long)PythonText.CharacterIndex(text, at);
            case "removeprefix":
                return text.StartsWith(Needed(0), StringComparison.Ordinal) ? text[Needed(0).Length..] : text;
            case "removesuffix":
                return text.EndsWith(Needed(0), StringComparison.Ordinal) ? text[..^Needed(0).Length] : text;
            case "zfill" or "ljust" or "rjust" or "center":
                string fill = Word(1) ?? " ";
                return PythonText.Length(fill) == 1 ? Padded(text, name, Most(0), fill) : throw TemplateError.Type("The fill character must be exactly one character long");
            case "isdigit" or "isdecimal" or "isnumeric":
                return All(char.IsDigit);
            case "isalpha":
                return All(char.IsLetter);
            case "isalnum":
                return All(char.IsLetterOrDigit);
            case "isspace":
                return All(PythonText.IsSpace);
            case "isupper":
                return text.Any(char.IsUpper) && !text.Any(char.IsLower);
            case "islower":
                return text.Any(char.IsLower) && !text.Any(char.IsUpper);
            case "istitle":
                return text.Any(char.IsLetter) && text == PythonText.Title(text);
            default:
                throw TemplateError.Of($"the method {name} of texts is not supported");
        }
    }

    private static TemplateValue SequenceMethod(TemplateSequence sequence, string name, TemplateValue[] arguments)
    {
        if (name == "copy") return Sequence(sequence.Items);
        if (arguments.Length == 0) throw WrongArguments(name, arguments);
        if (name == "count") return (long)sequence.Items.Count(item => item.Equals(arguments[0]));
        int index = sequence.Items.Index().FirstOrDefault(entry => entry.Item.Equals(arguments[0]), (-1, default)).Index;
        return index >= 0 ? index : throw TemplateError.Of($"{PythonText.Representation(arguments[0])} is not in list");
    }

    private static TemplateValue MappingMethod(OrderedDictionary<TemplateValue, TemplateValue> mapping, string name, TemplateValue[] arguments) => name switch
    {
        "get" when arguments.Length is 1 or 2 => mapping.TryGetValue(arguments[0], out TemplateValue value) ? value : arguments.Length > 1 ? arguments[1] : TemplateValue.None,
        "keys" => new TemplateValue(new TemplateSequence([.. mapping.Keys], SequenceForm.View)),
        "values" => new TemplateValue(new TemplateSequence([.. mapping.Values], SequenceForm.View)),
        "items" => Entries(mapping, SequenceForm.View),
        "copy" => new TemplateValue(new OrderedDictionary<TemplateValue, TemplateValue>(mapping)),
        "get" => throw WrongArguments(name, arguments),
        _ => throw TemplateError.Of($"access to attribute '{name}' of 'dict' object is unsafe: it would change it"),
    };

    private static TemplateValue Entries(OrderedDictionary<TemplateValue, TemplateValue> mapping, SequenceForm form) =>
        new(new TemplateSequence([.. mapping.Select(entry => Tuple(entry.Key, entry.Value))], form));

    private static TemplateValue Texts(IEnumerable<string> texts) => Sequence([.. texts.Select(text => (TemplateValue)text)]);

    private static TemplateValue Partition(string text, string separator, bool fromEnd)
    {
        List<string> parts = PythonText.Split(text, separator, 1, fromEnd);
        if (parts.Count == 2) return Tuple(parts[0], separator, parts[1]);
        return fromEnd ? Tuple("", "", text) : Tuple(text, "", "");
    }

    private static int Find(string text, string part, long from)
    {
        int length = PythonText.Length(text);
        long start = from < 0 ? Math.Max(0, from + length) : from;
        if (start > length) return -1;
        int unit = PythonText.HasPairs(text) ? string.Concat(PythonText.Characters(text).Take((int)start)).Length : (int)start;
        return text.IndexOf(part, unit, StringComparison.Ordinal);
    }

    private static string Padded(string text, string method, long width, string fill)
    {
        int missing = (int)Math.Clamp(Math.Clamp(width, 0, LargestText) - PythonText.Length(text), 0, LargestText);
        string Fill(int count) => string.Concat(Enumerable.Repeat(fill, count));
        switch (method)
        {
            case "zfill":
                int sign = text.StartsWith('-') || text.StartsWith('+') ? 1 : 0;
                return text[..sign] + new string('0', missing) + text[sign..];
            case "ljust":
                return text + Fill(missing);
            case "rjust":
                return Fill(missing) + text;
            default:
                int before = (missing / 2) + (missing & (int)width & 1);
                return Fill(before) + text + Fill(missing - before);
        }
    }

    /// <summary>Python's <c>format % values</c>, with the conversions s, r, d, i, f, e, g, x and o.</summary>
    private static string Format(string format, TemplateValue values)
    {
        Queue<TemplateValue> left = new(values.Content is TemplateSequence { Form: SequenceForm.Tuple } tuple ? tuple.Items : [values]);
        StringBuilder text = new();
        for (int i = 0; i < format.Length; i++)
        {
            if (format[i] != '%')
            {
                text.Append(format[i]);
                continue;
            }

            int flags = ++i;
            while (i < format.Length && format[i] is '-' or '0' or '+' or ' ') i++;
            string flag = format[flags..i];
            int Digits()
            {
                int start = i;
                while (i < format.Length && char.IsAsciiDigit(format[i])) i++;
                return int.TryParse(format.AsSpan(start, i - start), NumberStyles.None, CultureInfo.InvariantCulture, out int number) ? Math.Min(number, 1000) : 0;
            }

            int width = Digits();
            int precision = -1;
            if (i < format.Length && format[i] == '.')
            {
                i++;
                precision = Digits();
            }

            if (i >= format.Length) throw TemplateError.Of("incomplete format");
            if (format[i] == '%')
            {
                text.Append('%');
                continue;
            }

            if (!left.TryDequeue(out TemplateValue value)) throw TemplateError.Type("not enough arguments for format string");
            string written = format[i] switch
            {
                's' => Cut(value.ToString(), precision),
                'r' => Cut(PythonText.Representation(value), precision),
                'd' or 'i' or 'u' => Whole(value).ToString(CultureInfo.InvariantCulture),
                'x' => Whole(value).ToString("x", CultureInfo.InvariantCulture),
                'f' or 'F' => Real(value).ToString("F" + (precision < 0 ? 6 : precision), CultureInfo.InvariantCulture),
                _ => throw TemplateError.Of($"unsupported format character '{format[i]}'"),
            };
            if (flag.Contains('+', StringComparison.Ordinal) && format[i] is not ('s' or 'r') && !written.StartsWith('-')) written = "+" + written;
            bool zeros = flag.Contains('0', StringComparison.Ordinal) && format[i] is not ('s' or 'r');
            text.Append(flag.Contains('-', StringComparison.Ordinal) ? written.PadRight(width) : zeros ? Padded(written, "zfill", width, "0") : written.PadLeft(width));
        }

        return left.Count == 0 || values.Content is OrderedDictionary<TemplateValue, TemplateValue> ? text.ToString() : throw TemplateError.Type("not all arguments converted during string formatting");

        static string Cut(string text, int length) => length >= 0 && length < text.Length ? text[..length] : text;
        static double Real(TemplateValue value) => value.Float ?? throw TemplateError.Type($"must be real number, not {value.TypeName}");
        static long Whole(TemplateValue value) => value.Integer ?? (long)Math.Truncate(Real(value));
    }

    private static QuantBuildException WrongArguments(string name, TemplateValue[] arguments) =>
        TemplateError.Type($"{name}() does not take the arguments ({string.Join(", ", arguments.Select(argument => argument.TypeName))})");
}
