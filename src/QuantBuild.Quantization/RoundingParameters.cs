using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// What learned rounding trains of one linear: where on its group's grid each weight stands, and by what factor each group's scale differs from where it began.
/// <c>W~[n, k] = s (round(u[n, k]) - z)</c> with <c>s = float16(s0 f)</c>: what is stored is what was trained against.
/// </summary>
/// <remarks>
/// In the terms of AutoRound (arXiv:2309.05516), u is <c>W / s0 + z + V</c>. A position may leave the grid by less than half a step and no further: what clipping would
/// do to the value is done to the position itself, and the value never needs it. Rounding passes gradients straight through: <c>dL/du = dL/dW~ s</c>; the scale's
/// are exact: <c>dL/df = s0 sum_k dL/dW~ (round(u) - z)</c> over the group.
/// </remarks>
internal sealed class RoundingParameters : IDisposable
{
    private const float LeastFactor = 0.5f;
    private const float LargestFactor = 1.5f;

    // Less than half a step, so that a position at the end still rounds to the integer next to it.
    private const float Reach = 0.49f;

    private readonly AffineLinear linear;
    private readonly float[] starts; // s0, [N, groups]
    private readonly Descent positions; // u, [N, K]
    private readonly Descent factors; // f, [N, groups]

    /// <summary>Begins with a linear's own values.</summary>
    /// <param name="target">W, float32 [N, K], what the values stand for as well as they can: a weight begins as close to it as its value lets it.</param>
    /// <param name="start">The values, scales and zero points to begin with, columns in their own order; becomes the trained linear.</param>
    public RoundingParameters(torch.Tensor target, AffineLinear start)
    {
        linear = start;
        starts = [.. start.Scales.Select(scale => (float)scale)];
        factors = new Descent(starts.Length);
        factors.Values.AsSpan().Fill(1);
        positions = new Descent(start.Values.Length);
        using (torch.NewDisposeScope())
        {
            target.cpu().contiguous().data<float>().CopyTo(positions.Values);
        }

        for (int i = 0; i < positions.Values.Length; i++)
        {
            int group = i / start.GroupSize;
            float exact = (positions.Values[i] / starts[group]) + start.Zeros[group];
            positions.Values[i] = Math.Clamp(exact, start.Values[i] - Reach, start.Values[i] + Reach);
        }

        Weight = torch.empty(start.Outputs, start.Inputs, torch.float32).DetachFromDisposeScope();
        ForEachRow(Weight, Weight, (_, weights, row) => Round(weights, row));
    }

    /// <summary>W~, float32 [N, K] on the host; each step rewrites it.</summary>
    public torch.Tensor Weight { get; }

    /// <summary>The linear as it is trained so far.</summary>
    public AffineLinear Linear => linear;

    /// <summary>Takes a step against the gradient.</summary>
    /// <param name="gradient">dL/dW~, [N, K].</param>
    /// <param name="size">How far a position goes whose gradients agree, in steps of the grid, and a scale, in shares of where it began.</param>
    public void Step(torch.Tensor gradient, float size)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        positions.Begin(size);
        factors.Begin(size);
        ForEachRow(gradient.cpu().contiguous(), Weight, (gradients, weights, row) =>
        {
            Step(gradients, row);
            Round(weights, row);
        });
    }

    /// <inheritdoc/>
    public void Dispose() => Weight.Dispose();

    private unsafe void ForEachRow(torch.Tensor source, torch.Tensor target, RowAction action)
    {
        fixed (byte* sourceBytes = source.bytes, targetBytes = target.bytes)
        {
            (IntPtr from, IntPtr to) = ((IntPtr)sourceBytes, (IntPtr)targetBytes);
            Parallel.For(0, linear.Outputs, row =>
            {
                long first = (long)row * linear.Inputs;
                action(new ReadOnlySpan<float>((float*)from + first, linear.Inputs), new Span<float>((float*)to + first, linear.Inputs), row);
            });
        }
    }

    private void Step(ReadOnlySpan<float> gradients, int row)
    {
        float last = (1 << linear.Bits) - 1 + Reach;
        for (int column = 0; column < linear.Inputs;)
        {
            int index = (row * linear.Inputs) + column, group = index / linear.GroupSize;
            float scale = (float)linear.Scales[group], zero = linear.Zeros[group], sum = 0;
            for (int end = column + linear.GroupSize; column < end; column++, index++)
            {
                sum += gradients[column] * (linear.Values[index] - zero);
                positions.Step(index, gradients[column] * scale, -Reach, last);
            }

            factors.Step(group, sum * starts[group], LeastFactor, LargestFactor);
            linear.Scales[group] = (Half)(starts[group] * factors.Values[group]);
        }
    }

    private void Round(Span<float> weights, int row)
    {
        for (int column = 0; column < weights.Length; column++)
        {
            int index = (row * linear.Inputs) + column, group = index / linear.GroupSize;
            linear.Values[index] = (byte)MathF.Round(positions.Values[index]);
            weights[column] = (float)linear.Scales[group] * (linear.Values[index] - linear.Zeros[group]);
        }
    }

    private delegate void RowAction(ReadOnlySpan<float> source, Span<float> target, int row);
}
