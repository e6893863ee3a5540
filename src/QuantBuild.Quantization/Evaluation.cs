using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>What is measured on residual streams, a few rows of logits at a time.</summary>
internal static class Evaluation
{
    // Float32 logits of a stream at the peak, however large the vocabulary is: enough rows that the head's weights are not read for a few each time.
    internal const long LogitsAtOnce = 1 << 20;

    // Float64 values that are computed with at once: few enough to stay in a processor's cache through a dozen passes.
    private const long ProbabilitiesAtOnce = 1 << 17;

    /// <summary>Compares the predictions of two streams of the same windows.</summary>
    /// <param name="floats">What the last float layer gave.</param>
    /// <param name="quantized">What the last quantized layer gave.</param>
    /// <param name="windows">The tokens.</param>
    /// <param name="floatHead">The float head: [rows, D] to [rows, vocabulary].</param>
    /// <param name="head">The head that the quantized model has.</param>
    /// <param name="vocabulary">Number of tokens.</param>
    /// <param name="cancellationToken">Looked at between parts of a batch.</param>
    public static NextTokenComparison Compare(
        HiddenStates floats, HiddenStates quantized, TokenWindows windows, Func<Place, torch.Tensor, torch.Tensor> floatHead, Func<Place, torch.Tensor, torch.Tensor> head,
        int vocabulary, CancellationToken cancellationToken)
    {
        PerDevice<NextTokenComparison> totals = floats.Devices.Each(_ => new NextTokenComparison());
        torch.Tensor[] tokens = [.. windows.Batches(floats.BatchTokens)];
        floats.Visit(
            (at, index, one) =>
            {
                NextTokenComparison comparison = new();
                torch.Tensor actual = Predicted(tokens[index]).to(one.device);
                (torch.Tensor floatRows, torch.Tensor rows) = (Predicting(one), Predicting(quantized.Batch(at, index)));
                foreach ((long first, long count) in Parts(actual.shape[0], vocabulary, LogitsAtOnce))
                {
                    using DisposeScope scope = torch.NewDisposeScope();
                    torch.Tensor floatLogits = floatHead(at, floatRows.narrow(0, first, count)), logits = head(at, rows.narrow(0, first, count));
                    foreach ((long row, long some) in Parts(count, vocabulary, ProbabilitiesAtOnce))
                    {
                        cancellationToken.ThrowIfCancellationRequested();
                        using DisposeScope part = torch.NewDisposeScope();
                        comparison.Add(floatLogits.narrow(0, row, some), logits.narrow(0, row, some), actual.narrow(0, first + row, some));
                    }
                }

                return comparison;
            },
            (at, comparison) => totals[at].Add(comparison),
            cancellationToken);
        return totals.Together((total, other) => total.Add(other));
    }

    /// <summary>Perplexity of one stream: exp of the mean negative log-likelihood of all tokens but the first of each window.</summary>
    /// <param name="states">What the last layer gave.</param>
    /// <param name="windows">The tokens.</param>
    /// <param name="head">The head: [rows, D] to [rows, vocabulary].</param>
    /// <param name="vocabulary">Number of tokens.</param>
    /// <param name="cancellationToken">Looked at between parts of a batch.</param>
    public static double Perplexity(
        HiddenStates states, TokenWindows windows, Func<Place, torch.Tensor, torch.Tensor> head, int vocabulary, CancellationToken cancellationToken)
    {
        double[] losses = new double[states.Devices.All.Count];
        torch.Tensor[] tokens = [.. windows.Batches(states.BatchTokens)];
        states.Visit(
            (at, index, batch) =>
            {
                double part = 0;
                torch.Tensor actual = Predicted(tokens[index]).to(batch.device);
                torch.Tensor rows = Predicting(batch);
                foreach ((long first, long count) in Parts(actual.shape[0], vocabulary, LogitsAtOnce))
                {
                    using DisposeScope scope = torch.NewDisposeScope();
                    torch.Tensor logits = head(at, rows.narrow(0, first, count));
                    foreach ((long row, long some) in Parts(count, vocabulary, ProbabilitiesAtOnce))
                    {
                        cancellationToken.ThrowIfCancellationRequested();
                        using DisposeScope step = torch.NewDisposeScope();
                        part += NextTokenComparison.Loss(
                            NextTokenComparison.LogProbabilities(logits.narrow(0, row, some)), actual.narrow(0, first + row, some));
                    }
                }

                return part;
            },
            (at, part) => losses[at.Number] += part,
            cancellationToken);
        return Math.Exp(losses.Sum() / windows.PredictedTokens);
    }

    /// <summary>||Y_q - Y|| / ||Y|| of two streams, Frobenius norms over all their tokens, summed in float64.</summary>
    public static double RelativeError(HiddenStates floats, HiddenStates quantized, CancellationToken cancellationToken)
    {
        (double Difference, double Norm)[] sums = new (double, double)[floats.Devices.All.Count];
        floats.Visit(
            (at, index, one) =>
            {
                torch.Tensor error = quantized.Batch(at, index).Minus(one);
                return (Difference: (error * error).sum(-1, false, torch.float64).Total(), Norm: (one * one).sum(-1, false, torch.float64).Total());
            },
            (at, part) =>
            {
                ref (double Difference, double Norm) sum = ref sums[at.Number];
                sum = (sum.Difference + part.Difference, sum.Norm + part.Norm);
            },
            cancellationToken);
        (double difference, double norm) = (sums.Sum(sum => sum.Difference), sums.Sum(sum => sum.Norm));
        return norm > 0 ? Math.Sqrt(difference / norm) : 0;
    }

    // The last token of a window predicts nothing that is in it, and nothing predicts the first.
    private static torch.Tensor Predicting(torch.Tensor hidden) => hidden.narrow(1, 0, hidden.shape[1] - 1).reshape(-1, hidden.shape[2]);

    private static torch.Tensor Predicted(torch.Tensor tokens) => tokens.narrow(1, 1, tokens.shape[1] - 1).reshape(-1);

    /// <summary>Cuts rows into parts of about the same size, with at most so many logits.</summary>
    private static IEnumerable<(long First, long Count)> Parts(long rows, int vocabulary, long atOnce)
    {
        long most = Math.Max(1, atOnce / vocabulary);
        long parts = (rows + most - 1) / most;
        for (long part = 0; part < parts; part++)
        {
            long first = rows * part / parts;
            yield return (first, (rows * (part + 1) / parts) - first);
        }
    }
}
