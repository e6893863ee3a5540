using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace QuantBuild.Generators.Analyzers;

/// <summary>QB4102: a model that was loaded, or a session, that nothing disposes. What leaves the method in any way may be disposed elsewhere, and is left alone.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class NeverDisposedAnalyzer() : ModelAnalyzer(Diagnostics.NeverDisposed)
{
    private protected override void Register(CompilationStartAnalysisContext context, ModelTypes types)
    {
        context.RegisterOperationAction(operation => AnalyzeLocal(operation, types), OperationKind.VariableDeclarator);
        context.RegisterOperationAction(operation => AnalyzeCall(operation, types), OperationKind.Invocation);
    }

    private void AnalyzeLocal(OperationAnalysisContext context, ModelTypes types)
    {
        IVariableDeclaratorOperation declarator = (IVariableDeclaratorOperation)context.Operation;
        // An IDisposable, say, or a task of a model, is left alone.
        if (IsUsing(declarator) || Kind(declarator.Symbol.Type, types) is not { } kind) return;
        if (declarator.GetVariableInitializer()?.Value.Value() is not IInvocationOperation made || !IsOwned(made, types)) return;
        if (!declarator.Symbol.Uses(declarator).All(use => use.Function() == declarator.Function() && IsPlain(use, types))) return;
        context.ReportDiagnostic(Diagnostic.Create(
            Rule, ((VariableDeclaratorSyntax)declarator.Syntax).Identifier.GetLocation(), $"The {kind} '{declarator.Symbol.Name}'", "Declare it with 'using'"));
    }

    /// <summary>What no local has: nobody can dispose it later.</summary>
    private void AnalyzeCall(OperationAnalysisContext context, ModelTypes types)
    {
        IInvocationOperation made = (IInvocationOperation)context.Operation;
        if (!IsOwned(made, types)) return;
        IOperation value = made.Whole();
        if (Kind(value.Type, types) is not { } kind) return;
        bool isLost = value.Parent switch
        {
            IExpressionStatementOperation => true,
            IInvocationOperation call => call.Instance == value && call.TargetMethod.Name != "Dispose",
            IPropertyReferenceOperation property => property.Instance == value,
            _ => false,
        };
        if (!isLost) return;
        string shared = types.ClassOf(made) is { } modelClass ? $", or use {modelClass.Name}.Shared, which is not to be disposed" : "";
        context.ReportDiagnostic(Diagnostic.Create(
            Rule, made.Syntax.GetLocation(), $"The {kind} that {made.TargetMethod.Name} gives", $"Keep it in a local that is declared with 'using'{shared}"));
    }

    private static bool IsOwned(IInvocationOperation made, ModelTypes types) => types.IsLoad(made.TargetMethod) || types.MakesSession(made.TargetMethod);

    private static string? Kind(ITypeSymbol? type, ModelTypes types) =>
        ModelTypes.Is(type, types.LanguageModel) ? "model" : ModelTypes.Is(type, types.TextSession) ? "session" : null;

    private static bool IsUsing(IVariableDeclaratorOperation declarator) => declarator.Parent?.Parent?.Parent is IUsingDeclarationOperation or IUsingOperation;

    /// <summary>Whether a use only asks something of the local: it is not given away, and what comes of it needs it no longer afterwards.</summary>
    private static bool IsPlain(ILocalReferenceOperation use, ModelTypes types) => use.Parent switch
    {
        IPropertyReferenceOperation property => property.Instance == use,
        IInvocationOperation call when call.Instance == use && call.TargetMethod.Name != "Dispose" => Ends(call, types),
        _ => false,
    };

    // A task, a stream or a session goes on using the model.
    private static bool Ends(IInvocationOperation call, ModelTypes types)
    {
        ITypeSymbol type = call.TargetMethod.ReturnType;
        if (ModelTypes.Is(type, types.TextSession))
        {
            return call.Whole().Parent is IVariableInitializerOperation { Parent: IVariableDeclaratorOperation declarator } && IsUsing(declarator);
        }

        return type.Name switch
        {
            "Task" or "ValueTask" => call.Whole() is IAwaitOperation,
            "IAsyncEnumerable" => IsReadHere(call),
            _ => true,
        };
    }

    private static bool IsReadHere(IOperation stream) => stream.Parent switch
    {
        IForEachLoopOperation loop => loop.Collection == stream,
        IConversionOperation conversion => IsReadHere(conversion),
        IArgumentOperation { Parent: IInvocationOperation { TargetMethod.Name: "ConfigureAwait" or "WithCancellation" } call } => IsReadHere(call),
        IInvocationOperation { TargetMethod.Name: "ConfigureAwait" or "WithCancellation" } call => IsReadHere(call),
        _ => false,
    };
}
