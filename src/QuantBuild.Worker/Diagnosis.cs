namespace QuantBuild.Worker;

/// <summary>What a check came to.</summary>
internal enum CheckStatus
{
    /// <summary>As it should be.</summary>
    Ok,

    /// <summary>It works, and something should be looked at.</summary>
    Warning,

    /// <summary>Something does not work.</summary>
    Problem,
}

/// <summary>Whether a machine can build and run models.</summary>
/// <param name="IsHealthy">Whether there is no problem.</param>
/// <param name="Checks">What was looked at.</param>
internal sealed record Diagnosis(bool IsHealthy, IReadOnlyList<Check> Checks);

/// <summary>Something that was looked at.</summary>
/// <param name="Name">What.</param>
/// <param name="Status">What it came to.</param>
/// <param name="Found">What was found.</param>
/// <param name="Advice">What to do, where there is something to do.</param>
internal sealed record Check(string Name, CheckStatus Status, string Found, string? Advice = null)
{
    /// <summary>Judges a quantity of which there can be too little.</summary>
    public static Check Enough(string name, long? bytes, long few, long tooFew, string found, string advice) =>
        bytes is null || bytes >= few ? new Check(name, CheckStatus.Ok, found) : new Check(name, bytes < tooFew ? CheckStatus.Problem : CheckStatus.Warning, found, advice);
}
