namespace QuantBuild;

/// <summary>How a model writes that it calls a tool: between two marks, as a JSON object with the members <c>name</c> and <c>arguments</c>.</summary>
/// <param name="Start">What begins a call, such as <c>&lt;tool_call&gt;</c>.</param>
/// <param name="End">What ends it, such as <c>&lt;/tool_call&gt;</c>.</param>
public sealed record ToolCallSyntax(string Start, string End);
