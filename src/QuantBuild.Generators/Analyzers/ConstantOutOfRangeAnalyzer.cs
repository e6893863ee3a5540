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
        ["Threads"] = OptionRange.AtLeast(0),
        ["MaxConcurrentTexts"] = OptionRange.Between(1, 128),
        ["MaxWaitingTexts"] = OptionRange.AtLeast(0),
        ["PromptCacheTokens"] = OptionRange.AtLeast(0),
    };

    private protected override void Register(CompilationStartAnalysisContext context, ModelTypes types) => context.RegisterOperationAction(
        operation =>
        {
            ISimpleAssignmentOperation assignment = (ISimpleAssignmentOperation)operation.Operation;
            if (assignment.Target is not IPropertyReferenceOperation { Property: { ContainingType: { } type, Name: { } name } }) return;
            Dictionary<string, OptionRange>? ranges = ModelTypes.Is(type, types.GenerationOptions) ? GenerationRanges : ModelTypes.Is(type, types.LoadOptions) ? LoadRanges : null;
            if (ranges is null || !ranges.TryGetValue(name, out OptionRange range) || Constant(assignment.Value) is not { } value || range.Contains(value)) return;
            string? nearest = range.Nearest(value) is { } number ? number.ToString("R", CultureInfo.InvariantCulture) : null;
            ImmutableDictionary<string, string?> properties = ImmutableDictionary<string, string?>.Empty.Add(NearestKey, nearest);
            operation.ReportDiagnostic(Diagnostic.Create(
                Rule, assignment.Syntax.GetLocation(), properties, $"{type.Name}.{name}", value.ToString(CultureInfo.InvariantCulture), range.Text));
        },
        OperationKind.SimpleAssignment);

    // The conversion to a nullable type is no constant.
    private static double? Constant(IOperation value) => value switch
    {
        { ConstantValue: { HasValue: true, Value: IConvertible number and not (string or bool or char) } } => number.ToDouble(CultureInfo.InvariantCulture),
        IConversionOperation { IsImplicit: true, Operand: { } operand } => Constant(operand),
        _ => null,
    };
}
