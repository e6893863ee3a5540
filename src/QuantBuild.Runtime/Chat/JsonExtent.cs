namespace QuantBuild.Chat;

/// <summary>What can be said of something that a model is writing.</summary>
internal enum Progress
{
    /// <summary>It may become one; more of it has to come.</summary>
    Open,

    /// <summary>It is one.</summary>
    Complete,

    /// <summary>It is none.</summary>
    None,
}

/// <summary>Finds where a JSON object or list ends in a text that grows, each character looked at once. Whether it is JSON, a parser says after that.</summary>
/// <param name="start">Where in the text it begins, white space aside.</param>
internal sealed class JsonExtent(int start)
{
    // As deep as System.Text.Json reads.
    private const int Deepest = 64;

    private readonly Stack<char> closers = [];
    private bool inString;
    private bool escaped;

    /// <summary>How far the text was looked at: where the value ends, once it is complete.</summary>
    public int End { get; private set; } = start;

    /// <summary>Looks at what has come.</summary>
    /// <param name="text">The text from its beginning.</param>
    public Progress Scan(string text)
    {
        while (End < text.Length)
        {
            char c = text[End++];
            if (inString)
            {
                inString = escaped || c != '"';
                escaped = !escaped && c == '\\';
                continue;
            }

            switch (c)
            {
                case '{' or '[' when closers.Count < Deepest:
                    closers.Push(c == '{' ? '}' : ']');
                    break;
                case '}' or ']':
                    if (!closers.TryPop(out char closer) || closer != c) return Progress.None;
                    if (closers.Count == 0) return Progress.Complete;
                    break;
                case '"' when closers.Count > 0:
                    inString = true;
                    break;
                default:
                    bool fits = char.IsWhiteSpace(c) || (closers.Count > 0 && (char.IsAsciiLetterOrDigit(c) || c is ',' or ':' or '+' or '-' or '.'));
                    if (!fits) return Progress.None;
                    break;
            }
        }

        return Progress.Open;
    }
}
