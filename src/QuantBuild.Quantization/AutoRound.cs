using QuantBuild.Generation;
using TorchSharp;
using static TorchSharp.torch.nn.functional;

namespace QuantBuild.Quantization;

/// <summary>
/// Learned rounding (AutoRound, Cheng et al., 2023, arXiv:2309.05516): the roundings and the scales of a decoder layer's linears are trained together, by gradient
/// descent, so that the layer's output comes closest to the one that the float model has there.
/// </summary>
/// <remarks>
/// The input is the residual stream behind the quantized layers, so that a layer also makes good what those before it lost. Each token's error counts by the square of
/// its share of that token's residual stream: the norms that read the stream divide by its length, and a few tokens are a hundred times longer than the rest. Training
/// begins from GPTQ's solution of the same problem, one linear after the other; see <see cref="Start"/>.
/// </remarks>
/// <param name="devices">Where to compute.</param>
/// <param name="forward">The decoder.</param>
/// <param name="layer">The layer's weights; those that are trained are not read.</param>
/// <param name="trained">What is trained.</param>
/// <param name="name">The layer's name, for errors.</param>
internal sealed class AutoRound(
    Devices devices, PerDevice<DecoderForward> forward, PerDevice<LayerWeights> layer, IReadOnlyDictionary<LinearRole, RoundingParameters> trained, string name)
{
    // Windows whose gradients make a step.
    private const int WindowsOfStep = 4;

    // How far a weight goes at most in all steps together, in steps of its grid.
    private const float Reach = 0.2f;

    // The share of the steps in which their size grows: the first gradients have no past that could tell signal from noise.
    private const float Growing = 0.1f;

    private readonly LinearRole[] roles = [.. trained.Keys.Order()];

    /// <summary>How GPTQ makes what training begins with: the columns in their own order, for none is stored.</summary>
    public static QuantizationSpec Start(QuantizationSpec spec) => spec with { Method = QuantizationMethod.Gptq, StaticGroups = true };

    /// <summary>Trains.</summary>
    /// <param name="inputs">The residual stream before the layer, behind the quantized layers.</param>
    /// <param name="targets">That of the float model behind the layer.</param>
    /// <param name="steps">How many steps.</param>
    /// <param name="stepped">Hears of each finished step.</param>
    /// <param name="cancellationToken">Looked at between windows.</param>
    /// <exception cref="QuantBuildException">QB3006: the error or its gradient is not a finite number.</exception>
    public void Train(HiddenStates inputs, HiddenStates targets, int steps, Action<int> stepped, CancellationToken cancellationToken)
    {
        using IEnumerator<(int Batch, int Window)> schedule = Schedule(inputs).GetEnumerator();
        for (int step = 1; step <= steps; step++)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            PerDevice<torch.Tensor[]> weights = devices.Each(at => roles.Select(role => trained[role].Weight.to(at.Device)).ToArray());
            PerDevice<torch.Tensor[]> sums = devices.Each(at => weights[at].Select(weight => torch.zeros_like(weight)).ToArray());
            (int Batch, int Window)[] windows = [.. Enumerable.Range(0, WindowsOfStep).Select(_ => schedule.MoveNext() ? schedule.Current : default)];
            devices.Run(
                windows.Length,
                (at, i) => Gradients(at, weights[at], Window(at, inputs, windows[i]), Window(at, targets, windows[i])),
                (at, made) =>
                {
                    for (int i = 0; i < made.Length; i++)
                    {
                        sums[at][i].PlusInPlace(made[i]);
                        made[i].Dispose();
                    }
                },
                cancellationToken);
            torch.Tensor[] gradients = sums.Together((all, others) =>
            {
                foreach ((torch.Tensor sum, torch.Tensor other) in all.Zip(others)) sum.PlusFrom(other);
            });
            float share = (step - 0.5f) / steps;
            float size = 2 * Reach / steps * Math.Min(1 - share, share / Growing);
            for (int i = 0; i < roles.Length; i++)
            {
                if (!gradients[i].AllFinite()) throw NotFinite();
                trained[roles[i]].Step(gradients[i], size);
            }

            stepped(step);
        }
    }

    /// <summary>The gradients of one window's error by the weights that are trained, [N, K] each.</summary>
    private torch.Tensor[] Gradients(Place at, torch.Tensor[] weights, torch.Tensor input, torch.Tensor target)
    {
        using IDisposable gradient = torch.enable_grad();
        // Leaves of this window's own, on the same memory.
        torch.Tensor[] leaves = [.. weights.Select(weight => weight.detach().requires_grad_())];
        using LayerWeights own = layer[at].Share();
        for (int i = 0; i < roles.Length; i++) own.Replace(roles[i], leaves[i].alias());
        torch.Tensor inverse = forward[at].InverseRms(target);
        torch.Tensor loss = mse_loss(forward[at].Layer(input, own) * inverse, target * inverse, torch.nn.Reduction.Sum);
        return [.. Backward.Gradients(loss, leaves).Select(made => made.DetachFromDisposeScope())];
    }

    private static torch.Tensor Window(Place at, HiddenStates states, (int Batch, int Window) window) => states.Batch(at, window.Batch).narrow(0, window.Window, 1);

    /// <summary>All windows in random order, again and again in another: the same in every run.</summary>
    private static IEnumerable<(int Batch, int Window)> Schedule(HiddenStates states)
    {
        (int Batch, int Window)[] windows = [.. Enumerable.Range(0, states.Count).SelectMany(batch => Windows(states, batch))];
        SplitMix random = new(seed: 1);
        while (true)
        {
            for (int i = windows.Length - 1; i > 0; i--)
            {
                int other = (int)(random.NextDouble() * (i + 1));
                (windows[i], windows[other]) = (windows[other], windows[i]);
            }

            foreach ((int Batch, int Window) window in windows) yield return window;
        }
    }

    private static IEnumerable<(int Batch, int Window)> Windows(HiddenStates states, int batch) => Enumerable.Range(0, states.WindowsOf(batch)).Select(window => (batch, window));

    private QuantBuildException NotFinite() => new(
        DiagnosticIds.NonFinite,
        $"{name}: the gradients of learned rounding are not finite numbers. The layer's outputs overflow float32, or the model's weights are damaged: " +
        "copy the model again, or set Method to Rtn.");
}
