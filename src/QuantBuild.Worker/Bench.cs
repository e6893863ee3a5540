using System.Diagnostics;
using QuantBuild.Kernels;
using QuantBuild.Worker.Reporting;

namespace QuantBuild.Worker;

/// <summary>How fast an artifact runs on this machine.</summary>
internal sealed record Bench
{
    /// <summary>Contexts that are measured where none is named, as far as the model has them.</summary>
    public static readonly int[] Contexts = [1, 128, 512, 2048];

    // Steps of a text after its prompt: few, so that they are at the context that the row names.
    private const int StepsOfText = 16;
    private const double WarmUpSeconds = 0.5;

    /// <summary>The file, as it was named.</summary>
    public required string Path { get; init; }

    /// <summary>The processor.</summary>
    public required string Processor { get; init; }

    /// <summary>The instructions that the kernels multiply with.</summary>
    public required string Instructions { get; init; }

    /// <summary>Threads that computed.</summary>
    public required int Threads { get; init; }

    /// <summary>Seconds to load the artifact: to map it, to check its header and to read its tokenizer.</summary>
    public required double LoadSeconds { get; init; }

    /// <summary>Seconds of the first token after that: code is compiled, and the weights come from the disk where they are not in memory yet.</summary>
    public required double FirstTokenSeconds { get; init; }

    /// <summary>Resident memory of the process before the model was loaded.</summary>
    public required long BaseBytes { get; init; }

    /// <summary>Resident memory after the last row.</summary>
    public required long ResidentBytes { get; init; }

    /// <summary>What computed: a GPU, or the processor, and why.</summary>
    public required ModelPlacement Placement { get; init; }

    /// <summary>What was measured at each context.</summary>
    public required IReadOnlyList<BenchRow> Rows { get; init; }

    /// <summary>Measures in this process, which should have done nothing before.</summary>
    /// <param name="path">The artifact.</param>
    /// <param name="threads">Processor threads; 0 is all cores.</param>
    /// <param name="device">What runs the model, as <see cref="LoadOptions.Device"/> has it.</param>
    /// <param name="context">Tokens that a text may have, as <see cref="LoadOptions.ContextLength"/> has it.</param>
    /// <param name="contexts">Tokens before the ones that are decoded; <see langword="null"/> is <see cref="Contexts"/>.</param>
    /// <param name="seconds">How long to measure at each context.</param>
    /// <param name="cancellationToken">Looked at in each step.</param>
    /// <exception cref="QuantBuildException">QB4001, QB4002: the artifact. QB4006: the model has no such context, threads are negative, or the device is none. QB1070 to QB1072: the GPU.</exception>
    public static Bench Run(string path, int threads, string device, int? context, IReadOnlyList<int>? contexts, double seconds, CancellationToken cancellationToken)
    {
        long baseBytes = MeasureRun.ResidentBytes(), start = Stopwatch.GetTimestamp();
        using LanguageModel model = LanguageModel.Load(path, new LoadOptions { Threads = threads, Device = device, ContextLength = context });
        double load = Stopwatch.GetElapsedTime(start).TotalSeconds;
        int longest = model.ContextLength - StepsOfText;
        if (longest < 1)
        {
            throw new QuantBuildException(
                DiagnosticIds.OptionInvalid, $"The model has a context of {model.ContextLength}, expected at least {StepsOfText + 1}: {StepsOfText} tokens are decoded after each length. Set --context to more, or leave it out.");
        }

        contexts ??= [.. Contexts.Where(length => length <= longest)];
        if (contexts.Where(length => length < 1 || length > longest).ToArray() is { Length: > 0 } wrong)
        {
            throw new QuantBuildException(
                DiagnosticIds.OptionInvalid, $"--contexts has {wrong[0]}, expected 1 to {longest}: the model has a context of {model.ContextLength}, and {StepsOfText} tokens are decoded after each.");
        }

        double first = model.StepSeconds([MeasureRun.FirstToken(model)]).First();
        // The first row is as good as the others only once all code, that for prompts too, is compiled in its final form.
        foreach (int length in (int[])[contexts.Max(), contexts.Min()]) BenchRow.Measure(model, length, StepsOfText, WarmUpSeconds, cancellationToken);
        BenchRow[] rows = [.. contexts.Select(length => BenchRow.Measure(model, length, StepsOfText, seconds, cancellationToken))];
        return new Bench
        {
            Path = path,
            Processor = Reporting.Processor.Name,
            Instructions = PackedKernels.Instructions,
            Threads = threads == 0 ? Environment.ProcessorCount : threads,
            LoadSeconds = load,
            FirstTokenSeconds = first,
            BaseBytes = baseBytes,
            ResidentBytes = MeasureRun.ResidentBytes(),
            Placement = model.Placement,
            Rows = rows,
        };
    }
}

/// <summary>What was measured at a context.</summary>
/// <param name="Context">Tokens of the prompt.</param>
/// <param name="PromptTokensPerSecond">Tokens of the prompt over the median of its seconds; none of a prompt of one token.</param>
/// <param name="DecodeTokensPerSecond">One over the median of the seconds of a token after the prompt.</param>
/// <param name="Prompts">Prompts that were measured.</param>
/// <param name="Steps">Tokens that were measured.</param>
internal sealed record BenchRow(int Context, double? PromptTokensPerSecond, double DecodeTokensPerSecond, int Prompts, int Steps)
{
    /// <summary>Measures until the seconds are spent, and one text at least.</summary>
    public static BenchRow Measure(LanguageModel model, int context, int stepsOfText, double seconds, CancellationToken cancellationToken)
    {
        // Tokens that differ, so that no part of the work is done once for all.
        const int stride = 7919;
        int first = MeasureRun.FirstToken(model);
        int[] prompt = [first, .. Enumerable.Range(1, context - 1).Select(i => (int)((first + ((long)i * stride)) % model.Config.VocabularySize))];
        List<double> prompts = [], steps = [];
        do
        {
            foreach ((int index, double step) in model.StepSeconds(prompt).Take(1 + stepsOfText).Index())
            {
                cancellationToken.ThrowIfCancellationRequested();
                (index == 0 ? prompts : steps).Add(step);
            }
        }
        while (prompts.Sum() + steps.Sum() < seconds);

        return new BenchRow(context, context > 1 ? context / MeasureRun.Median(prompts) : null, 1 / MeasureRun.Median(steps), prompts.Count, steps.Count);
    }
}
