using System.Collections.Generic;
using System.ComponentModel;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text.Json;

namespace QuantBuild.Chat;

/// <summary>
/// A value in a compiled chat template, with the semantics that it has in Python: templates are written against those. For generated code.
/// </summary>
/// <remarks>
/// What it may be: undefined (the default), none, a boolean, an integer of 64 bits, a float, a text, a sequence, a mapping, a namespace, a loop, a macro or a method of another value.
/// </remarks>
[EditorBrowsable(EditorBrowsableState.Never)]
public readonly struct TemplateValue : IEquatable<TemplateValue>
{
    private static readonly object NoneContent = new();

    internal TemplateValue(object? content, bool isMarkup = false) => (Content, IsMarkup) = (content, isMarkup);

    /// <summary>Python's <c>None</c>.</summary>
    public static TemplateValue None { get; } = new(NoneContent);

    /// <summary>What stands for an argument that was not given.</summary>
    internal static TemplateValue Missing { get; } = new(new TemplateUndefined("the argument was not given"));

    /// <summary>A boolean, long, double, string, or one of the types of this folder; <see langword="null"/> if it is undefined.</summary>
    internal object? Content { get; }

    /// <summary>Whether it is a text that the filter <c>safe</c> made: what is added to it is escaped for HTML, as jinja2 does it even where nothing else is.</summary>
    internal bool IsMarkup { get; }

    /// <summary>Whether it can be the key of a mapping.</summary>
    internal bool IsHashable => Content is not (TemplateSequence { Form: not SequenceForm.Tuple } or OrderedDictionary<TemplateValue, TemplateValue>);

    /// <summary>Whether it is undefined.</summary>
    public bool IsUndefined => Content is null or TemplateUndefined;

    /// <summary>Whether it is an argument that was not given.</summary>
    public bool IsMissing => ReferenceEquals(Content, Missing.Content);

    /// <summary>Whether it is none.</summary>
    public bool IsNone => ReferenceEquals(Content, NoneContent);

    /// <summary>Whether it counts as true in a condition.</summary>
    public bool IsTrue => Content switch
    {
        null or TemplateUndefined => false,
        bool boolean => boolean,
        long integer => integer != 0,
        double number => number != 0,
        string text => text.Length > 0,
        TemplateSequence sequence => sequence.IsTrue,
        OrderedDictionary<TemplateValue, TemplateValue> mapping => mapping.Count > 0,
        _ => !IsNone,
    };

    /// <summary>A text.</summary>
    public static implicit operator TemplateValue(string text) => new(text);

    /// <summary>An integer.</summary>
    public static implicit operator TemplateValue(long integer) => new(integer);

    /// <summary>A float.</summary>
    public static implicit operator TemplateValue(double number) => new(number);

    /// <summary>A boolean.</summary>
    public static implicit operator TemplateValue(bool boolean) => new(boolean);

    // With these four, C#'s && and || are Python's `and` and `or`: the value of one of the operands, the second computed only if it is needed.

    /// <summary>Whether it counts as true.</summary>
    public static bool operator true(TemplateValue value) => value.IsTrue;

    /// <summary>Whether it counts as false.</summary>
    public static bool operator false(TemplateValue value) => !value.IsTrue;

    /// <summary>The second operand, where the first is true.</summary>
    public static TemplateValue operator &(TemplateValue left, TemplateValue right) => right;

    /// <summary>The second operand, where the first is false.</summary>
    public static TemplateValue operator |(TemplateValue left, TemplateValue right) => right;

    /// <summary>Whether two values are equal.</summary>
    public static bool operator ==(TemplateValue left, TemplateValue right) => left.Equals(right);

    /// <summary>Whether two values differ.</summary>
    public static bool operator !=(TemplateValue left, TemplateValue right) => !left.Equals(right);

    /// <summary>Equal as in Python: 1, 1.0 and true are.</summary>
    public bool Equals(TemplateValue other)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        if (IsUndefined || other.IsUndefined) return IsUndefined && other.IsUndefined;
        if (Integer is { } integer && other.Integer is { } otherInteger) return integer == otherInteger;
        if (Float is { } number && other.Float is { } otherNumber) return number == otherNumber;
        return (Content, other.Content) switch
        {
            (string text, string otherText) => string.Equals(text, otherText, StringComparison.Ordinal),
            (TemplateSequence sequence, TemplateSequence otherSequence) => sequence.Equals(otherSequence),
            (OrderedDictionary<TemplateValue, TemplateValue> mapping, OrderedDictionary<TemplateValue, TemplateValue> otherMapping) =>
                mapping.Count == otherMapping.Count && mapping.All(entry => otherMapping.TryGetValue(entry.Key, out TemplateValue value) && entry.Value.Equals(value)),
            _ => ReferenceEquals(Content, other.Content),
        };
    }

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is TemplateValue other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode()
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        if (IsUndefined) return 0;
        if (Float is { } number) return number.GetHashCode();
        return Content switch
        {
            string text => text.GetHashCode(StringComparison.Ordinal),
            TemplateSequence { Form: SequenceForm.Tuple } tuple => tuple.Items.Aggregate(17, (hash, item) => HashCode.Combine(hash, item.GetHashCode())),
            TemplateSequence or OrderedDictionary<TemplateValue, TemplateValue> => throw TemplateError.Type($"unhashable type: '{TypeName}'"),
            _ => RuntimeHelpers.GetHashCode(Content),
        };
    }

    /// <summary>The text that it is written as.</summary>
    public override string ToString() => Content switch
    {
        null or TemplateUndefined => "",
        string text => text,
        _ => PythonText.Representation(this),
    };

    /// <summary>The integer that it is, a boolean being one.</summary>
    internal long? Integer => Content switch
    {
        bool boolean => boolean ? 1 : 0,
        long integer => integer,
        _ => null,
    };

    /// <summary>The number that it is.</summary>
    internal double? Float => Content is double number ? number : Integer;

    /// <summary>The name of its type in Python, for errors.</summary>
    internal string TypeName => Content switch
    {
        null or TemplateUndefined => "Undefined",
        bool => "bool",
        long => "int",
        double => "float",
        string => "str",
        TemplateSequence sequence => sequence.Form switch
        {
            SequenceForm.List => "list",
            SequenceForm.Tuple => "tuple",
            SequenceForm.View => "dict_items",
            _ => "generator",
        },
        OrderedDictionary<TemplateValue, TemplateValue> => "dict",
        TemplateNamespace => "Namespace",
        TemplateLoop => "LoopContext",
        TemplateMacro => "Macro",
        TemplateMethod => "builtin_function_or_method",
        _ => IsNone ? "NoneType" : "object",
    };

    /// <summary>The value that JSON stands for.</summary>
    internal static TemplateValue Of(JsonElement json)
    {
        switch (json.ValueKind)
        {
            case JsonValueKind.True or JsonValueKind.False:
                return json.GetBoolean();
            case JsonValueKind.String:
                return json.GetString()!;
            case JsonValueKind.Number:
                // 1 is an integer, and 1.0 a float.
                return json.GetRawText().AsSpan().IndexOfAny(".eE") < 0 && json.TryGetInt64(out long integer) ? (TemplateValue)integer : json.GetDouble();
            case JsonValueKind.Array:
                return new TemplateValue(new TemplateSequence([.. json.EnumerateArray().Select(Of)]));
            case JsonValueKind.Object:
                OrderedDictionary<TemplateValue, TemplateValue> mapping = [];
                foreach (JsonProperty member in json.EnumerateObject()) mapping[member.Name] = Of(member.Value);
                return new TemplateValue(mapping);
            default:
                return None;
        }
    }

    /// <summary>The items that a loop over it has.</summary>
    /// <exception cref="QuantBuildException">QB4013: it has none.</exception>
    internal IReadOnlyList<TemplateValue> Items() => Content switch
    {
        null or TemplateUndefined => [],
        string text => [.. PythonText.Characters(text).Select(character => (TemplateValue)character)],
        TemplateSequence sequence => sequence.Take(),
        OrderedDictionary<TemplateValue, TemplateValue> mapping => [.. mapping.Keys],
        _ => throw TemplateError.Type($"'{TypeName}' object is not iterable"),
    };

    /// <summary>How many items it has.</summary>
    internal int Length() => Content switch
    {
        null or TemplateUndefined => 0,
        string text => PythonText.Length(text),
        TemplateSequence { Form: not SequenceForm.Generator } sequence => sequence.Items.Count,
        OrderedDictionary<TemplateValue, TemplateValue> mapping => mapping.Count,
        TemplateLoop loop => loop.Count,
        _ => throw TemplateError.Type($"object of type '{TypeName}' has no len()"),
    };

    /// <summary>The error that using an undefined value is.</summary>
    internal QuantBuildException Undefined() => TemplateError.Of((Content as TemplateUndefined)?.Why ?? "a value is undefined");
}
