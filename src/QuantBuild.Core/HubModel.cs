using System.Text.RegularExpressions;

namespace QuantBuild;

/// <summary>A model of the Hugging Face hub at a revision.</summary>
/// <param name="Id">Its id, such as <c>meta-llama/Llama-2-7b-hf</c>.</param>
/// <param name="Revision">A branch, a tag or a commit.</param>
/// <param name="File">The GGUF file of the repository that is meant; <see langword="null"/> for the repository as a model's folder.</param>
public sealed record HubModel(string Id, string Revision, string? File = null)
{
    /// <summary>The name of the metadata that names a revision.</summary>
    public const string RevisionName = "Revision";

    /// <summary>The branch that a model has unless it says otherwise.</summary>
    public const string DefaultRevision = "main";

    // The hub's own rules for names; a part of a path that leads elsewhere is none.
    private const string Name = "[A-Za-z0-9_](?:[A-Za-z0-9_]|[-.](?![-.])){0,94}[A-Za-z0-9_]|[A-Za-z0-9_]";

    private static readonly Regex NamePattern = new($@"^(?<id>(?:{Name})/(?:{Name}))(?:/(?<file>[A-Za-z0-9_][A-Za-z0-9_.+-]{{0,190}}\.gguf))?\z", RegexOptions.CultureInvariant);

    // What git allows, less what no system should meet in a file name.
    private static readonly Regex RevisionPattern = new(@"^[A-Za-z0-9_][A-Za-z0-9_+-]*(?:[./][A-Za-z0-9_+-]+)*\z", RegexOptions.CultureInvariant);

    /// <summary>Whether the revision is a commit, which stays what it is.</summary>
    public bool IsPinned => IsCommit(Revision);

    /// <summary>What names it: the id, or <c>org/name/file.gguf</c>.</summary>
    public string FullName => File is null ? Id : $"{Id}/{File}";

    /// <summary>The id and the revision in one text, such as <c>meta-llama/Llama-2-7b-hf@main</c>: what has one commit.</summary>
    public string Source => $"{Id}@{Revision}";

    /// <summary>Whether a text is a commit's whole hash.</summary>
    public static bool IsCommit(string text) => IsHash(text, 40);

    /// <summary>
    /// Reads what names a model. It is one of the hub where it has the form of an id, or of an id and a GGUF file, and no such folder or file exists. Where only its first part is a folder, a
    /// path is more likely meant, unless a revision is given.
    /// </summary>
    /// <param name="include">A folder, a file or an id.</param>
    /// <param name="revision">A branch, a tag or a commit; <see langword="null"/> is <see cref="DefaultRevision"/>.</param>
    /// <param name="folder">What a path is relative to.</param>
    /// <returns>The model; <see langword="null"/> where a folder is meant.</returns>
    /// <exception cref="QuantBuildException">QB0006: the revision is none.</exception>
    public static HubModel? Of(string include, string? revision, string folder)
    {
        if (Named(include, revision ?? DefaultRevision) is not { } model) return null;
        string path = Path.Combine(folder, include);
        if (Directory.Exists(path) || System.IO.File.Exists(path)) return null;
        if (revision is null && Directory.Exists(Path.Combine(folder, include.Substring(0, include.IndexOf('/'))))) return null;
        if (revision is null || RevisionPattern.IsMatch(revision)) return model;
        throw new QuantBuildException(
            DiagnosticIds.MetadataInvalid,
            $"{RevisionName}=\"{revision}\" of {include} is not a revision. It is a branch, a tag or a commit of the model's repository on the hub; left out, it is {DefaultRevision}.");
    }

    /// <summary>A model by its <see cref="FullName"/>; <see langword="null"/> where a text is none.</summary>
    public static HubModel? Named(string name, string revision) => NamePattern.Match(name) is { Success: true } match
        ? new HubModel(match.Groups["id"].Value, revision, match.Groups["file"] is { Success: true } file ? file.Value : null)
        : null;

    internal static bool IsHash(string text, int digits) => text.Length == digits && text.All(c => c is (>= '0' and <= '9') or (>= 'a' and <= 'f'));
}
