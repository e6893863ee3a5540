namespace QuantBuild;

/// <summary>What a misspelled name or value was probably meant to be.</summary>
public static class NearestName
{
    /// <summary>
    /// The name that is one slip away (two, if the text is long): a letter more, less, another, or two exchanged; in upper or lower case. <see langword="null"/> where there is none. Who writes another
    /// number means another thing: <c>Fp8</c> is no misspelled <c>Fp4</c>.
    /// </summary>
    /// <param name="text">What was written.</param>
    /// <param name="names">What there is.</param>
    public static string? Of(string text, IEnumerable<string> names)
    {
        string written = text.Trim().ToUpperInvariant();
        int allowed = written.Length >= 8 ? 2 : 1;
        return names
            .Where(name => Digits(name) == Digits(written))
            .Select(name => (Name: name, Slips: Distance(written, name.ToUpperInvariant())))
            .Where(candidate => candidate.Slips <= allowed)
            .OrderBy(candidate => candidate.Slips)
            .Select(candidate => candidate.Name).FirstOrDefault();
    }

    /// <summary>The same as a sentence to put into an error, with a blank before it; empty where there is none.</summary>
    public static string Hint(string text, IEnumerable<string> names) => Of(text, names) is { } name ? $" Probably {name} is meant." : "";

    private static string Digits(string text) => new([.. text.Where(char.IsDigit)]);

    // Optimal string alignment: insertions, deletions, replacements, and exchanges of neighbours.
    private static int Distance(string a, string b)
    {
        int[,] distance = new int[a.Length + 1, b.Length + 1];
        for (int i = 0; i <= a.Length; i++) distance[i, 0] = i;
        for (int j = 0; j <= b.Length; j++) distance[0, j] = j;
        for (int i = 1; i <= a.Length; i++)
        {
            for (int j = 1; j <= b.Length; j++)
            {
                int replaced = distance[i - 1, j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
                distance[i, j] = Math.Min(replaced, Math.Min(distance[i - 1, j], distance[i, j - 1]) + 1);
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) distance[i, j] = Math.Min(distance[i, j], distance[i - 2, j - 2] + 1);
            }
        }

        return distance[a.Length, b.Length];
    }
}
