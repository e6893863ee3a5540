using System.Runtime.ExceptionServices;
using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// Runs steps of torch side by side and takes their results in order. Torch itself computes each on one thread: how it divides a product or a sum among
/// threads changes the bits, and an artifact's bytes must not depend on the number of processors.
/// </summary>
internal static class OrderedSteps
{
    /// <summary>Runs steps that do not depend on each other.</summary>
    /// <param name="count">How many.</param>
    /// <param name="step">One of them, by its number; what it makes in torch is freed after it.</param>
    /// <param name="cancellationToken">Looked at between steps.</param>
    public static void Run(int count, Action<int> step, CancellationToken cancellationToken = default) =>
        SideBySide(count, Environment.ProcessorCount, step, cancellationToken);

    /// <summary>Runs steps that do not depend on each other, and takes the result of each, in order, on this thread.</summary>
    /// <param name="count">How many.</param>
    /// <param name="atOnce">How many at most at the same time: their results and what they need in between are in memory together.</param>
    /// <param name="step">One of them, by its number; a tensor that it returns is to be detached from its dispose scope.</param>
    /// <param name="take">Receives the results.</param>
    /// <param name="cancellationToken">Looked at between steps.</param>
    public static void Run<T>(int count, int atOnce, Func<int, T> step, Action<int, T> take, CancellationToken cancellationToken)
    {
        int width = Math.Clamp(atOnce, 1, Environment.ProcessorCount);
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
        try
        {
            ParallelOptions options = new() { MaxDegreeOfParallelism = width, CancellationToken = cancellationToken };
            Parallel.For(0, count, options, index =>
            {
                using IDisposable noGradient = torch.no_grad();
                using DisposeScope scope = torch.NewDisposeScope();
                step(index);
            });
        }
        catch (AggregateException e)
        {
            // Errors that the user is told of first; then whatever came first.
            ExceptionDispatchInfo.Throw(e.InnerExceptions.OfType<QuantBuildException>().FirstOrDefault() ?? e.InnerExceptions[0]);
        }
    }
}
