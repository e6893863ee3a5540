namespace QuantBuild.Chat;

/// <summary>
/// Turns of loops and calls of macros while a template writes, on the thread that it writes on: loops within loops could go on for years. A template of a long conversation has some thousands.
/// </summary>
internal static class TemplateSteps
{
    /// <summary>The most of one text.</summary>
    public const int Most = 10_000_000;

    [ThreadStatic]
    private static int taken;

    /// <summary>Begins to count.</summary>
    public static void Begin() => taken = 0;

    /// <summary>One more.</summary>
    /// <exception cref="QuantBuildException">QB4013: there were too many.</exception>
    public static void Take()
    {
        if (++taken > Most) throw TemplateError.Of($"it goes on for more than {Most} turns of its loops");
    }
}
