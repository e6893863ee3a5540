namespace QuantBuild;

/// <summary>The hub could not be asked, or said that it cannot answer now: asking again may help.</summary>
/// <param name="reason">What went wrong.</param>
/// <param name="cause">The exception that led here, if any.</param>
internal sealed class HubTransferException(string reason, Exception? cause = null) : Exception(reason, cause)
{
    /// <summary>How long the hub wants to be left alone, where it said so.</summary>
    public TimeSpan? Wait { get; init; }

    /// <summary>Whether it is the number of requests that the hub is tired of.</summary>
    public bool IsRateLimit { get; init; }
}
