using System.Collections.Generic;
using System.ComponentModel;

namespace QuantBuild.Chat;

/// <summary>What a chat template knows of the conversation. For generated code.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed class TemplateVariables
{
    private readonly Dictionary<string, TemplateValue> values;
    private readonly HashSet<string> asked = new(StringComparer.Ordinal);

    internal TemplateVariables(Dictionary<string, TemplateValue> values, TimeProvider clock) => (this.values, Clock) = (values, clock);

    internal TimeProvider Clock { get; }

    /// <summary>The names that were asked for. Generated code asks for all that the template has, first of all.</summary>
    internal IReadOnlySet<string> Asked => asked;

    /// <summary>A variable; undefined, if there is none of that name.</summary>
    /// <param name="name">Its name.</param>
    public TemplateValue this[string name]
    {
        get
        {
            asked.Add(name);
            return values.TryGetValue(name, out TemplateValue value) ? value : new TemplateValue(new TemplateUndefined($"'{name}' is undefined"));
        }
    }
}
