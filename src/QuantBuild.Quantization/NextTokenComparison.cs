using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// Adds up how two models' distributions of the next token differ, in float64. The sums over tokens are made one after the other on this
/// thread: the figures are part of the artifact, whose bytes must not depend on the number of threads.
/// </summary>
internal sealed class NextTokenComparison
{
    private double floatLoss;
    private double loss;
    private double divergence;
    private long agreed;

    /// <summary>How many tokens were predicted.</summary>
    public long Tokens { get; private set; }

    /// <summary>exp of the float model's mean negative log-likelihood.</summary>
    public double FloatPerplexity => Math.Exp(floatLoss / Tokens);

    /// <summary>exp of the quantized model's mean negative log-likelihood.</summary>
    public double Perplexity => Math.Exp(loss / Tokens);

    /// <summary>Mean of KL(float || quantized) = sum over the vocabulary of p (log p - log q), in nats.</summary>
    public double KlDivergence => divergence / Tokens;

    /// <summary>Share of the tokens for which both have the same likeliest one.</summary>
    public double Top1Agreement => (double)agreed / Tokens;

    /// <summary>Adds tokens.</summary>
    /// <param name="floatLogits">[tokens, vocabulary].</param>
    /// <param name="logits">[tokens, vocabulary], of the quantized model.</param>
    /// <param name="actual">[tokens], int64: what the text goes on with.</param>
    public void Add(torch.Tensor floatLogits, torch.Tensor logits, torch.Tensor actual)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor p = LogProbabilities(floatLogits), q = LogProbabilities(logits);
        floatLoss += Loss(p, actual);
        loss += Loss(q, actual);
        divergence += (p.exp() * p.Minus(q)).sum(-1).Total();
        agreed += p.argmax(-1).eq(q.argmax(-1)).sum().cpu().data<long>()[0];
        Tokens += actual.shape[0];
    }

    /// <summary>Adds what was found for other tokens.</summary>
    public void Add(NextTokenComparison other)
    {
        floatLoss += other.floatLoss;
        loss += other.loss;
        divergence += other.divergence;
        agreed += other.agreed;
        Tokens += other.Tokens;
    }

    /// <summary>Logarithms of probabilities in float64, [tokens, vocabulary].</summary>
    public static torch.Tensor LogProbabilities(torch.Tensor logits) => torch.nn.functional.log_softmax(logits.to(torch.float64), -1);

    /// <summary>The negative log-likelihood of tokens.</summary>
    public static double Loss(torch.Tensor logProbabilities, torch.Tensor actual) => -logProbabilities.gather(1, actual.unsqueeze(1)).Total();
}
