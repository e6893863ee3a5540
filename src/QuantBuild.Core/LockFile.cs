using System.Text;
using System.Xml.Linq;

namespace QuantBuild;

/// <summary>
/// What each model of a project was made of when it was last agreed on: <c>quantbuild.lock.json</c>, which is kept with the sources. A build that would make something else fails.
/// </summary>
public sealed class LockFile
{
    /// <summary>The name that the file has beside a project.</summary>
    public const string DefaultName = "quantbuild.lock.json";

    private const string Version = "1";

    private readonly SortedDictionary<string, LockedModel> models = new(StringComparer.Ordinal);

    /// <summary>The locked models by class.</summary>
    public IReadOnlyDictionary<string, LockedModel> Models => models;

    /// <summary>Reads a lock file; one that does not exist locks nothing.</summary>
    /// <exception cref="QuantBuildException">QB0011: it is no lock file.</exception>
    public static LockFile Read(string path)
    {
        LockFile file = new();
        if (!File.Exists(path)) return file;
        try
        {
            XElement root = Json.Parse(File.ReadAllText(path));
            string version = root.Member("version")?.Value ?? throw new FormatException("it has no version");
            if (version != Version) throw new FormatException($"its version is {version}, expected {Version}");
            foreach (XElement model in (root.Member("models") ?? throw new FormatException("it has no models")).Elements())
            {
                string name = (string?)model.Attribute("name") ?? throw new FormatException("models is not an object");
                string fingerprint = model.Member("fingerprint")?.Value ?? throw new FormatException($"{name} has no fingerprint");
                XElement inputs = model.Member("inputs") ?? throw new FormatException($"{name} has no inputs");
                file.models[name] = new(
                    fingerprint,
                    [.. inputs.Elements().Select(input => new KeyValuePair<string, string>((string?)input.Attribute("name") ?? throw new FormatException("inputs is not an object"), input.Value))],
                    model.Member("source")?.Value);
            }

            return file;
        }
        catch (Exception e) when (e is FormatException or IOException or UnauthorizedAccessException)
        {
            throw new QuantBuildException(
                DiagnosticIds.LockFileMalformed, $"The lock file {path} cannot be read: {e.Message.TrimEnd('.')}. Take it from version control again, or delete it: the next build writes it anew.", e);
        }
    }

    /// <summary>Locks a model, in place of what it was locked to.</summary>
    public void Set(string className, LockedModel model) => models[className] = model;

    /// <summary>The file's text: JSON, one input a line, so that a difference in version control shows what changed.</summary>
    public string ToJson()
    {
        StringBuilder text = new($"{{\n  \"version\": {Version},\n  \"models\": {{");
        string separator = "\n";
        foreach (KeyValuePair<string, LockedModel> model in models)
        {
            string source = model.Value.Source is null ? "" : $"      \"source\": {Json.Quote(model.Value.Source)},\n";
            text.Append(separator).Append($"    {Json.Quote(model.Key)}: {{\n{source}      \"fingerprint\": {Json.Quote(model.Value.Fingerprint)},\n      \"inputs\": {{\n")
                .Append(string.Join(",\n", model.Value.Inputs.Select(input => $"        {Json.Quote(input.Key)}: {Json.Quote(input.Value)}")))
                .Append("\n      }\n    }");
            separator = ",\n";
        }

        return text.Append("\n  }\n}\n").ToString();
    }
}

/// <summary>A locked model.</summary>
/// <param name="Fingerprint">The fingerprint of its artifact.</param>
/// <param name="Inputs">What decides that: what <see cref="QuantBuild.Fingerprint.Inputs"/> gave.</param>
/// <param name="Source">Of a model of the hub its id and revision as declared: a branch that is locked stays at the commit that it was.</param>
public sealed record LockedModel(string Fingerprint, IReadOnlyList<KeyValuePair<string, string>> Inputs, string? Source = null)
{
    /// <summary>The commit of the model's repository, where its files told.</summary>
    public string? Commit => Inputs.FirstOrDefault(input => input.Key == QuantBuild.Fingerprint.ModelRevision).Value is { } commit && HubModel.IsCommit(commit) ? commit : null;

    /// <summary>What differs between what is locked and what is declared, a line each.</summary>
    public IReadOnlyList<string> DifferencesTo(LockedModel declared)
    {
        Dictionary<string, string> locked = Inputs.ToDictionary(input => input.Key, input => input.Value), now = declared.Inputs.ToDictionary(input => input.Key, input => input.Value);
        string Of(Dictionary<string, string> inputs, string name) => inputs.TryGetValue(name, out string? value) ? Short(value) : "absent";
        return
        [
            .. locked.Keys.Union(now.Keys).Where(name => !locked.TryGetValue(name, out string? value) || !now.TryGetValue(name, out string? other) || value != other)
                .Select(name => $"{name} is {Of(now, name)}, locked is {Of(locked, name)}"),
        ];
    }

    // Of a hash the beginning tells it apart.
    private static string Short(string value) => value.Length == 64 && value.All(Uri.IsHexDigit) ? value.Substring(0, 12) + "…" : value.Length == 0 ? "empty" : value;
}
