using System.Composition;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace QuantBuild.CodeFixes;

/// <summary>
/// QB4101: uses the shared instance of a generated class in place of one that is loaded again and again with no options of its own: where it stands, or where a local is declared with it, which
/// loses its <c>using</c>, since the shared instance is everybody's.
/// </summary>
[ExportCodeFixProvider(LanguageNames.CSharp, Name = nameof(SharedModelFix)), Shared]
public sealed class SharedModelFix() : ModelCodeFix(DiagnosticIds.LoadedRepeatedly)
{
    private protected override Fix? Fix(SyntaxNode node, SemanticModel model, Diagnostic diagnostic, CancellationToken cancellationToken)
    {
        if (node is not InvocationExpressionSyntax { ArgumentList.Arguments.Count: 0, Expression: MemberAccessExpressionSyntax { Name.Identifier.Text: "Load" } access } load) return null;
        ExpressionSyntax shared = access.WithName(SyntaxFactory.IdentifierName("Shared")).WithTriviaFrom(load);
        if (load.Parent is MemberAccessExpressionSyntax { Name.Identifier.Text: not "Dispose" }) return new Fix(Title(access), root => root.ReplaceNode(load, shared));
        if (load.Parent is not EqualsValueClauseSyntax
            {
                Parent: VariableDeclaratorSyntax { Identifier.ValueText: { } name, Parent: VariableDeclarationSyntax { Variables.Count: 1, Parent: LocalDeclarationStatementSyntax { Parent: { } block } declaration } },
            })
        {
            return null;
        }

        // Whoever disposes it, or gives it to somebody who might, counts on its being their own.
        if (block.DescendantNodes().OfType<IdentifierNameSyntax>().Any(use => use.Identifier.ValueText == name && !IsPlain(use))) return null;
        LocalDeclarationStatementSyntax changed = declaration.ReplaceNode(load, shared);
        if (changed.UsingKeyword != default)
        {
            SyntaxTriviaList leading = changed.GetLeadingTrivia();
            changed = changed.WithUsingKeyword(default).WithLeadingTrivia(leading);
        }

        return new Fix(Title(access), root => root.ReplaceNode(declaration, changed));
    }

    private static string Title(MemberAccessExpressionSyntax load) => $"Use {load.Expression}.Shared";

    private static bool IsPlain(IdentifierNameSyntax use) => use.Parent is MemberAccessExpressionSyntax { Name.Identifier.Text: not "Dispose" } access && access.Expression == use;
}
