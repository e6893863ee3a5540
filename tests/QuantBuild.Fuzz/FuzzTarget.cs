namespace QuantBuild.Fuzz;

/// <summary>A parser that reads files of others, and what it may answer.</summary>
/// <param name="Name">What is read.</param>
/// <param name="FileName">The name that the input has as a file.</param>
/// <param name="Seeds">Valid inputs.</param>
/// <param name="Read">Reads an input, given its path and its bytes.</param>
/// <param name="IsText">Whether inputs are JSON or another text.</param>
/// <param name="Wrap">Makes the file of what is changed, where changing the file itself would seldom get past its first bytes.</param>
internal sealed record FuzzTarget(
    string Name, string FileName, IReadOnlyList<byte[]> Seeds, Action<string, byte[]> Read, bool IsText = false, Func<byte[], byte[]>? Wrap = null)
{
    /// <summary>Exceptions that the parser documents besides <see cref="QuantBuildException"/>.</summary>
    public IReadOnlyList<Type> Documented { get; init; } = [];

    /// <summary>Whether some inputs are refused. What a model writes never is: a call that is none is text.</summary>
    public bool Refuses { get; init; } = true;
}
