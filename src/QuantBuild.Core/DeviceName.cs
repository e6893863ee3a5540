using System.Globalization;

namespace QuantBuild;

/// <summary>How the device that quantizes is written: <c>auto</c>, <c>cpu</c>, <c>cuda</c>, <c>cuda:N</c> with the number of a GPU, <c>cuda:N+M</c> with those of several, or <c>cuda:all</c>.</summary>
/// <remarks>Numbers are joined by a plus sign: a comma ends a property on MSBuild's command line.</remarks>
public static class DeviceName
{
    /// <summary>A GPU where one can be used, else the CPU.</summary>
    public const string Auto = "auto";

    /// <summary>The CPU.</summary>
    public const string Cpu = "cpu";

    /// <summary>A GPU.</summary>
    public const string Cuda = "cuda";

    /// <summary>All GPUs that can be used.</summary>
    public const string AllCuda = "cuda:all";

    private const string Numbered = "cuda:";
    private const char Join = '+';

    /// <summary>Reads a device.</summary>
    /// <param name="text">What is written; neither case nor spaces around it matter.</param>
    /// <param name="name">What that is in lower case.</param>
    /// <param name="numbers">The numbers of GPUs; none where it names none.</param>
    /// <returns>Whether it is a device.</returns>
    public static bool TryRead(string text, out string name, out IReadOnlyList<int> numbers)
    {
        name = text.Trim().ToLowerInvariant();
        List<int> read = [];
        numbers = read;
        if (name is Auto or Cpu or Cuda or AllCuda) return true;
        if (!name.StartsWith(Numbered, StringComparison.Ordinal)) return false;
        foreach (string part in name.Substring(Numbered.Length).Split(Join))
        {
            if (!int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out int number) || read.Contains(number)) return false;
            read.Add(number);
        }

        return true;
    }

    /// <summary>How GPUs are written.</summary>
    public static string Of(IEnumerable<int> numbers) => Numbered + string.Join(Join.ToString(), numbers.Select(number => number.ToString(CultureInfo.InvariantCulture)));

    /// <summary>What a misspelled device was probably meant to be, as <see cref="NearestName.Hint"/> says it.</summary>
    public static string Hint(string text)
    {
        // Its letters are nearer to cpu.
        string written = text.Trim().ToLowerInvariant().Replace("gpu", Cuda);
        string number = new([.. written.Where(char.IsDigit)]);
        return NearestName.Hint(written, number.Length > 0 ? [Numbered + number] : [Auto, Cpu, Cuda]);
    }
}
