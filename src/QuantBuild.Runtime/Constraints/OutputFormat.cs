using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using QuantBuild.Constraints;

namespace QuantBuild;

/// <summary>
/// What generated text must look like. A token that would lead elsewhere is never chosen, whatever the model makes of it. Made once and used for any number of
/// texts: what depends on the tokenizer is made with the first text and kept.
/// </summary>
public sealed class OutputFormat
{
    private static readonly Lazy<OutputFormat> AnyObject = new(() => JsonSchema("""{"type": "object"}"""));
    private static readonly ConditionalWeakTable<JsonTypeInfo, OutputFormat> OfTypes = [];

    private readonly Grammar grammar;
    private readonly ConditionalWeakTable<TextTokenizer, TokenConstraint> constraints = [];

    private OutputFormat(Grammar grammar) => this.grammar = grammar;

    /// <summary>A JSON object with any members.</summary>
    public static OutputFormat Json => AnyObject.Value;

    /// <summary>JSON that a schema accepts, without white space between its parts.</summary>
    /// <param name="schema">The JSON schema, of the subset that <c>docs/constrained-output.md</c> describes.</param>
    /// <exception cref="QuantBuildException">QB4008: the schema is malformed, or asks for what is not supported.</exception>
    public static OutputFormat JsonSchema(string schema)
    {
        ArgumentNullException.ThrowIfNull(schema);
        try
        {
            using JsonDocument document = JsonDocument.Parse(schema);
            return JsonSchema(document.RootElement);
        }
        catch (JsonException e)
        {
            throw new QuantBuildException(DiagnosticIds.SchemaUnsupported, $"The JSON schema is not JSON: {e.Message} Correct it there.", e);
        }
    }

    /// <summary>JSON that a schema accepts, without white space between its parts.</summary>
    /// <param name="schema">The JSON schema. It need not be kept.</param>
    /// <exception cref="QuantBuildException">QB4008: the schema is malformed, or asks for what is not supported.</exception>
    public static OutputFormat JsonSchema(JsonElement schema) => new(JsonSchemaGrammar.Make(schema));

    /// <summary>JSON that makes a value of a type.</summary>
    /// <param name="type">What System.Text.Json knows of the type: of a source-generated context where the program is trimmed or compiled ahead of time.</param>
    /// <exception cref="QuantBuildException">QB4008: the type has something that cannot be held to, such as a dictionary with keys that are objects.</exception>
    public static OutputFormat JsonOf<T>(JsonTypeInfo<T> type)
    {
        ArgumentNullException.ThrowIfNull(type);
        return OfTypes.GetValue(type, static type => new OutputFormat(TypedOutput.Grammar(type)));
    }

    /// <summary>Text that a grammar matches.</summary>
    /// <param name="grammar">Rules in GBNF, the notation of llama.cpp; <c>root</c> matches the whole text.</param>
    /// <exception cref="QuantBuildException">QB4007: the grammar is malformed. One that no automaton can follow is found with the first text.</exception>
    public static OutputFormat Grammar(string grammar)
    {
        ArgumentNullException.ThrowIfNull(grammar);
        return new OutputFormat(GrammarParser.Parse(grammar));
    }

    /// <summary>The format for the tokens of a tokenizer; made once.</summary>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="endTokens">Ids of tokens that end a text.</param>
    /// <exception cref="QuantBuildException">QB4007, QB4008: the format is left-recursive, matches no text, or is too large.</exception>
    internal TokenConstraint ConstraintFor(TextTokenizer tokenizer, IReadOnlyCollection<int> endTokens)
    {
        if (constraints.TryGetValue(tokenizer, out TokenConstraint? known) && known.EndsWith(endTokens)) return known;
        TokenConstraint made = new(grammar, tokenizer.Trie, endTokens);
        constraints.AddOrUpdate(tokenizer, made);
        return made;
    }
}
