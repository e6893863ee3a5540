namespace QuantBuild.Constraints;

/// <summary>
/// Where a text is in a <see cref="TokenConstraint"/>. Immutable: to go back, as speculative decoding must, is to go on from an earlier one.
/// </summary>
/// <remarks>
/// A decoding loop asks for the <see cref="Allowed"/> tokens, applies the mask to the logits, chooses one of the tokens, ends if there is none or it is
/// one that ends a text, and goes on from <see cref="Advance"/>. Where <see cref="MustEnd"/> says so, it can spare itself the last step.
/// </remarks>
internal sealed class ConstraintState
{
    private readonly TokenConstraint constraint;
    private readonly AutomatonState state;

    /// <summary>Makes a position.</summary>
    public ConstraintState(TokenConstraint constraint, AutomatonState state)
    {
        this.constraint = constraint;
        this.state = state;
    }

    /// <summary>Whether the text is complete.</summary>
    public bool MayEnd => state.MayEnd;

    /// <summary>Whether the text is complete and nothing can follow.</summary>
    public bool MustEnd => state.IsLast;

    /// <summary>The fewest bytes that complete the text; none if it is complete. So many tokens are enough.</summary>
    public int BytesToEnd => state.BytesToEnd;

    /// <summary>The tokens that may come next. With those that end a text if it is complete; empty if it must end and no token says so.</summary>
    /// <param name="tokensLeft">
    /// How many tokens may still be generated. Tokens after which they would not be enough to complete the text may not come, so that whoever begins with at
    /// least <see cref="BytesToEnd"/> ends with a complete text.
    /// </param>
    public TokenMask Allowed(int tokensLeft = int.MaxValue) => tokensLeft == int.MaxValue ? constraint.Mask(state) : constraint.Mask(state, tokensLeft);

    /// <summary>Whether a token may come next, however long the rest may get.</summary>
    public bool Allows(int token) => constraint.IsEnd(token) ? MayEnd : constraint.TokenBytes(token) is { Length: > 0 } bytes && !constraint.Advance(state, bytes).IsDead;

    /// <summary>The position after a token that does not end the text.</summary>
    /// <exception cref="ArgumentException">The token may not come next.</exception>
    public ConstraintState Advance(int token)
    {
        ReadOnlySpan<byte> bytes = constraint.TokenBytes(token);
        AutomatonState next = constraint.Advance(state, bytes);
        return bytes.Length > 0 && !next.IsDead
            ? new ConstraintState(constraint, next)
            : throw new ArgumentException($"The token {token} may not come next.", nameof(token));
    }

    /// <summary>Whether the same texts can follow another position of the same constraint, as far as can be told without trying.</summary>
    public bool IsSameAs(ConstraintState other) => constraint == other.constraint && state.Table.Adopt(other.state) == state;
}
