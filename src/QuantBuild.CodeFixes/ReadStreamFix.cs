using System.Composition;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Formatting;

namespace QuantBuild.CodeFixes;

/// <summary>QB4105: reads a stream that is dropped, with <c>await foreach</c>, where the code may await.</summary>
[ExportCodeFixProvider(LanguageNames.CSharp, Name = nameof(ReadStreamFix)), Shared]
public sealed class ReadStreamFix() : ModelCodeFix(DiagnosticIds.StreamNeverRead)
{
    private protected override Fix? Fix(SyntaxNode node, SemanticModel model, Diagnostic diagnostic, CancellationToken cancellationToken)
    {
        if (node is not InvocationExpressionSyntax call || !MayAwait(call) || model.GetTypeInfo(call, cancellationToken).Type is not INamedTypeSymbol { TypeArguments: { Length: 1 } items }) return null;
        StatementSyntax? statement = call.Parent switch
        {
            ExpressionStatementSyntax dropped => dropped,
            AssignmentExpressionSyntax { Parent: ExpressionStatementSyntax discarded } => discarded,
            _ => null,
        };
        if (statement is null) return null;
        string name = Unused("piece", model, call.SpanStart);
        StatementSyntax read = SyntaxFactory.ForEachStatement(
            SyntaxFactory.Token(SyntaxKind.AwaitKeyword),
            SyntaxFactory.Token(SyntaxKind.ForEachKeyword),
            SyntaxFactory.Token(SyntaxKind.OpenParenToken),
            SyntaxFactory.ParseTypeName(items[0].ToMinimalDisplayString(model, call.SpanStart)),
            SyntaxFactory.Identifier(name),
            SyntaxFactory.Token(SyntaxKind.InKeyword),
            call.WithoutTrivia(),
            SyntaxFactory.Token(SyntaxKind.CloseParenToken),
            SyntaxFactory.Block());
        return new Fix("Read it with 'await foreach'", root => root.ReplaceNode(statement, read.WithTriviaFrom(statement).WithAdditionalAnnotations(Formatter.Annotation)));
    }

    private static bool MayAwait(SyntaxNode node) => node.Ancestors().Select(ancestor => ancestor switch
    {
        LocalFunctionStatementSyntax function => function.Modifiers.Any(SyntaxKind.AsyncKeyword),
        AnonymousFunctionExpressionSyntax lambda => lambda.Modifiers.Any(SyntaxKind.AsyncKeyword),
        MethodDeclarationSyntax method => method.Modifiers.Any(SyntaxKind.AsyncKeyword),
        LockStatementSyntax or BaseMethodDeclarationSyntax or AccessorDeclarationSyntax => false,
        GlobalStatementSyntax => true,
        _ => (bool?)null,
    }).FirstOrDefault(answer => answer is not null) ?? false;

    private static string Unused(string name, SemanticModel model, int position)
    {
        string unused = name;
        for (int number = 2; !model.LookupSymbols(position, name: unused).IsEmpty; number++) unused = name + number;
        return unused;
    }
}
