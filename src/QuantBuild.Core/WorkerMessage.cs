using System.Globalization;
using System.Xml.Linq;

namespace QuantBuild;

/// <summary>What a line from the worker is.</summary>
public enum WorkerMessageKind
{
    /// <summary>A step of the work was done.</summary>
    Progress,

    /// <summary>Something worth knowing.</summary>
    Information,

    /// <summary>Something that should be looked at; has a code.</summary>
    Warning,

    /// <summary>Why there is no artifact; has a code.</summary>
    Error,

    /// <summary>The artifact was made.</summary>
    Done,
}

/// <summary>One line from the worker to the build: a JSON object.</summary>
public sealed record WorkerMessage
{
    /// <summary>What the line is.</summary>
    public required WorkerMessageKind Kind { get; init; }

    /// <summary>The text to show.</summary>
    public required string Text { get; init; }

    /// <summary>The diagnostic id of a warning or an error.</summary>
    public string? Code { get; init; }

    /// <summary>How much of the work is done, from 0 to 1; only in progress.</summary>
    public double? Fraction { get; init; }

    /// <summary>Estimated seconds until the artifact is made; only in progress, once it can be estimated.</summary>
    public double? SecondsLeft { get; init; }

    /// <summary>The line, without its end.</summary>
    public string ToLine() => Json.WriteLine(
    [
        new("kind", Kind.ToString()),
        new("text", Text),
        new("code", Code),
        new("fraction", Fraction),
        new("secondsLeft", SecondsLeft),
    ]);

    /// <summary>Reads a line; <see langword="null"/> where it is not a message (a library printed it).</summary>
    public static WorkerMessage? TryParse(string line)
    {
        if (!line.StartsWith("{", StringComparison.Ordinal)) return null;
        try
        {
            XElement root = Json.Parse(line);
            if (!Enum.TryParse(root.Member("kind")?.Value, out WorkerMessageKind kind) || !Enum.IsDefined(typeof(WorkerMessageKind), kind)) return null;
            if (root.Member("text") is not { } text) return null;
            double? Number(string name) =>
                root.Member(name) is { } value ? double.Parse(value.Value, NumberStyles.Float, CultureInfo.InvariantCulture) : null;
            return new WorkerMessage
            {
                Kind = kind,
                Text = text.Value,
                Code = root.Member("code")?.Value,
                Fraction = Number("fraction"),
                SecondsLeft = Number("secondsLeft"),
            };
        }
        catch (Exception e) when (e is FormatException or OverflowException)
        {
            return null;
        }
    }
}
