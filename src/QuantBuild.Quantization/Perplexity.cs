using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// Perplexity: <c>exp</c> of the mean negative log-likelihood of the tokens of all windows, without the first of each window, which nothing
/// predicts.
/// </summary>
internal static class Perplexity
{
    /// <summary>Computes it from the last hidden states.</summary>
    /// <param name="states">What the last layer gave.</param>
    /// <param name="windows">The tokens.</param>
    /// <param name="logits">The head: [B, T, D] to [B, T, vocabulary].</param>
    /// <param name="cancellationToken">Looked at between batches.</param>
    public static double Compute(HiddenStates states, TokenWindows windows, Func<torch.Tensor, torch.Tensor> logits, CancellationToken cancellationToken)
    {
        double sum = 0;
        using IEnumerator<torch.Tensor> tokens = windows.Batches(HiddenStates.BatchTokens).GetEnumerator();
        states.ForEach(
            batch =>
            {
                tokens.MoveNext();
                for (long window = 0; window < batch.shape[0]; window++)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    using DisposeScope scope = torch.NewDisposeScope();
                    torch.Tensor predicted = logits(batch.narrow(0, window, 1).narrow(1, 0, windows.Length - 1)).squeeze(0);
                    torch.Tensor actual = tokens.Current[window].narrow(0, 1, windows.Length - 1).to(batch.device);
                    sum += torch.nn.functional.cross_entropy(predicted, actual, reduction: torch.nn.Reduction.Sum).cpu().data<float>()[0];
                }
            },
            cancellationToken);
        return Math.Exp(sum / PredictedTokens(windows));
    }

    /// <summary>Tokens that count: all but the first of each window.</summary>
    public static long PredictedTokens(TokenWindows windows) => (long)windows.Count * (windows.Length - 1);
}
