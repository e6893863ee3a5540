using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace QuantBuild.Generators.Analyzers;

/// <summary>
/// QB4104: a prompt that is spelled out, with more words than the model has room for tokens. Counted is what there is at least: a tokenizer that parts words at white space makes one token or more
/// of each; of models with another tokenizer nothing is said.
/// </summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class PromptExceedsContextAnalyzer() : ModelAnalyzer(Diagnostics.PromptExceedsContext)
{
    private protected override void Register(CompilationStartAnalysisContext context, ModelTypes types)
    {
        ModelFacts facts = new(context.Compilation, context.Options);
        OnCalls(context, (operation, call) =>
        {
            if (call.TargetMethod.Name is not ("Generate" or "GenerateAsync" or "CompleteAsync" or "StreamAsync" or "StreamUpdatesAsync" or "Embed") || !types.IsOfModel(call.TargetMethod)) return;
            if (call.Arguments.FirstOrDefault(argument => argument.Parameter?.Ordinal == 0)?.Value is not { ConstantValue: { HasValue: true, Value: string text } } prompt) return;
            // No model has a context of fewer tokens: most prompts need no look at the descriptors.
            int words = Words.Count(text);
            if (words < 2 || facts.Of(types.ClassOfCall(call)) is not { WordsAreTokens: true } model || words < model.ContextLength || MayShift(call, types)) return;
            operation.ReportDiagnostic(Diagnostic.Create(Rule, prompt.Syntax.GetLocation(), Number(words), model.ClassName, Number(model.ContextLength - 1)));
        });
    }

    // With ContextOverflow.Shift a text of any length is taken.
    private static bool MayShift(IInvocationOperation call, ModelTypes types) => call.Arguments.Any(argument =>
        ModelTypes.Is(argument.Parameter?.Type, types.GenerationOptions) && argument.Value.Value() switch
        {
            { ConstantValue: { HasValue: true, Value: null } } or IDefaultValueOperation => false,
            IObjectCreationOperation creation => creation.Descendants().Any(part => part is IPropertyReferenceOperation { Property.Name: "ContextOverflow" }),
            _ => true,
        });
}
