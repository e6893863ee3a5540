using Microsoft.Build.Framework;

namespace QuantBuild.Tasks;

/// <summary>The <c>&lt;QuantizationOverride&gt;</c> items of a project: what layers that match a pattern have otherwise, in one model or in all.</summary>
/// <param name="items">The items that can be read.</param>
internal sealed class OverrideItems(IReadOnlyList<ITaskItem> items)
{
    /// <summary>The element's name.</summary>
    public const string ElementName = "QuantizationOverride";

    private const string Model = "Model";

    private readonly HashSet<ITaskItem> used = [];

    /// <summary>The metadata that an item understands.</summary>
    public static IReadOnlyList<string> MetadataNames { get; } = [Model, .. QuantizationOverride.MetadataNames];

    /// <summary>The items whose <c>Model</c> no model that was asked about has.</summary>
    public IEnumerable<ITaskItem> Unused => items.Where(item => item.GetMetadata(Model).Length > 0 && !used.Contains(item));

    /// <summary>An item as the metadata <c>Override</c> would have it.</summary>
    /// <exception cref="QuantBuildException">QB0006, or what a setting's value gives.</exception>
    public static string Text(ITaskItem item) => QuantizationOverride.Canonical(QuantizationOverride.FromMetadata(item.ItemSpec, item.GetMetadata));

    /// <summary>The overrides of a model, in the order of the project.</summary>
    /// <param name="include">The model's <c>Include</c>.</param>
    /// <param name="className">The name of its class.</param>
    public string For(string include, string className)
    {
        static string Path(string path) => path.Replace('\\', '/').TrimEnd('/');
        List<ITaskItem> own = [];
        foreach (ITaskItem item in items)
        {
            string model = item.GetMetadata(Model).Trim();
            if (model.Length > 0 && model != className && Path(model) != Path(include)) continue;
            used.Add(item);
            own.Add(item);
        }

        return string.Join("; ", own.Select(Text));
    }
}
