using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>What tokens become at the beginning of the residual stream.</summary>
/// <param name="Tokens">A row for each token, [vocabulary, hidden].</param>
/// <param name="Positions">A row for each position, [context, hidden], where positions are learned.</param>
/// <param name="Scale">What the token's row is multiplied by.</param>
internal sealed record EmbeddingTables(torch.Tensor Tokens, torch.Tensor? Positions = null, double Scale = 1) : IDisposable
{
    /// <summary>Looks tokens up, [B, T] to [B, T, hidden].</summary>
    public torch.Tensor Of(torch.Tensor tokens)
    {
        torch.Tensor found = Tokens.index_select(0, tokens.reshape(-1).to(Tokens.device)).view(tokens.shape[0], tokens.shape[1], -1);
        // Numbers as operands are not safe here: see TensorAddition.
        if (Scale != 1) found = found.mul_(torch.tensor(new[] { (float)Scale }).to(Tokens.device));
        return Positions is null ? found : found.PlusInPlace(Positions.narrow(0, 0, tokens.shape[1]).to(Tokens.device));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Tokens.Dispose();
        Positions?.Dispose();
    }
}
