using System.Collections.Generic;
using System.ComponentModel;
using System.Text;
using System.Text.Json;
using QuantBuild.Chat;

namespace QuantBuild;

/// <summary>
/// A model's chat template, compiled: the generated class of a model derives its own from it. Nothing interprets the template when it writes. Safe to use from several threads at once.
/// </summary>
public abstract partial class ChatTemplate
{
    // As jinja2's sandbox has it: a template is not the one to use up memory.
    private const long LargestRange = 100_000;
    internal const int LargestText = 16 << 20;

    private readonly Dictionary<string, TemplateValue> specialTokens = new(StringComparer.Ordinal);

    /// <summary>A template of a model with these special tokens; one that the model does not have is <see langword="null"/>.</summary>
    /// <param name="bosToken">The token that begins texts.</param>
    /// <param name="eosToken">The token that ends them.</param>
    /// <param name="unkToken">The token for what is unknown.</param>
    /// <param name="padToken">The token that fills up.</param>
    protected ChatTemplate(string? bosToken, string? eosToken, string? unkToken, string? padToken)
    {
        if (bosToken is not null) specialTokens["bos_token"] = bosToken;
        if (eosToken is not null) specialTokens["eos_token"] = eosToken;
        if (unkToken is not null) specialTokens["unk_token"] = unkToken;
        if (padToken is not null) specialTokens["pad_token"] = padToken;
    }

    /// <summary>Writes a conversation.</summary>
    /// <param name="variables">
    /// An object with what the template knows, as <c>apply_chat_template</c> of transformers gives it: <c>messages</c>, <c>tools</c>, <c>add_generation_prompt</c> and whatever else the template asks for.
    /// The model's special tokens are known anyway.
    /// </param>
    /// <param name="clock">The time, for templates that write the date; <see langword="null"/> is the system's.</param>
    /// <returns>The text, with the token that begins texts, where the template writes it.</returns>
    /// <exception cref="QuantBuildException">QB4013: the template refuses the conversation, or cannot write it.</exception>
    public string Render(JsonElement variables, TimeProvider? clock = null)
    {
        Dictionary<string, TemplateValue> values = new(StringComparer.Ordinal);
        if (variables.ValueKind != JsonValueKind.Object) throw new ArgumentException("The variables are not a JSON object.", nameof(variables));
        foreach (JsonProperty variable in variables.EnumerateObject()) values[variable.Name] = TemplateValue.Of(variable.Value);
        return Render(values, clock);
    }

    /// <summary>Writes a conversation, and adds the names of the variables that the template asked for.</summary>
    internal string Render(Dictionary<string, TemplateValue> variables, TimeProvider? clock = null, HashSet<string>? asked = null)
    {
        foreach ((string name, TemplateValue token) in specialTokens) variables.TryAdd(name, token);
        StringBuilder output = new();
        TemplateVariables given = new(variables, clock ?? TimeProvider.System);
        TemplateSteps.Begin();
        try
        {
            Write(given, output);
        }
        catch (InsufficientExecutionStackException)
        {
            throw TemplateError.Of("it calls itself without end");
        }
        finally
        {
            asked?.UnionWith(given.Asked);
        }

        return output.ToString();
    }

    /// <summary>What the generator made of the template.</summary>
    /// <param name="variables">What the template knows.</param>
    /// <param name="output">The text.</param>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected abstract void Write(TemplateVariables variables, StringBuilder output);
}
