namespace QuantBuild;

/// <summary>
/// An error that a user can act on. Every failure that a build or a program can meet is one of these: an id with a page under
/// <c>docs/diagnostics</c>, and a message that says what happened, the expected and the actual value, and what to do.
/// </summary>
public class QuantBuildException : Exception
{
    /// <summary>Creates the error.</summary>
    /// <param name="id">One of <see cref="DiagnosticIds"/>.</param>
    /// <param name="message">What happened, the expected and the actual value, why, and what to do.</param>
    /// <param name="innerException">The exception that led here, if any.</param>
    public QuantBuildException(string id, string message, Exception? innerException = null)
        : base(message, innerException)
    {
        Id = id;
        HelpLink = DiagnosticIds.HelpLink(id);
    }

    /// <summary>The diagnostic id, such as <c>QB2003</c>.</summary>
    public string Id { get; }
}
