namespace QuantBuild;

/// <summary>How a device is written: <c>auto</c>, <c>cpu</c>, <c>cuda</c>, or <c>cuda:N</c> with the number of a GPU.</summary>
public static class DeviceName
{
    /// <summary>What a misspelled device was probably meant to be, as <see cref="NearestName.Hint"/> says it.</summary>
    public static string Hint(string text)
    {
        // Its letters are nearer to cpu.
        string written = text.Trim().ToLowerInvariant().Replace("gpu", "cuda");
        string number = new([.. written.Where(char.IsDigit)]);
        return NearestName.Hint(written, number.Length > 0 ? ["cuda:" + number] : ["auto", "cpu", "cuda"]);
    }
}
