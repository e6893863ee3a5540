using System.Globalization;
using System.Runtime.Serialization.Json;
using System.Text;
using System.Xml;
using System.Xml.Linq;

namespace QuantBuild;

/// <summary>
/// JSON as XML elements: netstandard2.0 has no JSON document, and MSBuild tasks and source generators should bring no dependency of
/// their own. A value is an element with a <c>type</c>; as the member of an object it has a <c>name</c> too.
/// </summary>
internal static class Json
{
    /// <summary>Parses a document.</summary>
    /// <exception cref="FormatException">The text is not JSON (RFC 8259), or is nested deeper than 64; the message says where.</exception>
    public static XElement Parse(string text) => new JsonParser(text).Document();

    /// <summary>A member of an object, or <see langword="null"/> where it is absent or JSON's <c>null</c>.</summary>
    public static XElement? Member(this XElement parent, string name)
    {
        XElement? member = parent.Elements().FirstOrDefault(e => (string?)e.Attribute("name") == name);
        return member is null || Kind(member) == "null" ? null : member;
    }

    /// <summary>The kind of a value: <c>object</c>, <c>array</c>, <c>string</c>, <c>number</c>, <c>boolean</c> or <c>null</c>.</summary>
    public static string Kind(this XElement value) => (string?)value.Attribute("type") ?? "string";

    /// <summary>A text as a string of JSON, quotes and all.</summary>
    public static string Quote(string text)
    {
        StringBuilder quoted = new("\"");
        foreach (char c in text)
        {
            if (c is '"' or '\\') quoted.Append('\\').Append(c);
            else if (c < ' ' || char.IsSurrogate(c)) quoted.Append("\\u").Append(((int)c).ToString("x4", CultureInfo.InvariantCulture));
            else quoted.Append(c);
        }

        return quoted.Append('"').ToString();
    }

    /// <summary>Writes members as one line of JSON; a <see langword="null"/> value is left out.</summary>
    public static string WriteLine(IEnumerable<KeyValuePair<string, object?>> members)
    {
        using MemoryStream stream = new();
        using (XmlDictionaryWriter writer = JsonReaderWriterFactory.CreateJsonWriter(stream, Encoding.UTF8, ownsStream: false))
        {
            writer.WriteStartElement("root");
            writer.WriteAttributeString("type", "object");
            foreach (KeyValuePair<string, object?> member in members)
            {
                if (member.Value is null) continue;
                bool isNumber = member.Value is int or long or double;
                writer.WriteStartElement(member.Key);
                writer.WriteAttributeString("type", isNumber ? "number" : "string");
                writer.WriteString(Convert.ToString(member.Value, CultureInfo.InvariantCulture));
                writer.WriteEndElement();
            }

            writer.WriteEndElement();
        }

        return Encoding.UTF8.GetString(stream.ToArray());
    }
}
