using System.Composition;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace QuantBuild.CodeFixes;

/// <summary>QB4102: declares the local with <c>using</c>.</summary>
[ExportCodeFixProvider(LanguageNames.CSharp, Name = nameof(UsingDeclarationFix)), Shared]
public sealed class UsingDeclarationFix() : ModelCodeFix(DiagnosticIds.NeverDisposed)
{
    private protected override Fix? Fix(SyntaxNode node, SemanticModel model, Diagnostic diagnostic, CancellationToken cancellationToken)
    {
        if (node is not VariableDeclaratorSyntax { Parent: VariableDeclarationSyntax { Variables.Count: 1, Parent: LocalDeclarationStatementSyntax declaration } }) return null;
        // Within a case of a switch there is no using declaration, nor before C# 8.
        if (declaration.Parent is not (BlockSyntax or GlobalStatementSyntax) || model.SyntaxTree.Options is not CSharpParseOptions { LanguageVersion: >= LanguageVersion.CSharp8 }) return null;
        SyntaxToken keyword = SyntaxFactory.Token(SyntaxKind.UsingKeyword).WithLeadingTrivia(declaration.GetLeadingTrivia()).WithTrailingTrivia(SyntaxFactory.Space);
        LocalDeclarationStatementSyntax disposed = declaration.WithLeadingTrivia().WithUsingKeyword(keyword);
        return new Fix("Declare it with 'using'", root => root.ReplaceNode(declaration, disposed));
    }
}
