namespace QuantBuild.Core.Tests;

internal static class ErrorAssert
{
    /// <summary>The code throws the error of an id, and its message has all of the given parts.</summary>
    public static QuantBuildException Throws(string id, Action code, params string[] parts)
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(code);
        Assert.Equal(id, error.Id);
        Assert.Equal(DiagnosticIds.HelpLink(id), error.HelpLink);
        Assert.All(parts, part => Assert.Contains(part, error.Message, StringComparison.Ordinal));
        return error;
    }
}
