using System.Globalization;

namespace QuantBuild;

/// <summary>How a device is written: <c>auto</c>, <c>cpu</c>, <c>cuda</c>, or <c>cuda:N</c> with the number of a GPU.</summary>
public static class DeviceName
{
    /// <summary>Reads a device.</summary>
    /// <param name="text">What is written; neither case nor spaces around it matter.</param>
    /// <param name="name">What that is in lower case.</param>
    /// <param name="index">The number of the GPU; 0 for <c>cuda</c> alone, and where no GPU is meant.</param>
    /// <returns>Whether it is a device.</returns>
    public static bool TryRead(string text, out string name, out int index)
    {
        const string numbered = "cuda:";
        name = text.Trim().ToLowerInvariant();
        index = 0;
        return name is "auto" or "cpu" or "cuda"
            || (name.StartsWith(numbered, StringComparison.Ordinal) && int.TryParse(name.Substring(numbered.Length), NumberStyles.None, CultureInfo.InvariantCulture, out index));
    }

    /// <summary>What a misspelled device was probably meant to be, as <see cref="NearestName.Hint"/> says it.</summary>
    public static string Hint(string text)
    {
        // Its letters are nearer to cpu.
        string written = text.Trim().ToLowerInvariant().Replace("gpu", "cuda");
        string number = new([.. written.Where(char.IsDigit)]);
        return NearestName.Hint(written, number.Length > 0 ? ["cuda:" + number] : ["auto", "cpu", "cuda"]);
    }
}
