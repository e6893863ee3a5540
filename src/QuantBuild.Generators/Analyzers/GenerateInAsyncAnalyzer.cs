using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace QuantBuild.Generators.Analyzers;

/// <summary>QB4103: <c>Generate</c> in an async function, whose caller counts on getting its thread back. The program's entry point and tests hold up nobody else, and are left alone.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class GenerateInAsyncAnalyzer() : ModelAnalyzer(Diagnostics.GenerateInAsync)
{
    private protected override void Register(CompilationStartAnalysisContext context, ModelTypes types)
    {
        IMethodSymbol? entryPoint = context.Compilation.GetEntryPoint(context.CancellationToken);
        OnCalls(context, (operation, call) =>
        {
            IMethodSymbol method = call.TargetMethod;
            bool isSession = ModelTypes.Is(method.ContainingType, types.TextSession);
            if (method.Name != "Generate" || (!isSession && !types.IsOfModel(method))) return;
            if (!call.IsInAsync(operation.ContainingSymbol) || !MayAwait(call)) return;
            if (call.Function() is null && SymbolEqualityComparer.Default.Equals(operation.ContainingSymbol, entryPoint)) return;
            if (operation.ContainingSymbol.GetAttributes().Any(IsOfTests)) return;
            string name = method.ContainingType.Name + ".";
            operation.ReportDiagnostic(Diagnostic.Create(Rule, call.Syntax.GetLocation(), name + method.Name, name + (isSession ? "CompleteAsync" : "GenerateAsync")));
        });
    }

    private static bool IsOfTests(AttributeData attribute) =>
        attribute.AttributeClass?.ContainingNamespace.ToDisplayString() is "Xunit" or "NUnit.Framework" or "Microsoft.VisualStudio.TestTools.UnitTesting";

    // Not in a lock, nor in the filter of a catch.
    private static bool MayAwait(IOperation operation)
    {
        for (IOperation child = operation; child.Parent is { } parent and not (IAnonymousFunctionOperation or ILocalFunctionOperation); child = parent)
        {
            if (parent is ILockOperation || (parent is ICatchClauseOperation clause && child == clause.Filter)) return false;
        }

        return true;
    }
}
