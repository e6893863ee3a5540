using System.Globalization;
using System.Text;
using System.Xml;
using System.Xml.Linq;

namespace QuantBuild;

/// <summary>
/// XML for the small files that parts of the build hand to each other. Every character that a path can have survives, control
/// characters too; a document type declaration is refused.
/// </summary>
internal static class Xml
{
    /// <summary>Writes an element, indented, with a newline at the end.</summary>
    public static string Write(XElement element)
    {
        StringBuilder text = new();
        XmlWriterSettings settings = new() { CheckCharacters = false, OmitXmlDeclaration = true, Indent = true, NewLineChars = "\n" };
        using (StringWriter writer = new(text, CultureInfo.InvariantCulture))
        using (XmlWriter xml = XmlWriter.Create(writer, settings))
        {
            element.Save(xml);
        }

        return text.Append('\n').ToString();
    }

    /// <summary>Reads an element.</summary>
    /// <exception cref="XmlException">The text is not XML.</exception>
    public static XElement Parse(string text)
    {
        using StringReader reader = new(text);
        using XmlReader xml = XmlReader.Create(reader, new XmlReaderSettings { CheckCharacters = false });
        return XElement.Load(xml);
    }
}
