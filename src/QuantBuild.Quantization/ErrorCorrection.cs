using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// Lets a linear make good what the layers before it have lost. Quantized inputs x' in place of x make another weight the best one: the W* with the least
/// <c>sum_t ||W x_t + r_t - W* x'_t||^2</c>, where r is what the residual stream lacks, for a linear that adds to it. Rounding then starts from W*.
/// </summary>
/// <remarks>
/// <c>W* = W + t (W C + D) H^-1</c>, where t below 1 trusts a short text less, with <c>C = 2 sum (x - x') x'^T</c>, <c>D = 2 sum r x'^T</c> and the damped Hessian H of x'. The idea of GPTAQ (Li et al., 2025,
/// arXiv:2504.02692) and QEP (Arai and Ichikawa, 2025, arXiv:2504.09629), in closed form before the column loop.
/// </remarks>
internal sealed class ErrorCorrection : IDisposable
{
    private const int TileRows = 256;

    // What a text says of W* - W is partly chance, the more the fewer tokens it has for each input. On the sample model 5 to 20 do equally well, with 8
    // calibration windows as with 128; 0 loses more than no correction at all with 8.
    private const double TokensPerInput = 10;

    private readonly torch.Tensor inputs; // C, [K, K]
    private readonly torch.Tensor? residual; // D, [N, K]
    private long tokens;

    /// <summary>Starts at zero.</summary>
    /// <param name="width">K, the width of the input.</param>
    /// <param name="outputs">N, for linears that add to the residual stream; else <see langword="null"/>.</param>
    /// <param name="device">Where to add up.</param>
    public ErrorCorrection(int width, int? outputs, torch.Device device)
    {
        inputs = torch.zeros(width, width, torch.float32, device).DetachFromDisposeScope();
        residual = outputs is { } rows ? torch.zeros(rows, width, torch.float32, device).DetachFromDisposeScope() : null;
    }

    /// <summary>Adds the tokens of a batch.</summary>
    /// <param name="lost">x - x', [..., K].</param>
    /// <param name="input">x', [..., K].</param>
    /// <param name="lostBefore">r, [..., N], for linears that add to the residual stream.</param>
    public void Add(torch.Tensor lost, torch.Tensor input, torch.Tensor? lostBefore)
    {
        Accumulate(inputs, lost, input);
        tokens += input.numel() / input.shape[^1];
        if (residual is not null) Accumulate(residual, lostBefore!, input);
    }

    /// <summary>W*, float32 [N, K], for the current dispose scope.</summary>
    /// <param name="weight">W, [N, K].</param>
    /// <param name="factor">Of the Hessian of x'.</param>
    public torch.Tensor Target(torch.Tensor weight, InverseFactor factor)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        int rows = (int)weight.shape[0];
        torch.Tensor target = torch.empty_like(weight);
        torch.Tensor? order = factor.Order is { } o ? torch.tensor(o, torch.int64, weight.device) : null;
        torch.Tensor? places = factor.Places is { } p ? torch.tensor(p, torch.int64, weight.device) : null;
        torch.Tensor trust = torch.tensor(new[] { (float)(tokens / (tokens + (TokensPerInput * inputs.shape[0]))) }, device: weight.device);
        // Rows do not depend on each other.
        OrderedSteps.Run((rows + TileRows - 1) / TileRows, i =>
        {
            int first = i * TileRows, count = Math.Min(TileRows, rows - first);
            torch.Tensor own = weight.narrow(0, first, count), change = own.matmul(inputs);
            if (residual is not null) change = change.PlusInPlace(residual.narrow(0, first, count));
            if (order is not null) change = change.index_select(1, order);
            change = change.matmul(factor.Upper.t()).matmul(factor.Upper);
            if (places is not null) change = change.index_select(1, places);
            target.narrow(0, first, count).copy_(change.mul_(trust).PlusInPlace(own));
        });
        return target.MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        inputs.Dispose();
        residual?.Dispose();
    }

    private static void Accumulate(torch.Tensor sum, torch.Tensor left, torch.Tensor right)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor a = left.reshape(-1, sum.shape[0]), b = right.reshape(-1, sum.shape[1]);
        int rows = (int)sum.shape[0];
        OrderedSteps.Run((rows + TileRows - 1) / TileRows, i =>
        {
            int first = i * TileRows, count = Math.Min(TileRows, rows - first);
            sum.narrow(0, first, count).addmm_(a.narrow(1, first, count).t(), b, beta: 1, alpha: 2);
        });
    }
}
