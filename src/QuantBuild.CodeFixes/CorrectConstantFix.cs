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
        if (node is not AssignmentExpressionSyntax { Parent: InitializerExpressionSyntax initializer } assignment) return null;
        if (diagnostic.Properties[ConstantOutOfRangeAnalyzer.NearestKey] is { } nearest)
        {
            return new Fix($"Set it to {nearest}", root => root.ReplaceNode(assignment.Right, SyntaxFactory.ParseExpression(nearest).WithTriviaFrom(assignment.Right)));
        }

        InitializerExpressionSyntax without = initializer.WithExpressions(initializer.Expressions.Remove(assignment)).WithAdditionalAnnotations(Formatter.Annotation);
        return new Fix("Leave it out", root => root.ReplaceNode(initializer, without));
    }
}
