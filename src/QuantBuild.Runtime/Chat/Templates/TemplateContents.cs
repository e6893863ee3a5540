using System.Collections.Generic;
using System.ComponentModel;

namespace QuantBuild.Chat;

/// <summary>A value that is not there, and why.</summary>
internal sealed record TemplateUndefined(string Why);

/// <summary>What a template made by <c>namespace(…)</c>: the one kind of value whose attributes it can set.</summary>
internal sealed class TemplateNamespace
{
    public Dictionary<string, TemplateValue> Attributes { get; } = new(StringComparer.Ordinal);
}

/// <summary>A macro of a template.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Parameters">Names of its parameters.</param>
/// <param name="Body">What it writes for the values of its parameters, and last that of <c>caller</c>.</param>
internal sealed record TemplateMacro(string Name, string[] Parameters, Func<TemplateValue[], string> Body);

/// <summary>A method of a value, not yet called.</summary>
internal sealed record TemplateMethod(TemplateValue Target, string Name);

/// <summary>What a sequence of values is in Python.</summary>
internal enum SequenceForm
{
    List,
    Tuple,

    /// <summary>Keys, values or items of a mapping: they have a length and no positions.</summary>
    View,

    /// <summary>What many filters give: it can be read once, and counts as true even where it is empty.</summary>
    Generator,
}

/// <summary>A sequence of values.</summary>
internal sealed class TemplateSequence(IReadOnlyList<TemplateValue> items, SequenceForm form = SequenceForm.List) : IEquatable<TemplateSequence>
{
    public IReadOnlyList<TemplateValue> Items { get; private set; } = items;

    public SequenceForm Form => form;

    public bool IsTrue => form == SequenceForm.Generator || Items.Count > 0;

    /// <summary>Whether its items have positions.</summary>
    public bool IsIndexed => form is SequenceForm.List or SequenceForm.Tuple;

    /// <summary>Reads the items.</summary>
    public IReadOnlyList<TemplateValue> Take()
    {
        IReadOnlyList<TemplateValue> taken = Items;
        if (form == SequenceForm.Generator) Items = [];
        return taken;
    }

    public bool Equals(TemplateSequence? other) =>
        ReferenceEquals(this, other) || (other is not null && form == other.Form && form != SequenceForm.Generator && Items.SequenceEqual(other.Items));

    public override bool Equals(object? obj) => Equals(obj as TemplateSequence);

    public override int GetHashCode() => Items.Count;
}

/// <summary>A loop of a template, and what it can ask of it. For generated code.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed class TemplateLoop
{
    private readonly IReadOnlyList<TemplateValue> items;
    private TemplateValue[]? changed;
    private int index = -1;

    internal TemplateLoop(IReadOnlyList<TemplateValue> items) => this.items = items;

    /// <summary>How many turns there are.</summary>
    public int Count => items.Count;

    /// <summary>The item of this turn.</summary>
    public TemplateValue Item => items[index];

    /// <summary>Goes on to the next turn, if there is one.</summary>
    public bool Next()
    {
        TemplateSteps.Take();
        return ++index < items.Count;
    }

    internal TemplateValue? Attribute(string name) => name switch
    {
        "index" => index + 1L,
        "index0" => (long)index,
        "revindex" => (long)(items.Count - index),
        "revindex0" => items.Count - index - 1L,
        "first" => index == 0,
        "last" => index == items.Count - 1,
        "length" => (long)items.Count,
        "depth" => 1L,
        "depth0" => 0L,
        "previtem" => index > 0 ? items[index - 1] : new TemplateValue(new TemplateUndefined("there is no previous item")),
        "nextitem" => index + 1 < items.Count ? items[index + 1] : new TemplateValue(new TemplateUndefined("there is no next item")),
        _ => (TemplateValue?)null,
    };

    internal TemplateValue Call(string method, TemplateValue[] arguments)
    {
        switch (method)
        {
            case "cycle" when arguments.Length > 0:
                return arguments[index % arguments.Length];
            case "changed":
                bool differs = changed is null || !changed.SequenceEqual(arguments);
                changed = arguments;
                return differs;
            default:
                throw TemplateError.Of($"a loop has no method {method} for {arguments.Length} arguments");
        }
    }
}

/// <summary>Errors of templates.</summary>
internal static class TemplateError
{
    /// <summary>The template cannot write the conversation, and says why.</summary>
    public static QuantBuildException Raised(string message) => new(
        DiagnosticIds.ChatMessageUnsupported, $"The model's chat template refuses the conversation: {message} Give the messages the roles, order and content that it takes.");

    /// <summary>The template does with a value what cannot be done.</summary>
    public static QuantBuildException Of(string message) => new(
        DiagnosticIds.ChatMessageUnsupported,
        $"The model's chat template cannot write the conversation: {message}. The template takes other messages or tools: give it what it expects, or the client another ChatFormat.");

    /// <summary>The same, where it would use up memory.</summary>
    public static QuantBuildException TooLong() => Of($"it makes a text of more than {ChatTemplate.LargestText} characters");

    /// <summary>The same, of a value of the wrong kind.</summary>
    public static QuantBuildException Type(string message) => Of(message);
}
