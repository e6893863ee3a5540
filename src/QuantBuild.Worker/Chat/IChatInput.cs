namespace QuantBuild.Worker.Chat;

/// <summary>Where the user's side of a conversation comes from.</summary>
internal interface IChatInput
{
    /// <summary>The next message; <see langword="null"/> at the end.</summary>
    string? Read();

    /// <summary>Shows again what was typed so far, where something else was written meanwhile.</summary>
    void Redraw();
}

/// <summary>A file or a pipe: a message is a line, or several where each but the last ends with a backslash.</summary>
/// <param name="reader">Standard input.</param>
internal sealed class PipedInput(TextReader reader) : IChatInput
{
    /// <inheritdoc/>
    public string? Read()
    {
        string? line = reader.ReadLine();
        while (line is not null && line.EndsWith('\\')) line = line[..^1] + "\n" + reader.ReadLine();
        return line;
    }

    /// <inheritdoc/>
    public void Redraw()
    {
    }
}
