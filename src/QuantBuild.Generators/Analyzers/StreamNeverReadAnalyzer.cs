using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace QuantBuild.Generators.Analyzers;

/// <summary>QB4105: a stream of text that is dropped, or kept in a local that nothing uses.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class StreamNeverReadAnalyzer() : ModelAnalyzer(Diagnostics.StreamNeverRead)
{
    private protected override void Register(CompilationStartAnalysisContext context, ModelTypes types) => OnCalls(context, (operation, stream) =>
    {
        if (!IsStream(stream.TargetMethod, types) || !IsDropped(stream.Whole())) return;
        operation.ReportDiagnostic(Diagnostic.Create(Rule, stream.Syntax.GetLocation(), $"{stream.TargetMethod.ContainingType.Name}.{stream.TargetMethod.Name}"));
    });

    private static bool IsStream(IMethodSymbol method, ModelTypes types) => method.ReturnType.Name == "IAsyncEnumerable" && method.Name switch
    {
        "StreamAsync" or "StreamUpdatesAsync" => types.IsOfModel(method) || ModelTypes.Is(method.ContainingType, types.TextSession),
        "GetStreamingResponseAsync" => method.ContainingNamespace.ToDisplayString() == "Microsoft.Extensions.AI",
        _ => false,
    };

    private static bool IsDropped(IOperation value) => value.Parent switch
    {
        IExpressionStatementOperation => true,
        ISimpleAssignmentOperation { Target: IDiscardOperation, Parent: IExpressionStatementOperation } => true,
        IVariableInitializerOperation { Parent: IVariableDeclaratorOperation declarator } => !declarator.Symbol.Uses(declarator).Any(),
        _ => false,
    };
}
