using System.Text;
using System.Xml;
using System.Xml.Linq;

namespace QuantBuild.Worker.Reporting;

/// <summary>
/// Elements of a page. What is written is HTML and well-formed XML at once, and no text becomes markup: names come from files that somebody downloaded.
/// </summary>
internal static class Html
{
    private static readonly XNamespace Page = "http://www.w3.org/1999/xhtml";
    private static readonly XNamespace Drawing = "http://www.w3.org/2000/svg";

    /// <summary>An element of the page.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="content">Texts, elements, attributes, or lists of them; <see langword="null"/> is nothing.</param>
    public static XElement Tag(string name, params object?[] content) => Element(Page + name, content);

    /// <summary>An element of a drawing.</summary>
    /// <inheritdoc cref="Tag"/>
    public static XElement Svg(string name, params object?[] content) => Element(Drawing + name, content);

    /// <summary>An attribute.</summary>
    public static XAttribute At(string name, string value) => new(name, Clean(value));

    /// <summary>An attribute with a number: two places are enough for a drawing.</summary>
    public static XAttribute At(string name, double value) => new(name, Number.Plain(value));

    /// <summary>A table: the first cell of a row heads it, the others are figures unless the table is of texts.</summary>
    /// <param name="caption">What it shows.</param>
    /// <param name="headers">The heads of the columns; none where the rows' heads say it all.</param>
    /// <param name="rows">The rows.</param>
    /// <param name="ofTexts">Whether the cells are texts, which begin at the left.</param>
    public static object[] Table(string caption, IReadOnlyList<string> headers, IEnumerable<TableRow> rows, bool ofTexts = false) =>
    [
        // A caption of the table would scroll with it.
        Tag("p", At("class", "caption"), caption),
        Scrolling(
            caption,
            Tag(
                "table",
                ofTexts ? At("class", "texts") : null,
                At("aria-label", caption),
                headers.Count == 0 ? null : Tag("thead", Tag("tr", headers.Select(header => Tag("th", At("scope", "col"), header)))),
                Tag("tbody", rows.Select(row => Tag(
                    "tr",
                    row.IsMarked ? At("class", "marked") : null,
                    Tag("th", At("scope", "row"), row.Head),
                    row.Cells.Select(cell => Tag("td", cell)),
                    row.Spanning is { } text ? Tag("td", At("class", "spanning"), At("colspan", row.SpannedColumns), text) : null))))),
    ];

    /// <summary>What may be wider than the page, in a frame that scrolls: with the keyboard too.</summary>
    public static XElement Scrolling(string label, XElement content) =>
        Tag("div", At("class", "scroll"), At("tabindex", "0"), At("role", "region"), At("aria-label", label), content);

    /// <summary>The text of a whole page, which refers to nothing outside itself.</summary>
    /// <param name="title">Its title.</param>
    /// <param name="isWide">Whether it has a table of many columns.</param>
    /// <param name="body">What is on it.</param>
    public static string Document(string title, bool isWide, params object?[] body)
    {
        XElement page = Tag(
            "html",
            At("lang", "en"),
            Tag(
                "head",
                new XElement(Page + "meta", At("charset", "utf-8")),
                new XElement(Page + "meta", At("name", "viewport"), At("content", "width=device-width, initial-scale=1")),
                new XElement(Page + "meta", At("name", "color-scheme"), At("content", "light dark")),
                Tag("title", title),
                Tag("style", StyleSheet.Text)),
            Tag("body", Tag("main", isWide ? At("class", "wide") : null, body)));
        return "<!DOCTYPE html>\n" + page.ToString(SaveOptions.DisableFormatting) + "\n";
    }

    private static XElement Element(XName name, object?[] content)
    {
        XElement element = new(name, content.Select(part => part is string text ? Clean(text) : part));
        // <td /> is a tag that begins and never ends to a browser.
        if (name.Namespace == Page && element.IsEmpty) element.Add("");
        return element;
    }

    /// <summary>A text in which what XML cannot hold, control characters and halves of pairs, is the replacement character.</summary>
    private static string Clean(string text)
    {
        StringBuilder clean = new(text.Length);
        for (int i = 0; i < text.Length; i++)
        {
            if (i + 1 < text.Length && XmlConvert.IsXmlSurrogatePair(text[i + 1], text[i])) clean.Append(text[i]).Append(text[++i]);
            else clean.Append(XmlConvert.IsXmlChar(text[i]) ? text[i] : '\ufffd');
        }

        return clean.ToString();
    }
}

/// <summary>A row of a table.</summary>
/// <param name="Head">What the row is about.</param>
/// <param name="Cells">Its cells, texts or elements.</param>
internal sealed record TableRow(object Head, params IReadOnlyList<object> Cells)
{
    /// <summary>Whether the row stands out.</summary>
    public bool IsMarked { get; init; }

    /// <summary>A text in place of the cells that are left.</summary>
    public string? Spanning { get; init; }

    /// <summary>How many columns that text takes.</summary>
    public int SpannedColumns { get; init; }
}
