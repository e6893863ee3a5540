using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace QuantBuild.Generators.Analyzers;

/// <summary>QB4107: a draft model with another vocabulary than the model that it is to guess for, or with more weights, where both are models of this project.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class DraftModelUnfitAnalyzer() : ModelAnalyzer(Diagnostics.DraftModelUnfit)
{
    private protected override void Register(CompilationStartAnalysisContext context, ModelTypes types)
    {
        ModelFacts facts = new(context.Compilation, context.Options);
        OnCalls(context, (operation, drafting) =>
        {
            if (drafting.TargetMethod.Name != "DraftModel" || !ModelTypes.Is(drafting.TargetMethod.ContainingType, types.Speculation)) return;
            IOperation draft = drafting.Arguments.First(argument => argument.Parameter?.Ordinal == 0).Value;
            if (facts.Of(types.ClassOf(draft)) is not { } draftModel) return;
            foreach (IInvocationOperation call in CallsWith(drafting, types))
            {
                if (facts.Of(types.ClassOfCall(call)) is not { } model || Reason(draftModel, model, IsShared(draft) && IsShared(call)) is not { } reason) continue;
                operation.ReportDiagnostic(Diagnostic.Create(Rule, draft.Syntax.GetLocation(), draftModel.ClassName, model.ClassName, reason));
                return;
            }
        });
    }

    // The same model in fewer bits has as many weights, and may well guess for itself.
    private static string? Reason(ModelDescriptor draft, ModelDescriptor model, bool isOneInstance) =>
        draft.VocabularySize != model.VocabularySize ? $"it has {Number(draft.VocabularySize)} tokens, expected {Number(model.VocabularySize)}, those of the model that it guesses for"
        : draft.Parameters > model.Parameters ? $"it has {Number(draft.Parameters)} parameters, and the model that it is to speed up {Number(model.Parameters)}"
        : isOneInstance && draft == model ? "it is the model itself"
        : null;

    /// <summary>Whether a model is the shared instance, or a call uses it.</summary>
    private static bool IsShared(IOperation operation) => operation.Value() switch
    {
        IPropertyReferenceOperation { Property.Name: "Shared" } => true,
        IInvocationOperation call => ModelTypes.IsGenerated(call.TargetMethod) ? call.TargetMethod.Name.StartsWith("Generate", StringComparison.Ordinal) || call.TargetMethod.Name == "StreamAsync"
            : call.Instance is not null && IsShared(call.Instance),
        _ => false,
    };

    /// <summary>The calls that are given the options which a speculation is set in: where it stands, or by the local that the options are kept in.</summary>
    private static IEnumerable<IInvocationOperation> CallsWith(IInvocationOperation drafting, ModelTypes types)
    {
        IOperation? options = drafting.Parent;
        while (options is not (null or IObjectCreationOperation or IBlockOperation)) options = options.Parent;
        if (options is not IObjectCreationOperation creation || !ModelTypes.Is(creation.Type, types.GenerationOptions)) return [];
        return creation.Whole().Parent switch
        {
            IArgumentOperation { Parent: IInvocationOperation call } => [call],
            IVariableInitializerOperation { Parent: IVariableDeclaratorOperation { Symbol: { } local } declarator } when !local.Uses(declarator).Any(Operations.Writes) =>
                local.Uses(declarator).Select(use => use.Whole().Parent is IArgumentOperation { Parent: IInvocationOperation call } ? call : null).OfType<IInvocationOperation>(),
            _ => [],
        };
    }
}
