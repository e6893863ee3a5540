using System.Collections.Generic;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using QuantBuild.Chat;

namespace QuantBuild;

// What the expressions of templates come to. The names are those of Jinja, and so are the meanings.
#pragma warning disable CS1591 // For generated code alone.
public abstract partial class ChatTemplate
{
    private static readonly string[] TextMethods =
    [
        "capitalize", "casefold", "center", "count", "endswith", "find", "format", "index", "isalnum", "isalpha", "isdecimal", "isdigit", "islower", "isnumeric", "isspace", "istitle", "isupper", "join",
        "ljust", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rjust", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip",
        "swapcase", "title", "upper", "zfill",
    ];

    private static readonly string[] ListMethods = ["append", "clear", "copy", "count", "extend", "index", "insert", "pop", "remove", "reverse", "sort"];
    private static readonly string[] MappingMethods = ["clear", "copy", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values"];

    protected static TemplateValue None => TemplateValue.None;

    protected static TemplateValue Text(string text) => text;

    protected static TemplateValue Number(long integer) => integer;

    protected static TemplateValue Number(double number) => number;

    protected static TemplateValue Bool(bool boolean) => boolean;

    protected static bool IsTrue(TemplateValue value) => value.IsTrue;

    protected static TemplateValue List(params TemplateValue[] items) => Sequence(items);

    protected static TemplateValue Tuple(params TemplateValue[] items) => new(new TemplateSequence(items, SequenceForm.Tuple));

    /// <param name="entries">Key, value, key, value…</param>
    protected static TemplateValue Mapping(params TemplateValue[] entries)
    {
        OrderedDictionary<TemplateValue, TemplateValue> mapping = [];
        for (int i = 0; i < entries.Length; i += 2) mapping[entries[i]] = entries[i + 1];
        return new TemplateValue(mapping);
    }

    protected static void Append(StringBuilder output, TemplateValue value)
    {
        output.Append(value.ToString());
        if (output.Length > LargestText) throw TemplateError.Of($"it writes more than {LargestText} characters");
    }

    /// <summary>A text that a part of the template wrote.</summary>
    protected static TemplateValue Text(StringBuilder output) => output.ToString();

    /// <summary><c>value.name</c></summary>
    protected static TemplateValue Attribute(TemplateValue value, string name)
    {
        if (value.IsUndefined) throw value.Undefined();
        TemplateValue? attribute = value.Content switch
        {
            string when TextMethods.Contains(name) => Bound(value, name),
            TemplateSequence { Form: SequenceForm.List } when ListMethods.Contains(name) => Bound(value, name),
            OrderedDictionary<TemplateValue, TemplateValue> when MappingMethods.Contains(name) => Bound(value, name),
            OrderedDictionary<TemplateValue, TemplateValue> mapping when mapping.TryGetValue(name, out TemplateValue member) => member,
            TemplateNamespace space when space.Attributes.TryGetValue(name, out TemplateValue member) => member,
            TemplateLoop loop => loop.Attribute(name),
            TemplateMacro macro when name == "name" => macro.Name,
            _ => (TemplateValue?)null,
        };
        return attribute ?? Absent($"'{value.TypeName} object' has no attribute '{name}'");
    }

    /// <summary><c>value[index]</c></summary>
    protected static TemplateValue Item(TemplateValue value, TemplateValue index)
    {
        switch (value.Content)
        {
            case null or TemplateUndefined:
                throw value.Undefined();
            case OrderedDictionary<TemplateValue, TemplateValue> mapping when index.IsHashable && mapping.TryGetValue(index, out TemplateValue member):
                return member;
            case TemplateSequence { IsIndexed: true } sequence when index.Integer is { } position:
                int count = sequence.Items.Count;
                if (position < 0) position += count;
                return position >= 0 && position < count ? sequence.Items[(int)position] : Absent($"the {value.TypeName} has no item {index}");
            case string text when index.Integer is { } position:
                int length = PythonText.Length(text);
                if (position < 0) position += length;
                if (position < 0 || position >= length) return Absent($"the text has no character {index}");
                return length == text.Length ? text[(int)position].ToString() : PythonText.Characters(text).ElementAt((int)position);
            default:
                return index.Content is string name ? Attribute(value, name) : Absent($"'{value.TypeName} object' has no item {PythonText.Representation(index)}");
        }
    }

    /// <summary><c>value[start:stop:step]</c></summary>
    protected static TemplateValue Slice(TemplateValue value, TemplateValue start, TemplateValue stop, TemplateValue step)
    {
        if (value.IsUndefined) throw value.Undefined();
        long stride = Bound(step) ?? 1;
        if (stride == 0) throw TemplateError.Of("a slice has the step 0");
        IReadOnlyList<TemplateValue> items = value.Content switch
        {
            TemplateSequence { IsIndexed: true } sequence => sequence.Items,
            string => value.Items(),
            _ => throw TemplateError.Type($"'{value.TypeName}' object is not subscriptable"),
        };
        long count = items.Count;
        long Position(long? bound, long otherwise) => bound is not { } given ? otherwise : Math.Clamp(given < 0 ? given + count : given, stride > 0 ? 0 : -1, stride > 0 ? count : count - 1);
        long first = Position(Bound(start), stride > 0 ? 0 : count - 1), end = Position(Bound(stop), stride > 0 ? count : -1);
        List<TemplateValue> taken = [];
        // A step beyond all items is as good as any other.
        stride = Math.Clamp(stride, -count - 1, count + 1);
        for (long i = first; stride > 0 ? i < end : i > end; i += stride) taken.Add(items[(int)i]);
        if (value.Content is string) return string.Concat(taken);
        return new TemplateValue(new TemplateSequence(taken, ((TemplateSequence)value.Content!).Form));
    }

    protected static TemplateValue Add(TemplateValue left, TemplateValue right)
    {
        switch (Numbers(left, right), left.Content, right.Content)
        {
            case ((true, _), _, _):
                return Exact((Int128)left.Integer!.Value + right.Integer!.Value);
            case ((_, true), _, _):
                return left.Float!.Value + right.Float!.Value;
            case (_, string text, string other):
                return left.IsMarkup || right.IsMarkup ? new(Limited(Escaped(left) + Escaped(right)).Content, isMarkup: true) : Limited(text + other);
            case (_, TemplateSequence { IsIndexed: true } sequence, TemplateSequence other) when sequence.Form == other.Form:
                if (sequence.Items.Count + other.Items.Count > LargestRange) throw TemplateError.Of($"it makes a list of more than {LargestRange} items");
                return new TemplateValue(new TemplateSequence([.. sequence.Items, .. other.Items], sequence.Form));
            default:
                throw Unsupported("+", left, right);
        }
    }

    protected static TemplateValue Subtract(TemplateValue left, TemplateValue right) => Numbers(left, right) switch
    {
        (true, _) => Exact((Int128)left.Integer!.Value - right.Integer!.Value),
        (_, true) => left.Float!.Value - right.Float!.Value,
        _ => throw Unsupported("-", left, right),
    };

    protected static TemplateValue Multiply(TemplateValue left, TemplateValue right)
    {
        switch (Numbers(left, right), left.Content, right.Content)
        {
            case ((true, _), _, _):
                return Exact((Int128)left.Integer!.Value * right.Integer!.Value);
            case ((_, true), _, _):
                return left.Float!.Value * right.Float!.Value;
            case (_, string text, _) when right.Integer is { } times:
                return Repeat(text, times);
            case (_, _, string text) when left.Integer is { } times:
                return Repeat(text, times);
            case (_, TemplateSequence { IsIndexed: true } sequence, _) when right.Integer is { } times:
                return Repeat(sequence, times);
            case (_, _, TemplateSequence { IsIndexed: true } sequence) when left.Integer is { } times:
                return Repeat(sequence, times);
            default:
                throw Unsupported("*", left, right);
        }
    }

    protected static TemplateValue Divide(TemplateValue left, TemplateValue right)
    {
        if (!Numbers(left, right).AreNumbers) throw Unsupported("/", left, right);
        return right.Float == 0 ? throw TemplateError.Of("division by zero") : left.Float!.Value / right.Float!.Value;
    }

    protected static TemplateValue FloorDivide(TemplateValue left, TemplateValue right)
    {
        (bool areIntegers, bool areNumbers) = Numbers(left, right);
        if (!areNumbers) throw Unsupported("//", left, right);
        if (right.Float == 0) throw TemplateError.Of("division by zero");
        return areIntegers ? Exact(Floor(left.Integer!.Value, right.Integer!.Value)) : Math.Floor(left.Float!.Value / right.Float!.Value);
    }

    protected static TemplateValue Modulo(TemplateValue left, TemplateValue right)
    {
        if (left.Content is string format) return Format(format, right);
        (bool areIntegers, bool areNumbers) = Numbers(left, right);
        if (!areNumbers) throw Unsupported("%", left, right);
        if (right.Float == 0) throw TemplateError.Of("division by zero");
        if (areIntegers) return Exact(left.Integer!.Value - (Floor(left.Integer!.Value, right.Integer!.Value) * right.Integer!.Value));
        return left.Float!.Value - (Math.Floor(left.Float!.Value / right.Float!.Value) * right.Float!.Value);
    }

    protected static TemplateValue Power(TemplateValue left, TemplateValue right)
    {
        (bool areIntegers, bool areNumbers) = Numbers(left, right);
        if (!areNumbers) throw Unsupported("**", left, right);
        double power = Math.Pow(left.Float!.Value, right.Float!.Value);
        if (!areIntegers || right.Integer < 0) return power;
        if (Math.Abs(power) >= 1L << 53) throw TemplateError.Of("a number is larger than 64 bits");
        return (long)power;
    }

    protected static TemplateValue Negate(TemplateValue value) => value.Integer is { } integer ? Exact(-(Int128)integer) : value.Float is { } number ? -number : throw Unsupported("-", value, value);

    protected static TemplateValue Plus(TemplateValue value) => value.Integer is { } integer ? (TemplateValue)integer : value.Float is { } number ? number : throw Unsupported("+", value, value);

    /// <summary><c>a ~ b ~ c</c></summary>
    protected static TemplateValue Concat(params TemplateValue[] values) => Joined("", values.Select(value => value.ToString()));

    protected static bool AreEqual(TemplateValue left, TemplateValue right) => left.Equals(right);

    protected static bool IsLess(TemplateValue left, TemplateValue right) => IsOrdered(left, right) && TemplateOrder.Instance.Compare(left, right) < 0;

    protected static bool IsLessOrEqual(TemplateValue left, TemplateValue right) => IsOrdered(left, right) && TemplateOrder.Instance.Compare(left, right) <= 0;

    protected static bool IsGreater(TemplateValue left, TemplateValue right) => IsOrdered(left, right) && TemplateOrder.Instance.Compare(left, right) > 0;

    protected static bool IsGreaterOrEqual(TemplateValue left, TemplateValue right) => IsOrdered(left, right) && TemplateOrder.Instance.Compare(left, right) >= 0;

    /// <summary><c>item in container</c></summary>
    protected static bool IsIn(TemplateValue item, TemplateValue container)
    {
        switch (container.Content)
        {
            case string text:
                return item.Content is string part ? text.Contains(part, StringComparison.Ordinal) : throw TemplateError.Type($"'in <string>' requires string as left operand, not {item.TypeName}");
            case OrderedDictionary<TemplateValue, TemplateValue> mapping:
                return mapping.ContainsKey(item);
            default:
                return container.Items().Contains(item);
        }
    }

    /// <summary>A loop over a value.</summary>
    protected static TemplateLoop Loop(TemplateValue value) => new(value.Items());

    /// <summary>A loop over those of its items that a condition is true for.</summary>
    protected static TemplateLoop Loop(TemplateValue value, Func<TemplateValue, bool> condition) => new([.. value.Items().Where(condition)]);

    /// <summary>The loop, as the variable <c>loop</c>.</summary>
    protected static TemplateValue Value(TemplateLoop loop) => new(loop);

    /// <summary>The items of a value that is assigned to several names.</summary>
    protected static IReadOnlyList<TemplateValue> Unpack(TemplateValue value, int count)
    {
        if (value.IsUndefined) throw value.Undefined();
        IReadOnlyList<TemplateValue> items = value.Items();
        return items.Count == count ? items : throw TemplateError.Of($"{items.Count} values are assigned to {count} names");
    }

    protected static void SetAttribute(TemplateValue target, string name, TemplateValue value)
    {
        if (target.Content is not TemplateNamespace space) throw TemplateError.Of("cannot assign attribute on non-namespace object");
        space.Attributes[name] = value;
    }

    protected static TemplateValue Macro(string name, string[] parameters, Func<TemplateValue[], string> body) => new(new TemplateMacro(name, parameters, body));

    /// <summary>Calls a value.</summary>
    /// <param name="function">What is called.</param>
    /// <param name="names">Names of the last arguments.</param>
    /// <param name="arguments">The arguments.</param>
    protected static TemplateValue Call(TemplateValue function, string[] names, params TemplateValue[] arguments)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        TemplateSteps.Take();
        if (function.IsUndefined) throw function.Undefined();
        if (function.Content is TemplateMethod method && names.Length == 0) return Method(method.Target, method.Name, arguments);
        if (function.Content is not TemplateMacro macro) throw TemplateError.Type($"'{function.TypeName}' object is not callable");
        int count = macro.Parameters.Length, positional = arguments.Length - names.Length;
        if (positional > count) throw TemplateError.Type($"macro '{macro.Name}' takes not more than {count} argument(s)");
        TemplateValue[] values = [.. Enumerable.Repeat(TemplateValue.Missing, count), default];
        arguments.AsSpan(0, positional).CopyTo(values);
        for (int i = 0; i < names.Length; i++)
        {
            int parameter = names[i] == "caller" ? count : Array.IndexOf(macro.Parameters, names[i]);
            if (parameter < 0) throw TemplateError.Type($"macro '{macro.Name}' takes no keyword argument '{names[i]}'");
            if (parameter < positional) throw TemplateError.Type($"macro '{macro.Name}' got multiple values for argument '{names[i]}'");
            values[parameter] = arguments[positional + i];
        }

        return macro.Body(values);
    }

    /// <summary>Calls a value with further arguments of a sequence: they come before those that have a name.</summary>
    protected static TemplateValue CallWith(TemplateValue function, string[] names, TemplateValue rest, params TemplateValue[] arguments) =>
        Call(function, names, [.. arguments.SkipLast(names.Length), .. rest.Items(), .. arguments.TakeLast(names.Length)]);

    protected static TemplateValue RaiseException(TemplateValue message) => throw TemplateError.Raised(message.ToString());

    protected static TemplateValue Range(params TemplateValue[] arguments)
    {
        if (arguments.Length is 0 or > 3 || arguments.Any(argument => argument.Integer is null)) throw TemplateError.Type("range takes one to three integers");
        long start = arguments.Length == 1 ? 0 : arguments[0].Integer!.Value, stop = arguments[arguments.Length == 1 ? 0 : 1].Integer!.Value;
        long step = arguments.Length == 3 ? arguments[2].Integer!.Value : 1;
        if (step == 0) throw TemplateError.Of("range() arg 3 must not be zero");
        List<TemplateValue> items = [];
        for (Int128 i = start; step > 0 ? i < stop : i > stop; i += step)
        {
            if (items.Count >= LargestRange) throw TemplateError.Of($"Range too big. The sandbox blocks ranges larger than MAX_RANGE ({LargestRange}).");
            items.Add((long)i);
        }

        return Sequence(items);
    }

    /// <summary><c>namespace(a=1, b=2)</c></summary>
    protected static TemplateValue Namespace(string[] names, params TemplateValue[] values)
    {
        TemplateNamespace space = new();
        foreach (TemplateValue from in values.SkipLast(names.Length))
        {
            if (from.Content is not OrderedDictionary<TemplateValue, TemplateValue> mapping) throw TemplateError.Type("namespace takes a mapping");
            foreach ((TemplateValue name, TemplateValue value) in mapping) space.Attributes[name.ToString()] = value;
        }

        for (int i = 0; i < names.Length; i++) space.Attributes[names[i]] = values[values.Length - names.Length + i];
        return new TemplateValue(space);
    }

    /// <summary><c>dict(a=1, b=2)</c></summary>
    protected static TemplateValue Dict(string[] names, params TemplateValue[] values)
    {
        OrderedDictionary<TemplateValue, TemplateValue> mapping = [];
        foreach (TemplateValue from in values.SkipLast(names.Length))
        {
            if (from.Content is OrderedDictionary<TemplateValue, TemplateValue> other)
            {
                foreach ((TemplateValue name, TemplateValue value) in other) mapping[name] = value;
            }
            else
            {
                foreach (TemplateValue pair in from.Items()) mapping[Unpack(pair, 2)[0]] = Unpack(pair, 2)[1];
            }
        }

        for (int i = 0; i < names.Length; i++) mapping[names[i]] = values[values.Length - names.Length + i];
        return new TemplateValue(mapping);
    }

    protected static TemplateValue StrftimeNow(TemplateVariables variables, TemplateValue format)
    {
        ArgumentNullException.ThrowIfNull(variables);
        DateTime now = variables.Clock.GetLocalNow().DateTime;
        StringBuilder text = new();
        string pattern = format.ToString();
        for (int i = 0; i < pattern.Length; i++)
        {
            if (pattern[i] != '%' || i + 1 == pattern.Length)
            {
                text.Append(pattern[i]);
                continue;
            }

            // A minus leaves zeros out.
            bool plain = pattern[++i] == '-' && i + 1 < pattern.Length;
            if (plain) i++;
            string? part = pattern[i] switch
            {
                'Y' => "yyyy",
                'y' => "yy",
                'm' => "MM",
                'd' => "dd",
                'H' => "HH",
                'I' => "hh",
                'M' => "mm",
                'S' => "ss",
                'f' => "ffffff",
                'B' => "MMMM",
                'b' or 'h' => "MMM",
                'A' => "dddd",
                'a' => "ddd",
                'p' => "tt",
                'F' => "yyyy-MM-dd",
                'D' => "MM/dd/yy",
                'T' => "HH:mm:ss",
                'R' => "HH:mm",
                _ => null,
            };
            string? written = pattern[i] switch
            {
                '%' => "%",
                'j' => now.DayOfYear.ToString("000", CultureInfo.InvariantCulture),
                'e' => now.Day.ToString(CultureInfo.InvariantCulture).PadLeft(2),
                'w' => ((int)now.DayOfWeek).ToString(CultureInfo.InvariantCulture),
                'u' => (now.DayOfWeek == DayOfWeek.Sunday ? 7 : (int)now.DayOfWeek).ToString(CultureInfo.InvariantCulture),
                'n' => "\n",
                't' => "\t",
                'Z' or 'z' => "",
                _ => part is null ? throw TemplateError.Of($"strftime_now does not know %{pattern[i]}") : now.ToString(part, CultureInfo.InvariantCulture),
            };
            text.Append(plain && written.Length > 1 ? written.TrimStart('0', ' ').PadLeft(1, '0') : written);
        }

        return text.ToString();
    }

    private static TemplateValue Sequence(IReadOnlyList<TemplateValue> items) => new(new TemplateSequence(items));

    private static TemplateValue Bound(TemplateValue value, string method) => new(new TemplateMethod(value, method));

    private static long? Bound(TemplateValue bound) => bound.IsNone ? null : bound.Integer ?? throw TemplateError.Type("slice indices must be integers or None");

    private static TemplateValue Absent(string why) => new(new TemplateUndefined(why));

    private static (bool AreIntegers, bool AreNumbers) Numbers(TemplateValue left, TemplateValue right) =>
        (left.Integer is not null && right.Integer is not null, left.Float is not null && right.Float is not null);

    // Nothing is less, equal or greater than what is no number.
    private static bool IsOrdered(TemplateValue left, TemplateValue right) => left.Content is not double.NaN && right.Content is not double.NaN;

    private static TemplateValue Exact(Int128 integer) =>
        integer >= long.MinValue && integer <= long.MaxValue ? (long)integer : throw TemplateError.Of("a number is larger than 64 bits");

    private static Int128 Floor(Int128 left, Int128 right) => (left / right) - (left % right != 0 && (left < 0) != (right < 0) ? 1 : 0);

    private static TemplateValue Limited(string text) => text.Length <= LargestText ? text : throw TemplateError.TooLong();

    /// <summary>Texts with another one between them, no more of which is made than may be.</summary>
    internal static string Joined(string separator, IEnumerable<string> texts)
    {
        StringBuilder joined = new();
        bool isFirst = true;
        foreach (string text in texts)
        {
            if (!isFirst) joined.Append(separator);
            isFirst = false;
            if (joined.Append(text).Length > LargestText) throw TemplateError.TooLong();
        }

        return joined.ToString();
    }

    private static TemplateValue Repeat(string text, long times)
    {
        if (times > 0 && text.Length > LargestText / times) throw TemplateError.TooLong();
        return new StringBuilder().Insert(0, text, (int)Math.Max(0, times)).ToString();
    }

    private static TemplateValue Repeat(TemplateSequence sequence, long times)
    {
        if (times > 0 && sequence.Items.Count > LargestRange / times) throw TemplateError.Of($"it makes a list of more than {LargestRange} items");
        return new TemplateValue(new TemplateSequence([.. Enumerable.Range(0, (int)Math.Max(0, times)).SelectMany(_ => sequence.Items)], sequence.Form));
    }

    private static QuantBuildException Unsupported(string operation, TemplateValue left, TemplateValue right)
    {
        if (left.IsUndefined) return left.Undefined();
        return right.IsUndefined ? right.Undefined() : TemplateError.Type($"unsupported operand type(s) for {operation}: '{left.TypeName}' and '{right.TypeName}'");
    }
}
