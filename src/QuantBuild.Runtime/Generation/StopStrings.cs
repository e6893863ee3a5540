using System.Text;

namespace QuantBuild.Generation;

/// <summary>
/// Passes text on as it comes, up to the first stop string. Text that may turn out to begin one is held back until that is decided.
/// </summary>
internal sealed class StopStrings(IReadOnlyList<string> stops)
{
    private readonly StringBuilder held = new();

    /// <summary>Whether a stop string was found.</summary>
    public bool Found { get; private set; }

    /// <summary>Takes a piece; the text that is now certain.</summary>
    public string Append(string piece)
    {
        if (Found) return "";
        if (stops.Count == 0) return piece;
        string text = held.Append(piece).ToString();
        int first = stops.Select(stop => text.IndexOf(stop, StringComparison.Ordinal)).Where(i => i >= 0).DefaultIfEmpty(-1).Min();
        if (first >= 0)
        {
            Found = true;
            held.Clear();
            return text[..first];
        }

        int certain = text.Length - stops.Max(stop => OverlapLength(text, stop));
        held.Clear().Append(text, certain, text.Length - certain);
        return text[..certain];
    }

    /// <summary>Ends the text; what was held back.</summary>
    public string Finish()
    {
        string rest = held.ToString();
        held.Clear();
        return rest;
    }

    /// <summary>Length of the longest end of a text that begins a stop string.</summary>
    private static int OverlapLength(string text, string stop)
    {
        int length = Math.Min(text.Length, stop.Length - 1);
        while (length > 0 && !text.AsSpan(text.Length - length).SequenceEqual(stop.AsSpan(0, length))) length--;
        return length;
    }
}
