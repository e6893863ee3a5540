using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeActions;
using Microsoft.CodeAnalysis.CodeFixes;

namespace QuantBuild.CodeFixes;

/// <summary>A fix of one diagnostic, by replacing one node; of many at once too.</summary>
public abstract class ModelCodeFix : CodeFixProvider
{
    private protected ModelCodeFix(string id) => FixableDiagnosticIds = [id];

    /// <inheritdoc/>
    public sealed override ImmutableArray<string> FixableDiagnosticIds { get; }

    /// <inheritdoc/>
    public sealed override FixAllProvider GetFixAllProvider() => WellKnownFixAllProviders.BatchFixer;

    /// <inheritdoc/>
    public sealed override async Task RegisterCodeFixesAsync(CodeFixContext context)
    {
        if (await context.Document.GetSyntaxRootAsync(context.CancellationToken).ConfigureAwait(false) is not { } root) return;
        if (await context.Document.GetSemanticModelAsync(context.CancellationToken).ConfigureAwait(false) is not { } model) return;
        foreach (Diagnostic diagnostic in context.Diagnostics)
        {
            SyntaxNode node = root.FindNode(diagnostic.Location.SourceSpan, getInnermostNodeForTie: true);
            if (Fix(node, model, diagnostic, context.CancellationToken) is not { } fix) continue;
            CodeAction action = CodeAction.Create(
                fix.Title,
                _ => Task.FromResult(context.Document.WithSyntaxRoot(fix.Replace(root))),
                equivalenceKey: diagnostic.Id);
            context.RegisterCodeFix(action, diagnostic);
        }
    }

    /// <summary>What is to be done; <see langword="null"/> where nothing is safe.</summary>
    private protected abstract Fix? Fix(SyntaxNode node, SemanticModel model, Diagnostic diagnostic, CancellationToken cancellationToken);
}

/// <summary>A change of a document.</summary>
/// <param name="Title">What the editor offers.</param>
/// <param name="Replace">Makes the new root of the old one.</param>
internal sealed record Fix(string Title, Func<SyntaxNode, SyntaxNode> Replace);
