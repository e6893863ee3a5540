using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>Gradients, whose errors reach .NET: TorchSharp hands one over from <c>autograd.backward</c>, and from <c>autograd.grad</c> it ends the process.</summary>
internal static class Backward
{
    /// <summary>The gradients of a tensor with respect to others, for the current dispose scope.</summary>
    /// <param name="output">What was computed.</param>
    /// <param name="inputs">What it was computed of: leaves, or what was made on the way. Of nothing else are gradients kept.</param>
    /// <param name="upstream">The gradient with respect to <paramref name="output"/>, of its shape; <see langword="null"/> is 1, for one number.</param>
    /// <returns>Of the shape of each of <paramref name="inputs"/>.</returns>
    public static torch.Tensor[] Gradients(torch.Tensor output, torch.Tensor[] inputs, torch.Tensor? upstream = null)
    {
        torch.autograd.backward([output], upstream is null ? null : [upstream], inputs: inputs);
        return [.. inputs.Select(input => input.grad!)];
    }
}
