#pragma warning disable
namespace QuantBuild.Constraints
{
    internal sealed class TokenMask { public int Count => 1; public void Apply(Span<float> logits) { } }
    internal sealed class ConstraintState { public TokenMask Allowed(int tokensLeft) => new(); public bool MustEnd => false; public ConstraintState Advance(int token) => this; public int BytesToEnd => 0; }
    internal sealed class TokenConstraint { public ConstraintState Start => new(); }
}
namespace QuantBuild
{
    /// <summary>Stand-in.</summary>
    public sealed class OutputFormat { internal Constraints.TokenConstraint ConstraintFor(TextTokenizer t, IReadOnlyCollection<int> e) => new(); }
}
