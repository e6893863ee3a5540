using System.Diagnostics;

namespace QuantBuild.Worker;

/// <summary>Measures what it takes to run an artifact: decodes a text with the runtime, as a program would.</summary>
internal static class MeasureRun
{
    // Until code is compiled in its final form and the weights are in memory.
    private const double WarmUpSeconds = 0.8;

    // As many steps as a steady median needs; fewer of a model that takes long for each.
    private const int MostSteps = 128;
    private const int LeastSteps = 4;
    private const double MostSeconds = 3;

    /// <summary>Measures in this process, which should have done nothing before.</summary>
    public static RuntimeMeasurement Measure(string artifactPath, CancellationToken cancellationToken)
    {
        long baseBytes = ResidentBytes();
        using LanguageModel model = LanguageModel.Load(artifactPath);
        int first = model.Config.BosTokenId is { } bos && bos < model.Config.VocabularySize ? bos : 0;
        for (double warm = 0; warm < WarmUpSeconds;)
        {
            foreach (double step in model.StepSeconds([first]).Take(MostSteps))
            {
                cancellationToken.ThrowIfCancellationRequested();
                warm += step;
                if (warm >= WarmUpSeconds) break;
            }
        }

        List<double> seconds = [];
        foreach (double step in model.StepSeconds([first]))
        {
            cancellationToken.ThrowIfCancellationRequested();
            seconds.Add(step);
            if (seconds.Count == MostSteps || (seconds.Count >= LeastSteps && seconds.Sum() > MostSeconds)) break;
        }

        return new RuntimeMeasurement(1 / Median(seconds), seconds.Count, Environment.ProcessorCount, baseBytes, ResidentBytes());
    }

    /// <summary>Measures in a process of its own.</summary>
    /// <returns>What was measured, or why nothing was.</returns>
    public static (RuntimeMeasurement? Measured, string? WhyNot) InOwnProcess(string artifactPath, CancellationToken cancellationToken)
    {
        RuntimeMeasurement? measured = null;
        string? error = null;
        (int exitCode, string said) = SelfProcess.Run(
            ["measure", artifactPath],
            line =>
            {
                WorkerMessage? message = WorkerMessage.TryParse(line);
                if (message is { Kind: WorkerMessageKind.Done }) measured = RuntimeMeasurement.TryParse(message.Text);
                if (message is { Kind: WorkerMessageKind.Error }) error = message.Text;
            },
            cancellationToken);
        return measured is not null ? (measured, null) : (null, error ?? $"the process that measures ended with exit code {exitCode}. {said}".TrimEnd());
    }

    private static long ResidentBytes()
    {
        using Process process = Process.GetCurrentProcess();
        return process.WorkingSet64;
    }

    private static double Median(List<double> values)
    {
        double[] sorted = [.. values.Order()];
        int middle = sorted.Length / 2;
        return sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }
}
