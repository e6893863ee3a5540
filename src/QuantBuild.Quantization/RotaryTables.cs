using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// The rotary embedding (Su et al., 2021) of a window's positions: pairs of dimensions of a head turn by an angle that grows with the position. Of LongRoPE the factors are those for the window's length.
/// </summary>
internal sealed class RotaryTables : IDisposable
{
    private readonly DecoderConfig config;
    private readonly int turned;
    private readonly (torch.Tensor Cosine, torch.Tensor Sine) usual; // [context, turned] each
    private readonly (torch.Tensor Cosine, torch.Tensor Sine)? longer;

    /// <summary>Prepares the angles.</summary>
    /// <param name="config">The decoder.</param>
    /// <param name="local">Whether they are those of layers with a base of their own.</param>
    /// <param name="context">The longest window, in tokens.</param>
    /// <param name="device">Where to compute.</param>
    public RotaryTables(DecoderConfig config, bool local, int context, torch.Device device)
    {
        (this.config, turned) = (config, config.TurnedDimensions);
        (torch.Tensor Cosine, torch.Tensor Sine) Tables(int tokens)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            torch.Tensor positions = torch.tensor(Enumerable.Range(0, tokens).Select(position => (double)position).ToArray());
            torch.Tensor angles = torch.outer(positions, torch.tensor(config.RotaryFrequencies(local, tokens)));
            angles = config.RopeInterleaved ? angles.repeat_interleave(2, 1) : torch.cat([angles, angles], 1);
            torch.Tensor scale = torch.tensor(new[] { config.RotaryScale(local, tokens) });
            return ((angles.cos() * scale).to(torch.float32).to(device).DetachFromDisposeScope(), (angles.sin() * scale).to(torch.float32).to(device).DetachFromDisposeScope());
        }

        usual = Tables(Math.Min(context, config.UsualContext));
        longer = config.HasLongFactors(context) ? Tables(context) : null;
    }

    /// <summary>Turns heads, [B, heads, T, headDim].</summary>
    public torch.Tensor Turn(torch.Tensor heads)
    {
        long tokens = heads.shape[2], headDim = heads.shape[3];
        torch.Tensor part = turned == headDim ? heads : heads.narrow(3, 0, turned);
        (torch.Tensor cosine, torch.Tensor sine) = config.HasLongFactors((int)tokens) ? longer!.Value : usual;
        torch.Tensor result = (part * cosine.narrow(0, 0, tokens)).Plus(Quarter(part) * sine.narrow(0, 0, tokens));
        return turned == headDim ? result : torch.cat([result, heads.narrow(3, turned, headDim - turned)], 3);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach ((torch.Tensor cosine, torch.Tensor sine) in longer is { } more ? [usual, more] : new[] { usual })
        {
            cosine.Dispose();
            sine.Dispose();
        }
    }

    /// <summary>Each pair (a, b) as (-b, a).</summary>
    private torch.Tensor Quarter(torch.Tensor heads)
    {
        int half = turned / 2;
        if (!config.RopeInterleaved) return torch.cat([heads.narrow(3, half, half).neg(), heads.narrow(3, 0, half)], 3);
        torch.Tensor pairs = heads.reshape(heads.shape[0], heads.shape[1], heads.shape[2], half, 2);
        return torch.stack([pairs.select(4, 1).neg(), pairs.select(4, 0)], 4).reshape(heads.shape[0], heads.shape[1], heads.shape[2], turned);
    }
}
