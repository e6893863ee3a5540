using System.Collections.Immutable;
using System.Globalization;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace QuantBuild.Generators.Analyzers;

/// <summary>QB4106: an option that is set to a constant which the runtime refuses.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class ConstantOutOfRangeAnalyzer() : ModelAnalyzer(Diagnostics.ConstantOutOfRange)
{
    /// <summary>The property of a diagnostic that names the nearest value of the range, where there is one.</summary>
    internal const string NearestKey = "Nearest";

    // Option to its range, as the runtime checks it.
    private static readonly Dictionary<string, OptionRange> GenerationRanges = new()
    {
        ["MaxTokens"] = OptionRange.AtLeast(1),
        ["Temperature"] = OptionRange.AtLeast(0),
        ["TopK"] = OptionRange.AtLeast(0),
        ["TypicalP"] = OptionRange.Share(mayBeZero: false),
        ["TopP"] = OptionRange.Share(mayBeZero: false),
        ["MinP"] = OptionRange.Share(mayBeZero: true),
        ["RepetitionPenalty"] = OptionRange.AboveZero,
        ["RepetitionWindow"] = OptionRange.AtLeast(1),
        ["FrequencyPenalty"] = OptionRange.Finite,
        ["PresencePenalty"] = OptionRange.Finite,
        ["LogProbabilities"] = OptionRange.AtLeast(0),
    };

    private static readonly Dictionary<string, OptionRange> LoadRanges = new()
    {
        ["ContextLength"] = OptionRange.AtLeast(2),
        ["Threads"] = OptionRange.AtLeast(0),
        ["MaxConcurrentTexts"] = OptionRange.Between(1, 128),
        ["MaxWaitingTexts"] = OptionRange.AtLeast(0),
        ["PromptCacheTokens"] = OptionRange.AtLeast(0),
    };

    private protected override void Register(CompilationStartAnalysisContext context, ModelTypes types)
    {
        context.RegisterOperationAction(operation => AnalyzeOption(operation, types), OperationKind.SimpleAssignment);
        context.RegisterOperationAction(operation => AnalyzeSpeculation(operation, types), OperationKind.Argument);
    }

    private void AnalyzeOption(OperationAnalysisContext context, ModelTypes types)
    {
        ISimpleAssignmentOperation assignment = (ISimpleAssignmentOperation)context.Operation;
        if (assignment.Target is not IPropertyReferenceOperation { Property: { ContainingType: { } type, Name: { } name } }) return;
        bool isGeneration = ModelTypes.Is(type, types.GenerationOptions);
        if (!isGeneration && !ModelTypes.Is(type, types.LoadOptions)) return;
        if ((isGeneration ? GenerationRanges : LoadRanges).TryGetValue(name, out OptionRange range)) Check(context, assignment.Value, assignment.Syntax, $"{type.Name}.{name}", range);
        else if (name == "StopStrings") CheckStopStrings(context, assignment.Value, $"{type.Name}.{name}");
    }

    private void AnalyzeSpeculation(OperationAnalysisContext context, ModelTypes types)
    {
        IArgumentOperation argument = (IArgumentOperation)context.Operation;
        if (argument is { Parameter: { Name: "maxTokens", ContainingSymbol: IMethodSymbol method } } && ModelTypes.Is(method.ContainingType, types.Speculation))
        {
            Check(context, argument.Value, argument.Syntax, $"maxTokens of {method.ContainingType.Name}.{method.Name}", OptionRange.AtLeast(1));
        }
    }

    private void Check(OperationAnalysisContext context, IOperation given, SyntaxNode syntax, string name, OptionRange range)
    {
        if (Constant(given) is not { } value || range.Contains(value)) return;
        string? nearest = range.Nearest(value) is { } number ? number.ToString("R", CultureInfo.InvariantCulture) : null;
        ImmutableDictionary<string, string?> properties = ImmutableDictionary<string, string?>.Empty.Add(NearestKey, nearest);
        context.ReportDiagnostic(Diagnostic.Create(Rule, syntax.GetLocation(), properties, name, value.ToString(CultureInfo.InvariantCulture), range.Text));
    }

    private void CheckStopStrings(OperationAnalysisContext context, IOperation list, string name)
    {
        IEnumerable<IOperation> elements = list.Value() switch
        {
            ICollectionExpressionOperation collection => collection.Elements,
            IArrayCreationOperation { Initializer: { } initializer } => initializer.ElementValues,
            _ => [],
        };
        foreach (IOperation element in elements.Where(element => element.Value() is { ConstantValue: { HasValue: true, Value: "" } }))
        {
            context.ReportDiagnostic(Diagnostic.Create(Rule, element.Syntax.GetLocation(), name, "a list with an empty text", "a list of texts that are not empty"));
        }
    }

    // The conversion to a nullable type is no constant.
    private static double? Constant(IOperation value) => value switch
    {
        { ConstantValue: { HasValue: true, Value: IConvertible number and not (string or bool or char) } } => number.ToDouble(CultureInfo.InvariantCulture),
        IConversionOperation { IsImplicit: true, Operand: { } operand } => Constant(operand),
        _ => null,
    };
}
