using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;

namespace QuantBuild.Worker;

/// <summary>Measures what it takes to run an artifact: decodes a text with the runtime, as a program would.</summary>
internal static class MeasureRun
{
    /// <summary>Seconds of decoding that are enough for one artifact's report.</summary>
    public const double ForReport = 0.5;

    /// <summary>Seconds of decoding that even out what else the machine does, where figures are compared.</summary>
    public const double ForComparison = 1;

    // Until code is compiled in its final form and the weights are in memory.
    private const double WarmUpSeconds = 0.5;

    // A text is begun anew before its cache decides the time; a model that takes long for each step has few of them.
    private const int StepsOfText = 128;
    private const int LeastSteps = 4;

    /// <summary>Measures in this process, which should have done nothing before.</summary>
    /// <param name="artifactPath">The artifact.</param>
    /// <param name="seconds">How long to decode, after a warm-up.</param>
    /// <param name="cancellationToken">Looked at in each step.</param>
    public static RuntimeMeasurement Measure(string artifactPath, double seconds, CancellationToken cancellationToken)
    {
        long baseBytes = ResidentBytes();
        using LanguageModel model = LanguageModel.Load(artifactPath, new LoadOptions { Device = "cpu" });
        Decode(model, WarmUpSeconds, leastSteps: 1, cancellationToken);
        List<double> steps = Decode(model, seconds, LeastSteps, cancellationToken);
        return new RuntimeMeasurement(1 / Median(steps), steps.Count, Environment.ProcessorCount, baseBytes, ResidentBytes());
    }

    /// <summary>Measures in a process of its own.</summary>
    /// <returns>What was measured, or why nothing was.</returns>
    /// <inheritdoc cref="Measure"/>
    public static (RuntimeMeasurement? Measured, string? WhyNot) InOwnProcess(string artifactPath, double seconds, CancellationToken cancellationToken)
    {
        RuntimeMeasurement? measured = null;
        string? error = null;
        try
        {
            (int exitCode, string said) = SelfProcess.Run(
                ["measure", artifactPath, "--seconds", seconds.ToString(CultureInfo.InvariantCulture)],
                line =>
                {
                    WorkerMessage? message = WorkerMessage.TryParse(line);
                    if (message is { Kind: WorkerMessageKind.Done }) measured = RuntimeMeasurement.TryParse(message.Text);
                    if (message is { Kind: WorkerMessageKind.Error }) error = message.Text;
                },
                cancellationToken);
            return measured is not null ? (measured, null) : (null, error ?? $"the process that measures ended with exit code {exitCode}. {said}".TrimEnd());
        }
        catch (Win32Exception e)
        {
            // Hours of quantizing must not be lost for want of a figure.
            return (null, $"the process that measures did not start: {e.Message}");
        }
    }

    /// <summary>The token that texts begin with; any, where the model names none.</summary>
    public static int FirstToken(LanguageModel model) => model.Config.BosTokenId is { } bos && bos < model.Config.VocabularySize ? bos : 0;

    /// <summary>Decodes texts until the seconds are spent, and gives those of each step.</summary>
    private static List<double> Decode(LanguageModel model, double seconds, int leastSteps, CancellationToken cancellationToken)
    {
        int first = FirstToken(model);
        List<double> steps = [];
        double spent = 0;
        while (true)
        {
            foreach (double step in model.StepSeconds([first]).Take(StepsOfText))
            {
                cancellationToken.ThrowIfCancellationRequested();
                steps.Add(step);
                spent += step;
                if (spent >= seconds && steps.Count >= leastSteps) return steps;
            }
        }
    }

    /// <summary>Memory of this process that is in use: pages of mapped files that were touched count.</summary>
    public static long ResidentBytes()
    {
        using Process process = Process.GetCurrentProcess();
        return process.WorkingSet64;
    }

    /// <summary>The median.</summary>
    public static double Median(IReadOnlyCollection<double> values)
    {
        double[] sorted = [.. values.Order()];
        int middle = sorted.Length / 2;
        return sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }
}
