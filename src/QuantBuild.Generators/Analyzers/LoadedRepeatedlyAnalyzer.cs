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
        context.RegisterOperationAction(
            operation =>
            {
                IInvocationOperation load = (IInvocationOperation)operation.Operation;
                IMethodSymbol method = load.TargetMethod;
                if (!types.IsLoad(method) || Repetition(load, operation.ContainingSymbol, requests) is not { } when) return;
                INamedTypeSymbol? modelClass = types.ClassOf(load);
                string advice = modelClass is null ? "Move the call to where the program starts" : $"{modelClass.Name}.Shared is such an instance";
                operation.ReportDiagnostic(Diagnostic.Create(Rule, load.Syntax.GetLocation(), $"{method.ContainingType.Name}.{method.Name}", when, advice));
            },
            OperationKind.Invocation);
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

    /// <summary>What ASP.NET and dependency injection call for each request.</summary>
    private sealed class Requests(Compilation compilation)
    {
        private const string ForRequest = "for each request";

        private readonly INamedTypeSymbol? httpContext = compilation.GetTypeByMetadataName("Microsoft.AspNetCore.Http.HttpContext");

        // An object of these is made for each request.
        private readonly INamedTypeSymbol?[] made =
        [
            compilation.GetTypeByMetadataName("Microsoft.AspNetCore.Mvc.ControllerBase"),
            compilation.GetTypeByMetadataName("Microsoft.AspNetCore.Mvc.RazorPages.PageModel"),
            compilation.GetTypeByMetadataName("Microsoft.AspNetCore.SignalR.Hub"),
        ];

        /// <summary>When a lambda or local function is called, where that is for each request.</summary>
        public string? Calls(IOperation function) => function is ILocalFunctionOperation local
            ? local.Member().OfType<IMethodReferenceOperation>().Where(reference => SymbolEqualityComparer.Default.Equals(reference.Method, local.Symbol)).Select(CallsValue).FirstOrDefault(when => when is not null)
            : CallsValue(function);

        /// <summary>When a member is run, where that is for each request.</summary>
        public string? Calls(ISymbol member)
        {
            if (member.IsStatic || member.ContainingType is not { } type) return null;
            if (IsMade(type))
            {
                return member is IFieldSymbol or IPropertySymbol or IMethodSymbol { MethodKind: MethodKind.Constructor }
                    or IMethodSymbol { MethodKind: MethodKind.Ordinary, DeclaredAccessibility: Accessibility.Public, Name: not ("Dispose" or "DisposeAsync") }
                    ? ForRequest
                    : null;
            }

            bool isMiddleware = member is IMethodSymbol { Name: "Invoke" or "InvokeAsync" } method && TakesContext(method);
            return isMiddleware ? ForRequest : null;
        }

        private string? CallsValue(IOperation function)
        {
            IOperation value = function;
            while (value.Parent is IDelegateCreationOperation or IConversionOperation) value = value.Parent;
            if (value.Type is INamedTypeSymbol { DelegateInvokeMethod: { } signature } && TakesContext(signature)) return ForRequest;
            if (value.Parent is not IArgumentOperation { Parameter.Type: { } type, Parent: IInvocationOperation { TargetMethod: { } method } }) return null;
            return method.ContainingNamespace.ToDisplayString() switch
            {
                "Microsoft.AspNetCore.Builder" when type.SpecialType == SpecialType.System_Delegate => ForRequest,
                "Microsoft.Extensions.DependencyInjection" when method.Name is "AddScoped" or "AddKeyedScoped" => "for each scope",
                "Microsoft.Extensions.DependencyInjection" when method.Name is "AddTransient" or "AddKeyedTransient" => "each time that it is asked for",
                _ => null,
            };
        }

        private bool TakesContext(IMethodSymbol method) => httpContext is not null && method.Parameters.Length > 0 && ModelTypes.Is(method.Parameters[0].Type, httpContext);

        private bool IsMade(INamedTypeSymbol type)
        {
            for (INamedTypeSymbol? current = type; current is not null; current = current.BaseType)
            {
                if (made.Any(one => one is not null && ModelTypes.Is(current, one))) return true;
            }

            return false;
        }
    }
}
