using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// Lets a linear make good what the layers before it have lost. Quantized inputs x' in place of x make another weight the best one: the W* with the least
/// <c>sum_t ||W x_t + r_t - W* x'_t||^2</c>, where r is what the residual stream lacks, for a linear that adds to it. Rounding then starts from W*.
/// </summary>
/// <remarks>
/// <c>W* = W + t G H^-1</c>, where t below 1 trusts a short text less, with the damped Hessian H of x' and <c>G = 2 sum (W x + r - W x') x'^T</c>. Linears
/// that share their inputs share <c>C = 2 sum (x - x') x'^T</c>, and <c>G = W C</c>; for one that adds to the residual stream G itself is added up: [N, K] is
/// smaller than [K, K] where the MLP comes down. The idea of GPTAQ (Li et al., 2025, arXiv:2504.02692) and QEP (Arai and Ichikawa, 2025, arXiv:2504.09629), in closed
/// form before the column loop.
/// </remarks>
internal sealed class ErrorCorrection : IDisposable
{
    private const int TileRows = 256;

    // What a text says of W* - W is partly chance, the more the fewer tokens it has for each input. On the sample model 5 to 20 do equally well, with 8
    // calibration windows as with 128; 0 loses more than no correction at all with 8.
    private const double TokensPerInput = 10;

    private readonly torch.Tensor sum; // C, [K, K]; or G, [N, K]
    private readonly bool ofOutputs;
    private long tokens;

    private ErrorCorrection(torch.Tensor sum, bool ofOutputs) => (this.sum, this.ofOutputs) = (sum.DetachFromDisposeScope(), ofOutputs);

    /// <summary>Starts at zero, for linears that share their inputs.</summary>
    /// <param name="width">K, the width of the input.</param>
    /// <param name="device">Where to add up.</param>
    public static ErrorCorrection OfInputs(int width, torch.Device device) => new(torch.zeros(width, width, torch.float32, device), false);

    /// <summary>Starts at zero, for a linear that adds to the residual stream.</summary>
    /// <param name="outputs">N.</param>
    /// <param name="width">K, the width of the input.</param>
    /// <param name="device">Where to add up.</param>
    public static ErrorCorrection OfOutputs(int outputs, int width, torch.Device device) => new(torch.zeros(outputs, width, torch.float32, device), true);

    /// <summary>Adds the tokens of a batch.</summary>
    /// <param name="lost">x - x', [..., K]; or W x + r - W x', [..., N]: what the residual stream lacks behind the linear.</param>
    /// <param name="input">x', [..., K].</param>
    public void Add(torch.Tensor lost, torch.Tensor input)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        int rows = (int)sum.shape[0];
        torch.Tensor a = lost.reshape(-1, rows), b = input.reshape(-1, sum.shape[1]);
        tokens += b.shape[0];
        int tile = OrderedSteps.Rows(sum.device, TileRows, rows);
        OrderedSteps.Run(sum.device, (rows + tile - 1) / tile, i =>
        {
            int first = i * tile, count = Math.Min(tile, rows - first);
            sum.narrow(0, first, count).addmm_(a.narrow(1, first, count).t(), b, beta: 1, alpha: 2);
        });
    }

    /// <summary>Adds what was added up of other tokens, on whatever device.</summary>
    public void Add(ErrorCorrection other)
    {
        sum.PlusFrom(other.sum);
        tokens += other.tokens;
    }

    /// <summary>A copy on another device.</summary>
    public ErrorCorrection To(torch.Device device) => new(sum.to(device, copy: true), ofOutputs) { tokens = tokens };

    /// <summary>Rows of W*, float32 [rows, K], for the current dispose scope. Where G was added up, they are made in G's place: they can be asked for once.</summary>
    /// <param name="weight">The rows of W, [rows, K].</param>
    /// <param name="firstRow">Which row of W the first is.</param>
    /// <param name="factor">Of the Hessian of x'.</param>
    public torch.Tensor Target(torch.Tensor weight, int firstRow, InverseFactor factor)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        int rows = (int)weight.shape[0];
        torch.Tensor target = ofOutputs ? sum.narrow(0, firstRow, rows) : torch.empty_like(weight);
        torch.Tensor? order = factor.Order is { } o ? torch.tensor(o, torch.int64, weight.device) : null;
        torch.Tensor? places = factor.Places is { } p ? torch.tensor(p, torch.int64, weight.device) : null;
        torch.Tensor trust = torch.tensor(new[] { (float)(tokens / (tokens + (TokensPerInput * sum.shape[1]))) }, device: weight.device);
        // Rows do not depend on each other.
        int tile = OrderedSteps.Rows(sum.device, TileRows, rows);
        OrderedSteps.Run(sum.device, (rows + tile - 1) / tile, i =>
        {
            int first = i * tile, count = Math.Min(tile, rows - first);
            torch.Tensor own = weight.narrow(0, first, count), change = ofOutputs ? target.narrow(0, first, count) : own.mm(sum);
            if (order is not null) change = change.index_select(1, order);
            change = change.mm(factor.Upper.t()).mm(factor.Upper);
            if (places is not null) change = change.index_select(1, places);
            target.narrow(0, first, count).copy_(change.mul_(trust).PlusInPlace(own));
        });
        return target.MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public void Dispose() => sum.Dispose();
}
