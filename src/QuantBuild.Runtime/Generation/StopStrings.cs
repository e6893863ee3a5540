using System.Text;

namespace QuantBuild.Generation;

/// <summary>
/// Passes text on as it comes, up to the stop string that is complete first (the longest of those that end there), whatever pieces it comes in. Text that may turn
/// out to begin one is held back until that is decided.
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
        int first = -1, end = int.MaxValue;
        foreach (string stop in stops)
        {
            int start = text.IndexOf(stop, StringComparison.Ordinal);
            if (start < 0 || start + stop.Length > end || (start + stop.Length == end && start > first)) continue;
            first = start;
            end = start + stop.Length;
        }

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
    public static int OverlapLength(string text, string stop)
    {
        int length = Math.Min(text.Length, stop.Length - 1);
        while (length > 0 && !text.AsSpan(text.Length - length).SequenceEqual(stop.AsSpan(0, length))) length--;
        return length;
    }
}
