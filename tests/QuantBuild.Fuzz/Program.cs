using System.Globalization;
using QuantBuild.Fuzz;

// By hand: dotnet run --project tests/QuantBuild.Fuzz -- [--minutes N] [--seed N] [--only NAME]. Prints a row of docs/reliability.md for each parser.
string? Option(string name) => Array.IndexOf(args, name) is >= 0 and int at && at + 1 < args.Length ? args[at + 1] : null;
double minutes = double.Parse(Option("--minutes") ?? "10", CultureInfo.InvariantCulture);
int seed = int.Parse(Option("--seed") ?? "1", CultureInfo.InvariantCulture);
FuzzTarget[] targets = [.. Targets.All.Where(target => Option("--only") is not { } only || target.Name == only)];
string findings = Path.GetFullPath("fuzz-findings");
int found = 0;
Console.WriteLine("| parser | minutes | inputs | of them read | different outcomes | longest, ms | most allocated, MB | findings |");
Console.WriteLine("|---|---|---|---|---|---|---|---|");
foreach (FuzzTarget target in targets)
{
    TimeSpan time = TimeSpan.FromMinutes(minutes / targets.Length);
    FuzzRun run = new(target, seed);
    run.Run(time, findings);
    found += run.Findings.Count;
    Console.WriteLine(string.Create(
        CultureInfo.InvariantCulture,
        $"| {target.Name} | {time.TotalMinutes:F1} | {run.Executions:N0} | {run.Accepted:N0} | {run.DistinctOutcomes} | {run.Longest.TotalMilliseconds:F0} | {run.MostAllocated / 1e6:F1} | {run.Findings.Count} |"));
    foreach (string finding in run.Findings) Console.Error.WriteLine(finding);
}

return found == 0 ? 0 : 1;
