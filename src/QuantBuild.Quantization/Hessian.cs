using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// The Hessian of the squared error of a linear's outputs, the same for each of its rows: <c>H = 2 sum_t x_t x_t^T</c> over the tokens of the
/// calibration text. Linears that read the same input share one.
/// </summary>
public sealed class Hessian : IDisposable
{
    // Of the width alone, so that the sums are the same whatever the number of processors; eight rows of tiles or more keep them busy.
    private const int LargestTile = 512;
    private const int SmallestTile = 64;

    // Of a GPU: what one product computes has to keep all of it busy. Tiles that end at the diagonal are 10 of 16 with 4,096 inputs, 66 of 121 with 11,008.
    private const int GpuTile = 1024;

    private readonly torch.Tensor sum;
    private readonly int inputs;
    private readonly int tile;

    /// <summary>Starts at zero.</summary>
    /// <param name="inputs">K, the width of the input.</param>
    /// <param name="device">Where to add up.</param>
    public Hessian(int inputs, torch.Device device)
        : this(inputs, device, device.type == DeviceType.CUDA ? GpuTile : Math.Clamp(inputs / 8 / SmallestTile * SmallestTile, SmallestTile, LargestTile))
    {
    }

    /// <summary>Starts at zero.</summary>
    /// <param name="inputs">K, the width of the input.</param>
    /// <param name="device">Where to add up.</param>
    /// <param name="tile">Rows that one step adds up.</param>
    internal Hessian(int inputs, torch.Device device, int tile)
    {
        (this.inputs, this.tile) = (inputs, tile);
        sum = torch.zeros(inputs, inputs, torch.float32, device).DetachFromDisposeScope();
    }

    /// <summary>The sum so far, float32 [K, K]: it lives as long as this, and may be changed only where nothing is added or asked for any more.</summary>
    public torch.Tensor Matrix
    {
        get
        {
            using DisposeScope scope = torch.NewDisposeScope();
            for (int first = 0, end = tile; end < inputs; first = end, end += tile)
            {
                // Only what is left of the diagonal was added up; it is large enough not to copy it as a whole.
                int count = Math.Min(tile, inputs - end);
                sum.narrow(0, 0, end).narrow(1, end, count).copy_(sum.narrow(0, end, count).narrow(1, 0, end).t());
            }

            return sum;
        }
    }

    /// <summary>Adds the tokens of a batch.</summary>
    /// <param name="input">float32 [..., K].</param>
    public void Add(torch.Tensor input)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor tokens = input.reshape(-1, inputs);
        // The matrix is symmetric: a row of tiles ends at the diagonal.
        OrderedSteps.Run(sum.device, (inputs + tile - 1) / tile, row =>
        {
            int first = row * tile, end = Math.Min(inputs, first + tile);
            sum.narrow(0, first, end - first).narrow(1, 0, end).addmm_(tokens.narrow(1, first, end - first).t(), tokens.narrow(1, 0, end), beta: 1, alpha: 2);
        });
    }

    /// <summary>Adds what was added up of other tokens, on whatever device.</summary>
    internal void Add(Hessian other) => sum.PlusFrom(other.sum);

    /// <inheritdoc/>
    public void Dispose() => sum.Dispose();
}
