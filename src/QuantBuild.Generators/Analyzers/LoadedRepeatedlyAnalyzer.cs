using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace QuantBuild.Generators.Analyzers;

/// <summary>QB4101: the same model is loaded again and again, in a loop or for each request to a server.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class LoadedRepeatedlyAnalyzer() : ModelAnalyzer(Diagnostics.LoadedRepeatedly)
{
    private const string InLoop = "each time round the loop";

    private protected override void Register(CompilationStartAnalysisContext context, ModelTypes types)
    {
        Requests requests = new(context.Compilation);
        OnCalls(context, (operation, load) =>
        {
            IMethodSymbol method = load.TargetMethod;
            if (!types.IsLoad(method) || Repetition(load, operation.ContainingSymbol, requests) is not { } when) return;
            INamedTypeSymbol? modelClass = types.ClassOf(load);
            string advice = modelClass is null ? "Move the call to where the program starts" : $"{modelClass.Name}.Shared is such an instance";
            operation.ReportDiagnostic(Diagnostic.Create(Rule, load.Syntax.GetLocation(), $"{method.ContainingType.Name}.{method.Name}", when, advice));
        });
    }

    /// <summary>When the same is loaded again; <see langword="null"/> where it is not, or may not be: what happens on a condition is left alone, since it may be the first time alone.</summary>
    private static string? Repetition(IInvocationOperation load, ISymbol member, Requests requests)
    {
        IOperation? target = load.Whole().Parent is IAssignmentOperation assignment ? assignment.Target : null;
        // Kept for later, somewhere that outlives this time.
        bool isKept = target is not (null or IDiscardOperation);
        bool isLeft = false;
        IOperation child = load;
        for (; child.Parent is { } parent; child = parent)
        {
            switch (parent)
            {
                case IConditionalOperation conditional when child != conditional.Condition:
                case ICoalesceOperation coalesce when child == coalesce.WhenNull:
                case ICoalesceAssignmentOperation or ISwitchCaseOperation or ISwitchExpressionArmOperation or ICatchClauseOperation:
                    return null;
                case IReturnOperation:
                    isLeft = true;
                    break;
                case IBlockOperation block:
                    isLeft |= block.Operations.SkipWhile(operation => operation != child).Any(Leaves);
                    break;
                case ILoopOperation loop when IsRepeated(loop, child):
                    return isKept || isLeft || !IsSameEachTime(load, loop) ? null : InLoop;
                case IAnonymousFunctionOperation or ILocalFunctionOperation:
                    return isKept || !IsSameEachTime(load, parent) ? null : requests.Calls(parent);
            }
        }

        // What a constructor sets lives as long as the object, and that is as long as the request.
        return (isKept && member is IMethodSymbol { MethodKind: not MethodKind.Constructor }) || !IsSameEachTime(load, child) ? null : requests.Calls(member);
    }

    private static bool IsRepeated(ILoopOperation loop, IOperation part) => loop switch
    {
        IForEachLoopOperation each => part == each.Body,
        IForLoopOperation counted => !counted.Before.Contains(part),
        _ => true,
    };

    private static bool Leaves(IOperation statement) => statement is
        IReturnOperation or IBranchOperation { BranchKind: BranchKind.Break or BranchKind.GoTo } or IThrowOperation
        or IExpressionStatementOperation { Operation: IThrowOperation };

    /// <summary>Whether what a call is given has nothing to do with the time: another model, or other options, may be what the repetition is for.</summary>
    private static bool IsSameEachTime(IInvocationOperation load, IOperation repeated)
    {
        ISymbol[] written = [.. repeated.Descendants().Where(reference => reference is ILocalReferenceOperation or IParameterReferenceOperation && reference.Writes()).Select(Symbol).OfType<ISymbol>()];
        bool Differs(IOperation part) =>
            part is IInvocationOperation || (Symbol(part) is { } symbol && (written.Contains(symbol, SymbolEqualityComparer.Default) || IsDeclaredIn(symbol, repeated.Syntax)));
        return !load.Arguments.Any(argument => argument.Descendants().Any(Differs));
    }

    private static ISymbol? Symbol(IOperation operation) => operation switch
    {
        ILocalReferenceOperation local => local.Local,
        IParameterReferenceOperation parameter => parameter.Parameter,
        _ => null,
    };

    private static bool IsDeclaredIn(ISymbol symbol, SyntaxNode node) =>
        symbol.DeclaringSyntaxReferences.Any(declared => declared.SyntaxTree == node.SyntaxTree && node.Span.Contains(declared.Span));
}
