using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace QuantBuild.Generators.Analyzers;

/// <summary>Where a value comes from and where it goes to, in the tree of operations.</summary>
internal static class Operations
{
    /// <summary>What a value is without conversions, and without the waiting for it.</summary>
    public static IOperation Value(this IOperation operation) => operation switch
    {
        IConversionOperation { Operand: { } operand } => operand.Value(),
        IAwaitOperation { Operation: { } awaited } => awaited.Value(),
        IInvocationOperation { TargetMethod.Name: "ConfigureAwait", Instance: { } task } => task.Value(),
        _ => operation,
    };

    /// <summary>The largest expression that a value is the value of: with conversions, and the waiting for it.</summary>
    public static IOperation Whole(this IOperation operation) => operation.Parent switch
    {
        IConversionOperation or IAwaitOperation => operation.Parent.Whole(),
        IInvocationOperation { TargetMethod.Name: "ConfigureAwait" } call when call.Instance == operation => call.Whole(),
        _ => operation,
    };

    /// <summary>The lambda or local function that an operation is in; <see langword="null"/> where it is in none.</summary>
    public static IOperation? Function(this IOperation operation)
    {
        IOperation? parent = operation.Parent;
        while (parent is not (null or IAnonymousFunctionOperation or ILocalFunctionOperation)) parent = parent.Parent;
        return parent;
    }

    /// <summary>Whether the code that an operation is of may await: an async function, or the top level of a program.</summary>
    /// <param name="operation">The operation.</param>
    /// <param name="member">The member that it is in.</param>
    public static bool IsInAsync(this IOperation operation, ISymbol member) => operation.Function() switch
    {
        IAnonymousFunctionOperation lambda => lambda.Symbol.IsAsync,
        ILocalFunctionOperation function => function.Symbol.IsAsync,
        _ => member is IMethodSymbol { IsAsync: true },
    };

    /// <summary>Everything in the member that an operation is in.</summary>
    public static IEnumerable<IOperation> Member(this IOperation operation)
    {
        while (operation.Parent is { } parent) operation = parent;
        return operation.DescendantsAndSelf();
    }

    /// <summary>All that refers to a local; its declaration does not.</summary>
    /// <param name="local">The local.</param>
    /// <param name="place">Anything in the same member.</param>
    public static IEnumerable<ILocalReferenceOperation> Uses(this ILocalSymbol local, IOperation place) =>
        place.Member().OfType<ILocalReferenceOperation>().Where(reference => SymbolEqualityComparer.Default.Equals(reference.Local, local));

    /// <summary>Whether a reference gives its local another value, or may.</summary>
    public static bool Writes(this IOperation reference) => reference.Parent switch
    {
        IAssignmentOperation assignment => assignment.Target == reference,
        IIncrementOrDecrementOperation => true,
        IArgumentOperation { Parameter.RefKind: RefKind.Ref or RefKind.Out } => true,
        IVariableInitializerOperation { Parent: IVariableDeclaratorOperation { Symbol.IsRef: true } } => true,
        // Of a deconstruction.
        ITupleOperation or IAddressOfOperation or IDeclarationExpressionOperation => true,
        _ => false,
    };

    /// <summary>What a local was declared with, where it never has another value.</summary>
    public static IOperation? OnlyValue(this ILocalReferenceOperation reference)
    {
        IOperation? declared = reference.Member().OfType<IVariableDeclaratorOperation>()
            .FirstOrDefault(declarator => SymbolEqualityComparer.Default.Equals(declarator.Symbol, reference.Local))?.GetVariableInitializer()?.Value;
        return declared is null || reference.Local.Uses(reference).Any(Writes) ? null : declared;
    }
}
