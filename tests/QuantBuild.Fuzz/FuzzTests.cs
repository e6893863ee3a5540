namespace QuantBuild.Fuzz;

/// <summary>A minute of changed inputs, shared out among the parsers. The first of them are the same in every run.</summary>
public sealed class FuzzTests
{
    private static readonly TimeSpan Minute = TimeSpan.FromSeconds(60);

    public static TheoryData<string> Names { get; } = [.. Targets.All.Select(target => target.Name)];

    [Theory]
    [MemberData(nameof(Names))]
    public void Changed_inputs_are_read_or_refused_as_documented_without_hanging_or_filling_memory(string name)
    {
        FuzzTarget target = Targets.All.Single(target => target.Name == name);
        FuzzRun run = new(target, seed: 20240607);
        run.Run(Minute / Targets.All.Count, Path.Combine(Path.GetTempPath(), "quantbuild-fuzz-findings"));
        Assert.True(run.Findings.Count == 0, string.Join("\n\n", run.Findings));
        // A target that refuses all at its first byte tests nothing.
        if (target.Refuses) Assert.True(run.DistinctOutcomes > 5, $"only {run.DistinctOutcomes} different outcomes");
    }
}
