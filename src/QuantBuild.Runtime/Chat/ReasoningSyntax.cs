namespace QuantBuild;

/// <summary>Between which marks a model writes what it thinks before it answers, such as <c>&lt;think&gt;</c> and <c>&lt;/think&gt;</c>. White space at their ends need not be there.</summary>
/// <param name="Start">What begins its reasoning. Where a prompt ends with it, the answer begins within.</param>
/// <param name="End">What ends its reasoning.</param>
public sealed record ReasoningSyntax(string Start, string End);
