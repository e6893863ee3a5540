using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace QuantBuild.Generators.Analyzers;

/// <summary>What ASP.NET and dependency injection call for each request.</summary>
internal sealed class Requests(Compilation compilation)
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
        ? References(local).Select(CallsValue).FirstOrDefault(when => when is not null)
        : CallsValue(function);

    /// <summary>When a member is run, where that is for each request.</summary>
    public string? Calls(ISymbol member)
    {
        if (member.IsStatic || member.ContainingType is not { } type) return null;
        bool isCalled = IsMade(type)
            ? member is IFieldSymbol or IPropertySymbol or IMethodSymbol { MethodKind: MethodKind.Constructor } || IsAction(member)
            : member is IMethodSymbol { Name: "Invoke" or "InvokeAsync" } method && TakesContext(method);
        return isCalled ? ForRequest : null;
    }

    private static bool IsAction(ISymbol member) =>
        member is IMethodSymbol { MethodKind: MethodKind.Ordinary, DeclaredAccessibility: Accessibility.Public, Name: not ("Dispose" or "DisposeAsync") }
        && !member.GetAttributes().Any(attribute => attribute.AttributeClass?.Name == "NonActionAttribute");

    private static IEnumerable<IOperation> References(ILocalFunctionOperation function) =>
        function.Member().OfType<IMethodReferenceOperation>().Where(reference => SymbolEqualityComparer.Default.Equals(reference.Method, function.Symbol));

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
