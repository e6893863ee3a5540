using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// The log-likelihood of next tokens that are drawn from the model's own distribution, the same ones each time. The expected square of its gradient is the Fisher information, and no
/// text's actual tokens enter it.
/// </summary>
/// <param name="input">What the head reads: [..., D] to [..., K].</param>
/// <param name="head">[vocabulary, K].</param>
/// <param name="logits">What the products of the head become.</param>
internal sealed class SampledLoss(Func<torch.Tensor, torch.Tensor> input, torch.Tensor head, Func<torch.Tensor, torch.Tensor> logits)
{
    private const int Seed = 20230315;

    // Float64 probabilities at once, however large the vocabulary is.
    private const long ProbabilitiesAtOnce = 1 << 21;

    /// <summary>Goes through the rows of a batch in parts.</summary>
    /// <param name="index">The batch's number: decides the labels.</param>
    /// <param name="hidden">The residual stream after the last layer, [B, T, D].</param>
    /// <param name="part">Gets the first row, the number of rows, the head's input [rows, K], and the gradient with respect to the head's product, [rows, vocabulary].</param>
    public void Visit(int index, torch.Tensor hidden, Action<long, long, torch.Tensor, torch.Tensor> part)
    {
        torch.Tensor inputs = input(hidden).reshape(-1, head.shape[1]);
        Random random = new(Seed + index);
        long atOnce = Math.Max(1, ProbabilitiesAtOnce / head.shape[0]);
        for (long first = 0; first < inputs.shape[0]; first += atOnce)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            long count = Math.Min(atOnce, inputs.shape[0] - first);
            torch.Tensor rows = inputs.narrow(0, first, count);
            torch.Tensor product = rows.mm(head.t());
            torch.Tensor probabilities = logits(product).to(torch.float64).softmax(1);
            double[] drawn = [.. Enumerable.Range(0, (int)count).Select(_ => random.NextDouble())];
            part(first, count, rows, Through(product, Gradient(probabilities, drawn)));
        }
    }

    /// <summary>The gradient with respect to the residual stream, [B, T, D].</summary>
    /// <param name="index">The batch's number.</param>
    /// <param name="hidden">[B, T, D].</param>
    public torch.Tensor Gradient(int index, torch.Tensor hidden)
    {
        torch.Tensor upstream = torch.zeros(hidden.shape[0] * hidden.shape[1], head.shape[1], torch.float32, hidden.device);
        Visit(index, hidden, (first, count, _, gradient) => upstream.narrow(0, first, count).copy_(gradient.mm(head)));
        using IDisposable withGradients = torch.enable_grad();
        torch.Tensor leaf = hidden.detach().requires_grad_();
        return Backward.Gradients(input(leaf), [leaf], upstream.view(hidden.shape[0], hidden.shape[1], -1))[0];
    }

    /// <summary>The gradient with respect to the head's product, from that with respect to the logits.</summary>
    private torch.Tensor Through(torch.Tensor product, torch.Tensor gradient)
    {
        if (ReferenceEquals(logits(product), product)) return gradient;
        using IDisposable withGradients = torch.enable_grad();
        torch.Tensor leaf = product.detach().requires_grad_();
        return Backward.Gradients(logits(leaf), [leaf], gradient)[0];
    }

    /// <summary><c>onehot(y) - p</c>, float32, with the label y of a number from 0 to 1 by the inverse of the cumulative distribution.</summary>
    private static torch.Tensor Gradient(torch.Tensor probabilities, double[] drawn)
    {
        long rows = probabilities.shape[0], vocabulary = probabilities.shape[1];
        torch.Tensor threshold = torch.tensor(drawn).to(probabilities.device).view(rows, 1);
        torch.Tensor label = probabilities.cumsum(1).lt(threshold).sum(1, keepdim: true);
        // Rounding may leave the last sum below 1.
        label = torch.minimum(label, torch.tensor(new[] { vocabulary - 1 }).to(label.device));
        torch.Tensor gradient = probabilities.neg();
        return gradient.scatter_add_(1, label, torch.ones(rows, 1, torch.float64, gradient.device)).to(torch.float32);
    }
}
