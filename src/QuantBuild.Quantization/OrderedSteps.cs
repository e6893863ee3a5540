using System.Runtime.ExceptionServices;
using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// Runs steps of torch side by side and takes their results in order. Torch itself computes each on one thread: how it divides a product or a sum among
/// threads changes the bits, and an artifact's bytes must not depend on the number of processors.
/// </summary>
/// <remarks>A GPU divides a step among its own threads: there, one step follows the other on this thread, and the fewer and larger they are the better.</remarks>
internal static class OrderedSteps
{
    /// <summary>How many steps run side by side on a device.</summary>
    public static int AtOnce(torch.Device device) => device.type == DeviceType.CPU ? Environment.ProcessorCount : 1;

    /// <summary>How many of some rows one step computes on a device: on a CPU so many that there are steps for each processor, on a GPU all.</summary>
    /// <param name="device">Where.</param>
    /// <param name="rows">How many on a CPU.</param>
    /// <param name="all">All of them.</param>
    public static int Rows(torch.Device device, int rows, int all) => device.type == DeviceType.CPU ? rows : Math.Max(1, all);

    /// <summary>Runs steps that do not depend on each other.</summary>
    /// <param name="device">Where they compute.</param>
    /// <param name="count">How many.</param>
    /// <param name="step">One of them, by its number; what it makes in torch is freed after it.</param>
    /// <param name="cancellationToken">Looked at between steps.</param>
    public static void Run(torch.Device device, int count, Action<int> step, CancellationToken cancellationToken = default) =>
        SideBySide(count, AtOnce(device), step, cancellationToken);

    /// <summary>Runs steps that do not depend on each other, and takes the result of each, in order, on this thread.</summary>
    /// <param name="device">Where they compute: results of so many at most, and what they need in between, are in memory together as run side by side there.</param>
    /// <param name="count">How many.</param>
    /// <param name="step">One of them, by its number; a tensor that it returns is to be detached from its dispose scope.</param>
    /// <param name="take">Receives the results.</param>
    /// <param name="cancellationToken">Looked at between steps.</param>
    public static void Run<T>(torch.Device device, int count, Func<int, T> step, Action<int, T> take, CancellationToken cancellationToken)
    {
        int width = AtOnce(device);
        for (int first = 0; first < count; first += width)
        {
            cancellationToken.ThrowIfCancellationRequested();
            T[] results = new T[Math.Min(width, count - first)];
            try
            {
                SideBySide(results.Length, width, i => results[i] = step(first + i), cancellationToken);
            }
            catch
            {
                foreach (IDisposable made in results.OfType<IDisposable>()) made.Dispose();
                throw;
            }

            for (int i = 0; i < results.Length; i++) take(first + i, results[i]);
        }
    }

    // Whether gradients are kept, and what a dispose scope frees, torch knows for each thread.
    private static void SideBySide(int count, int width, Action<int> step, CancellationToken cancellationToken)
    {
        if (width == 1)
        {
            for (int index = 0; index < count; index++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                Step(index);
            }

            return;
        }

        try
        {
            ParallelOptions options = new() { MaxDegreeOfParallelism = width, CancellationToken = cancellationToken };
            Parallel.For(0, count, options, Step);
        }
        catch (AggregateException e)
        {
            // Errors that the user is told of first; then whatever came first.
            ExceptionDispatchInfo.Throw(e.InnerExceptions.OfType<QuantBuildException>().FirstOrDefault() ?? e.InnerExceptions[0]);
        }

        void Step(int index)
        {
            using IDisposable noGradient = torch.no_grad();
            using DisposeScope scope = torch.NewDisposeScope();
            step(index);
        }
    }
}
