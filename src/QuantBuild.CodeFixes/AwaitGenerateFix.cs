using System.Composition;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace QuantBuild.CodeFixes;

/// <summary>QB4103: awaits the asynchronous counterpart: <c>GenerateAsync</c>, or of a session the text of <c>CompleteAsync</c>.</summary>
[ExportCodeFixProvider(LanguageNames.CSharp, Name = nameof(AwaitGenerateFix)), Shared]
public sealed class AwaitGenerateFix() : ModelCodeFix(DiagnosticIds.GenerateInAsync)
{
    private protected override Fix? Fix(SyntaxNode node, SemanticModel model, Diagnostic diagnostic, CancellationToken cancellationToken)
    {
        // What stands after a question mark cannot be awaited by itself.
        if (node is not InvocationExpressionSyntax call || GeneratedName(call) is not { } name) return null;
        bool isSession = model.GetSymbolInfo(call, cancellationToken).Symbol?.ContainingType.Name == "TextSession";
        SimpleNameSyntax counterpart = name.WithIdentifier(SyntaxFactory.Identifier(isSession ? "CompleteAsync" : "GenerateAsync").WithTriviaFrom(name.Identifier));
        ExpressionSyntax awaited = SyntaxFactory.AwaitExpression(
            SyntaxFactory.Token(SyntaxKind.AwaitKeyword).WithTrailingTrivia(SyntaxFactory.Space), call.ReplaceNode(name, counterpart).WithoutTrivia());
        if (isSession)
        {
            awaited = SyntaxFactory.MemberAccessExpression(SyntaxKind.SimpleMemberAccessExpression, SyntaxFactory.ParenthesizedExpression(awaited), SyntaxFactory.IdentifierName("Text"));
            // A property by itself is no statement: the text that nobody wants is left out.
            if (call.Parent is ExpressionStatementSyntax) awaited = ((ParenthesizedExpressionSyntax)((MemberAccessExpressionSyntax)awaited).Expression).Expression;
        }
        else if (call.Parent is MemberAccessExpressionSyntax or ElementAccessExpressionSyntax or PostfixUnaryExpressionSyntax or ConditionalAccessExpressionSyntax)
        {
            awaited = SyntaxFactory.ParenthesizedExpression(awaited);
        }

        return new Fix($"Await {counterpart.Identifier.Text}", root => root.ReplaceNode(call, awaited.WithTriviaFrom(call)));
    }

    private static SimpleNameSyntax? GeneratedName(InvocationExpressionSyntax call) => call.Expression switch
    {
        MemberAccessExpressionSyntax access => access.Name,
        // In the user's own part of a generated class.
        SimpleNameSyntax name => name,
        _ => null,
    };
}
