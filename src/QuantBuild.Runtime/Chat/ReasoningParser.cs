using System.Text;
using QuantBuild.Generation;

namespace QuantBuild.Chat;

/// <summary>Parts an answer into the reasoning that it begins with and the rest, whatever pieces it comes in. White space around either is none of them.</summary>
/// <param name="syntax">The marks of reasoning.</param>
/// <param name="isWithin">Whether the answer begins within its reasoning, the first mark being in the prompt.</param>
internal sealed class ReasoningParser(ReasoningSyntax syntax, bool isWithin)
{
    private readonly string start = syntax.Start.Trim();
    private readonly string end = syntax.End.Trim();
    private string held = "";
    private Part part = isWithin ? Part.Reasoning : Part.Beginning;
    private bool hasReasoning;

    private enum Part
    {
        Beginning,
        Reasoning,
        Between,
        Answer,
    }

    /// <summary>Takes a piece; what is now certain of reasoning and answer.</summary>
    /// <param name="piece">The piece.</param>
    /// <param name="isLast">Whether nothing comes after it.</param>
    public (string Reasoning, string Answer) Append(string piece, bool isLast)
    {
        StringBuilder reasoning = new();
        held += piece;
        if (part == Part.Beginning)
        {
            string text = held.TrimStart();
            if (text.StartsWith(start, StringComparison.Ordinal)) (part, held) = (Part.Reasoning, text[start.Length..]);
            else if (isLast || !start.StartsWith(text, StringComparison.Ordinal)) part = Part.Answer;
        }

        if (part == Part.Reasoning)
        {
            int at = held.IndexOf(end, StringComparison.Ordinal);
            int certain = at >= 0 ? at : isLast ? held.Length : held.Length - StopStrings.OverlapLength(held, end);
            while (certain > 0 && char.IsWhiteSpace(held[certain - 1])) certain--;
            string text = hasReasoning ? held[..certain] : held[..certain].TrimStart();
            hasReasoning |= text.Length > 0;
            reasoning.Append(text);
            if (at >= 0) part = Part.Between;
            held = at >= 0 ? held[(at + end.Length)..] : isLast ? "" : held[certain..];
        }

        if (part == Part.Between)
        {
            held = held.TrimStart();
            if (held.Length > 0) part = Part.Answer;
        }

        if (part != Part.Answer) return (reasoning.ToString(), "");
        string answer = held;
        held = "";
        return (reasoning.ToString(), answer);
    }
}
