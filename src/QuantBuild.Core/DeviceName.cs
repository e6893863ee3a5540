using System.Globalization;

namespace QuantBuild;

/// <summary>How the device that quantizes is written: <c>auto</c>, <c>cpu</c>, <c>cuda</c>, or <c>cuda:N</c> with the number of a GPU.</summary>
public static class DeviceName
{
    /// <summary>A GPU where one can be used, else the CPU.</summary>
    public const string Auto = "auto";

    /// <summary>The CPU.</summary>
    public const string Cpu = "cpu";

    /// <summary>A GPU.</summary>
    public const string Cuda = "cuda";

    private const string Numbered = "cuda:";

    /// <summary>Reads a device.</summary>
    /// <param name="text">What is written; neither case nor spaces around it matter.</param>
    /// <param name="name">What that is in lower case.</param>
    /// <param name="number">The number of a GPU; <see langword="null"/> where it names none.</param>
    /// <returns>Whether it is a device.</returns>
    public static bool TryRead(string text, out string name, out int? number)
    {
        name = text.Trim().ToLowerInvariant();
        number = null;
        if (name is Auto or Cpu or Cuda) return true;
        if (!name.StartsWith(Numbered, StringComparison.Ordinal) || !int.TryParse(name.Substring(Numbered.Length), NumberStyles.None, CultureInfo.InvariantCulture, out int read)) return false;
        number = read;
        return true;
    }

    /// <summary>How a GPU is written.</summary>
    public static string Of(int number) => Numbered + number.ToString(CultureInfo.InvariantCulture);

    /// <summary>What a misspelled device was probably meant to be, as <see cref="NearestName.Hint"/> says it.</summary>
    public static string Hint(string text)
    {
        // Its letters are nearer to cpu.
        string written = text.Trim().ToLowerInvariant().Replace("gpu", Cuda);
        string number = new([.. written.Where(char.IsDigit)]);
        return NearestName.Hint(written, number.Length > 0 ? [Numbered + number] : [Auto, Cpu, Cuda]);
    }
}
