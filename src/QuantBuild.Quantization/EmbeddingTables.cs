using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>What tokens become at the beginning of the residual stream. Takes over the tensors.</summary>
/// <param name="Tokens">A row for each token, [vocabulary, embedding].</param>
internal sealed record EmbeddingTables(torch.Tensor Tokens) : IDisposable
{
    /// <summary>What a token's row is multiplied by.</summary>
    public double Scale { get; init; } = 1;

    /// <summary>A row for each position, [context, hidden], where positions are learned.</summary>
    public torch.Tensor? Positions { get; init; }

    /// <summary>[hidden, embedding], where embedding and residual stream have different widths.</summary>
    public torch.Tensor? Projection { get; init; }

    /// <summary>The norm that the embedding goes through, where there is one.</summary>
    public (NormWeights Weights, NormKind Kind, double Epsilon)? Norm { get; init; }

    /// <summary>Looks tokens up, [B, T] to [B, T, hidden].</summary>
    public torch.Tensor Of(torch.Tensor tokens) => Stream(Rows(tokens));

    /// <summary>The gradient with respect to the rows of tokens, [B, T, embedding], on the host.</summary>
    /// <param name="tokens">[B, T].</param>
    /// <param name="upstream">The gradient with respect to the residual stream, [B, T, hidden].</param>
    public torch.Tensor Gradient(torch.Tensor tokens, torch.Tensor upstream)
    {
        using IDisposable withGradients = torch.enable_grad();
        torch.Tensor leaf = Rows(tokens).detach().requires_grad_();
        return Backward.Gradients(Stream(leaf), [leaf], upstream.to(leaf.device))[0];
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Tokens.Dispose();
        Positions?.Dispose();
        Projection?.Dispose();
        Norm?.Weights.Dispose();
    }

    private torch.Tensor Rows(torch.Tensor tokens) => Tokens.index_select(0, tokens.reshape(-1).to(Tokens.device)).view(tokens.shape[0], tokens.shape[1], -1);

    /// <summary>The residual stream that rows of the table become.</summary>
    private torch.Tensor Stream(torch.Tensor rows)
    {
        // Numbers as operands are not safe here: see TensorAddition.
        torch.Tensor Number(double value) => torch.tensor(new[] { (float)value }).to(rows.device);
        torch.Tensor stream = Scale == 1 ? rows : rows * Number(Scale);
        if (Projection is not null) stream = torch.nn.functional.linear(stream, Projection);
        if (Positions is not null) stream = stream.Plus(Positions.narrow(0, 0, rows.shape[1]).to(rows.device));
        return Norm is ({ } norm, var kind, var epsilon) ? norm.Of(stream, kind, Number(epsilon)) : stream;
    }
}
