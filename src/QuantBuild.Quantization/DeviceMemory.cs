using System.Runtime.InteropServices;
using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// Computes in pieces that a device has memory for. Where it runs out, the pieces become half as large, from then on in all of a run on that device: how much a forward pass needs depends on the kernels that
/// torch chooses, and on what else is on the GPU.
/// </summary>
/// <remarks>
/// An error of torch can be caught where TorchSharp takes it across to .NET, which it does for almost all operations. Not for <c>matmul</c>, after which the process ends: this project multiplies by
/// <c>mm</c>, <c>bmm</c> and <c>addmm_</c>. Nor for <c>autograd.grad</c>: see <see cref="Backward"/>.
/// </remarks>
/// <param name="inform">Hears of it.</param>
/// <param name="name">What the device is called then.</param>
internal sealed class DeviceMemory(Action<FormattableString> inform, string name = "the device")
{
    // TorchSharp has one exception for all errors.
    private static readonly string[] HostExhaustions = ["can't allocate memory", "not enough memory"];
    private static readonly string[] Exhaustions = ["out of memory", "CUBLAS_STATUS_ALLOC_FAILED", .. HostExhaustions];

    private readonly Lock gate = new();
    private long most = long.MaxValue;

    /// <summary>Tokens of a batch of whole windows: enough for a matrix product to run at full speed, few enough that several batches at once, with an MLP's activations each, stay small.</summary>
    public static int TokensOfBatch(torch.Device device) => device.type == DeviceType.CPU ? 512 : 4096;

    /// <summary>Tokens of a part, whatever window they are in. How a sum is divided among parts is in its bits, so it does not depend on the number of processors.</summary>
    public static int TokensOfPart(torch.Device device) => device.type == DeviceType.CPU ? 256 : 4096;

    /// <summary>Whether an error of torch is that there is no memory, on a GPU or on the host.</summary>
    public static bool IsExhausted(Exception exception) =>
        exception is ExternalException && Exhaustions.Any(text => exception.Message.Contains(text, StringComparison.Ordinal));

    /// <summary>The error of a device that has no memory for what cannot be made smaller.</summary>
    public static QuantBuildException Exhausted(Exception cause)
    {
        bool isHost = HostExhaustions.Any(text => cause.Message.Contains(text, StringComparison.Ordinal));
        return new QuantBuildException(
            DiagnosticIds.GpuMemoryExhausted,
            $"The memory of {(isHost ? "this machine" : "the device")} ran out, and no smaller batch is left to try. Torch says: {cause.Message.Split('\n')[0]} " +
            $"{(isHost ? "End other programs, or quantize on a machine with more memory." : "End other programs that use the GPU, take one with more memory, or set QuantBuildDevice (or --device) to cpu.")} " +
            "The layers that are done are kept.",
            cause);
    }

    /// <summary>Computes all of something in pieces.</summary>
    /// <param name="count">How many there are.</param>
    /// <param name="tokens">Tokens of one: a window's, or 1.</param>
    /// <param name="compute">Computes some, from the first, so many; a tensor that it returns is to be moved out of its dispose scope, or detached.</param>
    /// <returns>What it gave, in order: one, where there was memory enough.</returns>
    /// <exception cref="QuantBuildException">QB1056: there is no memory for one alone.</exception>
    public List<T> InPieces<T>(long count, long tokens, Func<long, long, T> compute)
    {
        List<T> made = [];
        for (long first = 0; first < count;)
        {
            long piece = Math.Clamp(Interlocked.Read(ref most) / tokens, 1, count - first);
            try
            {
                using DisposeScope scope = torch.NewDisposeScope();
                made.Add(compute(first, piece));
                first += piece;
            }
            catch (Exception e) when (IsExhausted(e))
            {
                if (piece == 1) throw Exhausted(e);
                Lower(piece / 2 * tokens);
            }
        }

        return made;
    }

    private void Lower(long tokens)
    {
        lock (gate)
        {
            // Another thread may have seen the same.
            if (tokens >= most) return;
            most = tokens;
            // Here, so that what several threads say comes in its order.
            inform($"the memory of {name} ran out: it gets {tokens:N0} tokens at a time from here on");
        }
    }
}
