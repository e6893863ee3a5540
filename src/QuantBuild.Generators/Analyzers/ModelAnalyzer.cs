using System.Collections.Immutable;
using System.Globalization;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace QuantBuild.Generators.Analyzers;

/// <summary>An analyzer of how a program uses a model: runs where the program references the runtime, and leaves generated code alone.</summary>
public abstract class ModelAnalyzer : DiagnosticAnalyzer
{
    private protected ModelAnalyzer(DiagnosticDescriptor rule) => SupportedDiagnostics = [rule];

    /// <inheritdoc/>
    public sealed override ImmutableArray<DiagnosticDescriptor> SupportedDiagnostics { get; }

    private protected DiagnosticDescriptor Rule => SupportedDiagnostics[0];

    /// <inheritdoc/>
    public sealed override void Initialize(AnalysisContext context)
    {
        context.EnableConcurrentExecution();
        context.ConfigureGeneratedCodeAnalysis(GeneratedCodeAnalysisFlags.None);
        context.RegisterCompilationStartAction(start =>
        {
            if (ModelTypes.Of(start.Compilation) is { } types) Register(start, types);
        });
    }

    private protected abstract void Register(CompilationStartAnalysisContext context, ModelTypes types);

    /// <summary>Has every call looked at.</summary>
    private protected static void OnCalls(CompilationStartAnalysisContext context, Action<OperationAnalysisContext, IInvocationOperation> look) =>
        context.RegisterOperationAction(operation => look(operation, (IInvocationOperation)operation.Operation), OperationKind.Invocation);

    /// <summary>A number as messages have it.</summary>
    private protected static string Number(long value) => value.ToString("N0", CultureInfo.InvariantCulture);
}
