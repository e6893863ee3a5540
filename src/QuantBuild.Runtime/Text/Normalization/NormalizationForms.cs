using System.Globalization;
using System.Text;

namespace QuantBuild.Text.Normalization;

/// <summary>
/// The normalization forms of Unicode (annex 15). .NET's own return every text as it is where globalization is invariant, as it is in small programs and containers
/// without ICU: tokens must not depend on that.
/// </summary>
internal static class NormalizationForms
{
    // Hangul syllables are composed by arithmetic (chapter 3.12).
    private const int SyllableBase = 0xAC00;
    private const int LeadBase = 0x1100;
    private const int VowelBase = 0x1161;
    private const int TrailBase = 0x11A7;
    private const int Leads = 19;
    private const int Vowels = 21;
    private const int Trails = 28;
    private const int Syllables = Leads * Vowels * Trails;

    private static readonly Lazy<Tables> Data = new(ReadTables);

    /// <summary>The combining class of a code point.</summary>
    public static int CombiningClass(int codePoint) => Data.Value.Classes.GetValueOrDefault(codePoint);

    /// <summary>A text in one of the forms.</summary>
    public static string Normalize(string text, NormalizationForm form)
    {
        if (Ascii.IsValid(text)) return text;
        List<int> codePoints = new(text.Length);
        bool compatible = form is NormalizationForm.FormKC or NormalizationForm.FormKD;
        foreach (Rune rune in text.EnumerateRunes()) Decompose(rune.Value, compatible, codePoints);
        Order(codePoints);
        if (form is NormalizationForm.FormC or NormalizationForm.FormKC) Compose(codePoints);
        StringBuilder result = new(text.Length);
        foreach (int codePoint in codePoints)
        {
            if (codePoint < 0x10000) result.Append((char)codePoint);
            else result.Append(char.ConvertFromUtf32(codePoint));
        }

        return result.ToString();
    }

    private static void Decompose(int codePoint, bool compatible, List<int> result)
    {
        if (codePoint < 0xA0)
        {
            result.Add(codePoint);
            return;
        }

        int syllable = codePoint - SyllableBase;
        if (syllable is >= 0 and < Syllables)
        {
            result.Add(LeadBase + (syllable / (Vowels * Trails)));
            result.Add(VowelBase + (syllable / Trails % Vowels));
            if (syllable % Trails > 0) result.Add(TrailBase + (syllable % Trails));
            return;
        }

        if (Data.Value.Canonical.TryGetValue(codePoint, out int[]? parts) || (compatible && Data.Value.Compatible.TryGetValue(codePoint, out parts)))
        {
            foreach (int part in parts) Decompose(part, compatible, result);
        }
        else
        {
            result.Add(codePoint);
        }
    }

    /// <summary>Puts marks that follow each other in the order of their classes; those of one class keep theirs.</summary>
    private static void Order(List<int> codePoints)
    {
        for (int i = 0; i < codePoints.Count; i++)
        {
            if (CombiningClass(codePoints[i]) == 0) continue;
            int start = i;
            while (i < codePoints.Count && CombiningClass(codePoints[i]) != 0) i++;
            if (i - start == 1) continue;
            int[] ordered = [.. codePoints.Skip(start).Take(i - start).OrderBy(CombiningClass)];
            for (int k = 0; k < ordered.Length; k++) codePoints[start + k] = ordered[k];
        }
    }

    private static void Compose(List<int> codePoints)
    {
        int starter = -1;
        int lastClass = 0;
        int length = 0;
        for (int i = 0; i < codePoints.Count; i++)
        {
            int codePoint = codePoints[i];
            int combiningClass = CombiningClass(codePoint);
            // A mark is blocked from the starter by one of its own class or a higher before it, and a starter by anything between.
            bool adjacent = starter >= 0 && length == starter + 1;
            if (starter >= 0 && (adjacent || (lastClass < combiningClass)) && Pair(codePoints[starter], codePoint) is { } composed)
            {
                codePoints[starter] = composed;
                continue;
            }

            if (combiningClass == 0) starter = length;
            lastClass = combiningClass;
            codePoints[length++] = codePoint;
        }

        codePoints.RemoveRange(length, codePoints.Count - length);
    }

    private static int? Pair(int first, int second)
    {
        (int lead, int vowel, int trail, int syllable) = (first - LeadBase, second - VowelBase, second - TrailBase, first - SyllableBase);
        if (lead is >= 0 and < Leads && vowel is >= 0 and < Vowels) return SyllableBase + (((lead * Vowels) + vowel) * Trails);
        if (syllable is >= 0 and < Syllables && syllable % Trails == 0 && trail is > 0 and < Trails) return first + trail;
        return Data.Value.Pairs.TryGetValue((first, second), out int composed) ? composed : null;
    }

    private static Tables ReadTables()
    {
        Tables tables = new([], [], [], []);
        using Stream stream = typeof(NormalizationForms).Assembly.GetManifestResourceStream("QuantBuild.UnicodeData.txt")!;
        using StreamReader reader = new(stream);
        while (reader.ReadLine() is { } line)
        {
            if (line[0] == '#') continue;
            string[] fields = line.Split(' ');
            int[] numbers = [.. fields.Skip(1).Take(line[0] == 'C' ? 2 : fields.Length).Select(f => int.Parse(f, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture))];
            switch (line[0])
            {
                case 'C':
                    int combiningClass = int.Parse(fields[3], CultureInfo.InvariantCulture);
                    for (int codePoint = numbers[0]; codePoint <= numbers[1]; codePoint++) tables.Classes.Add(codePoint, combiningClass);
                    break;
                case 'K':
                    tables.Compatible.Add(numbers[0], numbers[1..]);
                    break;
                default:
                    tables.Canonical.Add(numbers[0], numbers[1..]);
                    if (line[0] == 'D') tables.Pairs.Add((numbers[1], numbers[2]), numbers[0]);
                    break;
            }
        }

        return tables;
    }

    /// <summary>What UnicodeData.txt beside this file says.</summary>
    /// <param name="Classes">Combining class by code point, where it is not 0.</param>
    /// <param name="Canonical">Canonical decompositions.</param>
    /// <param name="Compatible">Compatibility decompositions.</param>
    /// <param name="Pairs">What composes again.</param>
    private sealed record Tables(
        Dictionary<int, int> Classes, Dictionary<int, int[]> Canonical, Dictionary<int, int[]> Compatible, Dictionary<(int First, int Second), int> Pairs);
}
