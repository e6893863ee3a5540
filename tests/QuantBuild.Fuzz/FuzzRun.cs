using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace QuantBuild.Fuzz;

/// <summary>Gives a parser changed inputs for some time, and holds it to what it may do: read them, or refuse them by a documented exception, in little time and memory.</summary>
/// <param name="target">The parser.</param>
/// <param name="seed">Where chance begins.</param>
internal sealed class FuzzRun(FuzzTarget target, int seed)
{
    // A machine may be busy: a hang is one also there.
    private static readonly TimeSpan LongestRead = TimeSpan.FromSeconds(120);

    // An input has at most 128 KiB. What a parser makes of it all together, garbage too.
    private const long MostBytes = 256 << 20;

    // A busy machine gets no further in seconds, and less would say nothing.
    private const int LeastExecutions = 100;

    private readonly HashSet<string> outcomes = new(StringComparer.Ordinal);
    private long started;

    /// <summary>How many inputs were read.</summary>
    public long Executions { get; private set; }

    /// <summary>How many of them were valid.</summary>
    public long Accepted { get; private set; }

    /// <summary>Different things that happened: valid, or an exception by its id and its message without numbers and names.</summary>
    public int DistinctOutcomes => outcomes.Count;

    /// <summary>The most bytes that reading one input has made.</summary>
    public long MostAllocated { get; private set; }

    /// <summary>The longest time that one input took.</summary>
    public TimeSpan Longest { get; private set; }

    /// <summary>What the parser should not have done, each with the input's file.</summary>
    public List<string> Findings { get; } = [];

    /// <summary>Runs.</summary>
    /// <param name="duration">For how long.</param>
    /// <param name="findings">Where inputs go that were badly handled.</param>
    public void Run(TimeSpan duration, string findings)
    {
        string folder = Directory.CreateTempSubdirectory("quantbuild-fuzz-").FullName;
        string path = Path.Combine(folder, target.FileName);
        Mutator mutator = new(new Random(seed));
        Stopwatch clock = Stopwatch.StartNew();
        // A parser that hangs cannot be stopped: its input is on disk, and the process ends.
        using Timer watch = new(_ =>
        {
            long since = Interlocked.Read(ref started);
            if (since != 0 && Stopwatch.GetElapsedTime(since) > LongestRead) Environment.FailFast($"{target.Name} has read for {LongestRead.TotalSeconds} s: {path}");
        }, null, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(1));

        // The first inputs are the valid ones themselves: a target whose seeds are refused would test nothing.
        foreach (byte[] valid in target.Seeds) Execute(path, target.Wrap?.Invoke(valid) ?? valid, findings);
        if (Accepted == 0) Findings.Add($"{target.Name}: none of its valid inputs is read ({string.Join("; ", outcomes)})");
        while (clock.Elapsed < duration || Executions < LeastExecutions)
        {
            byte[] input = mutator.Next(target.Seeds, target.IsText);
            Execute(path, target.Wrap?.Invoke(input) ?? input, findings);
        }

        Directory.Delete(folder, recursive: true);
    }

    private void Execute(string path, byte[] input, string findings)
    {
        File.WriteAllBytes(path, input);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Interlocked.Exchange(ref started, Stopwatch.GetTimestamp());
        string outcome = "read";
        Exception? wrong = null;
        try
        {
            target.Read(path, input);
            Accepted++;
        }
        catch (Exception e)
        {
            outcome = $"{e.GetType().Name} {(e as QuantBuildException)?.Id} {Shape(e.Message)}";
            if (e is not QuantBuildException && !target.Documented.Contains(e.GetType())) wrong = e;
        }

        TimeSpan took = Stopwatch.GetElapsedTime(Interlocked.Exchange(ref started, 0));
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Executions++;
        Longest = took > Longest ? took : Longest;
        MostAllocated = Math.Max(MostAllocated, allocated);
        bool isNew = outcomes.Add(outcome);
        string? finding = wrong is not null ? isNew ? wrong.ToString() : null
            : allocated > MostBytes ? string.Create(CultureInfo.InvariantCulture, $"{allocated:N0} bytes were allocated for an input of {input.Length:N0}")
            : null;
        if (finding is null) return;
        Directory.CreateDirectory(findings);
        string kept = Path.Combine(findings, $"{target.Name.Replace(' ', '-')}-{seed}-{Executions}-{target.FileName}");
        File.WriteAllBytes(kept, input);
        Findings.Add($"{target.Name}: {kept}: {finding}");
    }

    /// <summary>A message without what differs from input to input: numbers, and what is in quotes or after a name.</summary>
    private static string Shape(string message)
    {
        StringBuilder shape = new();
        bool quoted = false;
        foreach (char c in message)
        {
            if (c is '"' or '\'') quoted = !quoted;
            else if (!quoted && c < 128 && (char.IsAsciiLetter(c) || c is ' ')) shape.Append(c);
            if (shape.Length == 120) break;
        }

        return shape.ToString();
    }
}
