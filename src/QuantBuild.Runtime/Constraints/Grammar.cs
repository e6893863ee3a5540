namespace QuantBuild.Constraints;

/// <summary>A context-free grammar: what a grammar in text and a JSON schema both become. It matches what its rule <see cref="Root"/> matches.</summary>
/// <param name="diagnosticId">The id of errors in the grammar as a whole.</param>
internal sealed class Grammar(string diagnosticId)
{
    /// <summary>The name of the rule that matches the whole output.</summary>
    public const string Root = "root";

    /// <summary>Rules by name.</summary>
    public Dictionary<string, GrammarExpression> Rules { get; } = [];

    /// <summary>Names of rules that nest: of these, at most <see cref="MaxDepth"/> may be open at once. JSON arrays and objects, whose depth readers limit.</summary>
    public HashSet<string> NestingRules { get; } = [];

    /// <summary>How many <see cref="NestingRules"/> may be open at once.</summary>
    public int MaxDepth { get; init; } = 1 << 20;

    /// <summary>An error in the grammar as a whole.</summary>
    public QuantBuildException Error(string message) => new(diagnosticId, message);
}
