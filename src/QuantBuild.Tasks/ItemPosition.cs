using System.Xml;
using System.Xml.Linq;
using Microsoft.Build.Framework;

namespace QuantBuild.Tasks;

/// <summary>Where an item stands: what its errors point at.</summary>
/// <param name="File">The project file, or the file that it imports, that has the item.</param>
/// <param name="Line">The line, from 1; 0 where it is not known.</param>
/// <param name="Column">The column, from 1; 0 where it is not known.</param>
internal sealed record ItemPosition(string File, int Line, int Column)
{
    /// <summary>Finds the element of an item.</summary>
    /// <remarks>
    /// MSBuild tells a task the file that defines an item, not the line. The element is the one whose <c>Include</c> lists the item and
    /// whose other values are the item's; a value with a property or an item in it is not compared.
    /// </remarks>
    /// <param name="item">The item.</param>
    /// <param name="projectFile">What to point at where the item was made by a target.</param>
    /// <param name="elementName">What the item is called.</param>
    public static ItemPosition Of(ITaskItem item, string projectFile, string elementName = "QuantizedModel")
    {
        string file = item.GetMetadata("DefiningProjectFullPath");
        if (file.Length == 0) file = projectFile;
        try
        {
            XElement? element = XElement.Load(file, LoadOptions.SetLineInfo).Descendants()
                .FirstOrDefault(e => e.Name.LocalName == elementName && Lists(e, item.ItemSpec) && Agrees(e, item));
            return element is IXmlLineInfo info && info.HasLineInfo() ? new(file, info.LineNumber, info.LinePosition) : new(file, 0, 0);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or XmlException)
        {
            return new(file, 0, 0);
        }
    }

    private static bool Lists(XElement element, string itemSpec) =>
        ((string?)element.Attribute("Include") ?? "").Split(';').Any(part => SamePath(part.Trim(), itemSpec));

    // MSBuild turns backslashes around where the system wants it.
    private static bool SamePath(string one, string other) => one.Replace('\\', '/') == other.Replace('\\', '/');

    private static bool Agrees(XElement element, ITaskItem item) =>
        element.Attributes().Where(a => a.Name.LocalName is not ("Include" or "Condition" or "Exclude"))
            .Select(a => new KeyValuePair<string, string>(a.Name.LocalName, a.Value))
            .Concat(element.Elements().Select(e => new KeyValuePair<string, string>(e.Name.LocalName, e.Value)))
            .All(pair => pair.Value.Contains("$(") || pair.Value.Contains("@(") || SamePath(pair.Value, item.GetMetadata(pair.Key)));
}
