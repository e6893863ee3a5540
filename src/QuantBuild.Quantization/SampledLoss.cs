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

    // Float32 products of the head at once, however large the vocabulary is.
    private const long ProductsAtOnce = 1 << 21;

    // Float64 probabilities that are computed with at once on a CPU: few enough to stay in its cache, where blocks as large as all of them would be new memory in every step.
    private const long ProbabilitiesAtOnce = 1 << 17;

    /// <summary>Goes through the rows of a batch in parts.</summary>
    /// <param name="index">The batch's number: decides the labels.</param>
    /// <param name="hidden">The residual stream after the last layer, [B, T, D].</param>
    /// <param name="part">Gets the first row, the number of rows, the head's input [rows, K], and the gradient with respect to the head's product, [rows, vocabulary].</param>
    public void Visit(int index, torch.Tensor hidden, Action<long, long, torch.Tensor, torch.Tensor> part)
    {
        torch.Tensor inputs = input(hidden).reshape(-1, head.shape[1]);
        Random random = new(Seed + index);
        long atOnce = Math.Max(1, ProductsAtOnce / head.shape[0]);
        for (long first = 0; first < inputs.shape[0]; first += atOnce)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            long count = Math.Min(atOnce, inputs.shape[0] - first);
            torch.Tensor rows = inputs.narrow(0, first, count);
            torch.Tensor product = rows.mm(head.t());
            part(first, count, rows, Through(product, Gradient(logits(product), random)));
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

    /// <summary><c>onehot(y) - p</c>, float32 [rows, vocabulary], with the labels y drawn from p.</summary>
    private static torch.Tensor Gradient(torch.Tensor logits, Random random)
    {
        torch.Tensor gradient = torch.empty_like(logits);
        int rows = (int)logits.shape[0], atOnce = OrderedSteps.Rows(logits.device, (int)Math.Max(1, ProbabilitiesAtOnce / logits.shape[1]), rows);
        for (int first = 0; first < rows; first += atOnce)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            int count = Math.Min(atOnce, rows - first);
            double[] drawn = [.. Enumerable.Range(0, count).Select(_ => random.NextDouble())];
            gradient.narrow(0, first, count).copy_(Gradient(logits.narrow(0, first, count).to(torch.float64).softmax(1), drawn));
        }

        return gradient;
    }

    /// <summary>The same in float64, with the label of a number from 0 to 1 by the inverse of the cumulative distribution.</summary>
    private static torch.Tensor Gradient(torch.Tensor probabilities, double[] drawn)
    {
        long rows = probabilities.shape[0], vocabulary = probabilities.shape[1];
        torch.Tensor threshold = torch.tensor(drawn).to(probabilities.device).view(rows, 1);
        torch.Tensor label = probabilities.cumsum(1).lt(threshold).sum(1, keepdim: true);
        // Rounding may leave the last sum below 1.
        label = torch.minimum(label, torch.tensor(new[] { vocabulary - 1 }).to(label.device));
        torch.Tensor gradient = probabilities.neg();
        return gradient.scatter_add_(1, label, torch.ones(rows, 1, torch.float64, gradient.device));
    }
}
