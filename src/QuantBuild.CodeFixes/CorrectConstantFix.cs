using System.Composition;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Formatting;
using QuantBuild.Generators.Analyzers;

namespace QuantBuild.CodeFixes;

/// <summary>QB4106: sets an option to the nearest value of its range, or leaves it out where there is none.</summary>
[ExportCodeFixProvider(LanguageNames.CSharp, Name = nameof(CorrectConstantFix)), Shared]
public sealed class CorrectConstantFix() : ModelCodeFix(DiagnosticIds.ConstantOutOfRange)
{
    private protected override Fix? Fix(SyntaxNode node, SemanticModel model, Diagnostic diagnostic, CancellationToken cancellationToken)
    {
        AssignmentExpressionSyntax? assignment = node as AssignmentExpressionSyntax;
        ExpressionSyntax? value = assignment?.Right ?? (node as ArgumentSyntax ?? node.Parent as ArgumentSyntax)?.Expression;
        if (value is not null && diagnostic.Properties.TryGetValue(ConstantOutOfRangeAnalyzer.NearestKey, out string? nearest) && nearest is not null)
        {
            return new Fix($"Set it to {nearest}", root => root.ReplaceNode(value, SyntaxFactory.ParseExpression(nearest).WithTriviaFrom(value)));
        }

        if (assignment is not { Parent: InitializerExpressionSyntax initializer }) return null;
        InitializerExpressionSyntax without = initializer.WithExpressions(initializer.Expressions.Remove(assignment)).WithAdditionalAnnotations(Formatter.Annotation);
        return new Fix("Leave it out", root => root.ReplaceNode(initializer, without));
    }
}
