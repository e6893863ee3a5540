using System.Globalization;
using System.Xml.Linq;

namespace QuantBuild.Worker.Reporting;

/// <summary>
/// The layers of a decoder side by side: above, the error of the residual stream after each; below, the bits per weight of each of its linears. One scale
/// of layers for both, so that one sees where bits were spent and what they brought.
/// </summary>
internal static class LayerPlot
{
    private const double Width = 760;
    private const double Left = 84;
    private const double Right = 12;
    private const double ErrorHeight = 170;
    private const double Top = 26;
    private const double CellHeight = 22;

    // Narrower columns have no room for a number.
    private const double LeastForText = 34;

    // Of a few layers, the bars would be blocks.
    private const double WidestBar = 44;

    /// <summary>The drawing.</summary>
    /// <param name="artifact">Gives the bits.</param>
    /// <param name="errors">For each layer, as a ratio; empty where nothing was measured.</param>
    public static XElement Create(Artifact artifact, IReadOnlyList<double> errors)
    {
        DecoderConfig config = artifact.Config;
        double column = (Width - Left - Right) / config.Layers;
        double gap = column < 6 ? 0.5 : 2;
        double cellsTop = errors.Count > 0 ? Top + ErrorHeight + 46 : Top;
        IReadOnlyList<string> roles = LinearSizes.Roles(config);
        double height = cellsTop + (roles.Count * CellHeight) + 24;
        List<XElement> parts = [];
        if (errors.Count > 0) parts.AddRange(Errors(errors, column, gap));
        parts.Add(Text(Left, cellsTop - 8, "start", "axis", "bits per weight"));
        if (column < LeastForText) parts.AddRange(Legend(cellsTop - 18));
        for (int layer = 0; layer < config.Layers; layer++)
        {
            IReadOnlyDictionary<string, LinearShape> linears = LinearSizes.ByRole(config, layer);
            for (int role = 0; role < roles.Count; role++)
            {
                double x = Left + (layer * column), y = cellsTop + (role * CellHeight);
                if (layer == 0) parts.Add(Text(Left - 8, y + 15, "end", "axis", RoleName(roles[role])));
                if (!linears.TryGetValue(roles[role], out LinearShape? linear)) continue;
                parts.Add(Cell(artifact, linear, layer, x + (gap / 2), y + 1, column - gap));
                if (column >= LeastForText) parts.Add(Text(x + (column / 2), y + 15, "middle", null, Number.Fixed(LinearSizes.Bits(artifact, linear), 2)));
            }

            if (IsLabelled(layer, config.Layers)) parts.Add(Text(Left + ((layer + 0.5) * column), height - 6, "middle", "axis", LayerNumber(layer)));
        }

        parts.Add(Text(Left - 8, height - 6, "end", "axis", "layer"));
        return Html.Svg(
            "svg",
            Html.At("viewBox", string.Create(CultureInfo.InvariantCulture, $"0 0 {Width} {height:F0}")),
            Html.At("role", "img"),
            Html.Svg("title", errors.Count > 0 ? "Error of the residual stream after each layer, and bits per weight of each linear" : "Bits per weight of each linear"),
            parts);
    }

    /// <summary>A linear's name without its layer: <c>q_proj</c>.</summary>
    public static string RoleName(string name) => name[(name.LastIndexOf('.') + 1)..];

    private static IEnumerable<XElement> Errors(IReadOnlyList<double> errors, double column, double gap)
    {
        double step = Step(errors.Max());
        double most = Math.Max(step, Math.Ceiling(errors.Max() / step) * step);
        double Y(double value) => Top + (ErrorHeight * (1 - (value / most)));
        yield return Text(Left, Top - 12, "start", "axis", "error of the residual stream after the layer, ‖Y_q − Y‖ / ‖Y‖");
        for (double tick = 0; tick <= most * 1.0001; tick += step)
        {
            yield return Html.Svg("line", Html.At("class", "grid"), Html.At("x1", Left), Html.At("x2", Width - Right), Html.At("y1", Y(tick)), Html.At("y2", Y(tick)));
            yield return Text(Left - 8, Y(tick) + 4, "end", "axis", (100 * tick).ToString("0.####", CultureInfo.InvariantCulture) + "%");
        }

        double width = Math.Min(column - gap, WidestBar);
        for (int layer = 0; layer < errors.Count; layer++)
        {
            double rise = errors[layer] - (layer == 0 ? 0 : errors[layer - 1]);
            yield return Html.Svg(
                "rect",
                Html.At("class", "bar"),
                Html.At("x", Left + ((layer + 0.5) * column) - (width / 2)),
                Html.At("width", width),
                Html.At("y", Y(errors[layer])),
                Html.At("height", Math.Max(0, Y(0) - Y(errors[layer]))),
                Html.Svg("title", string.Create(
                    CultureInfo.InvariantCulture, $"layer {layer + 1}: error {100 * errors[layer]:F2}%, {100 * rise:+0.00;-0.00} points over the layer before")));
            if (column >= LeastForText) yield return Text(Left + ((layer + 0.5) * column), Y(errors[layer]) - 4, "middle", null, Number.Percent(errors[layer], 2));
        }
    }

    // Which shade is which width, where the cells have no room to say it.
    private static IEnumerable<XElement> Legend(double y)
    {
        const double width = 14, step = 44;
        int[] widths = [2, 3, 4, 8];
        double x = Width - Right - (step * (widths.Length + 1)) - 8;
        foreach (int bits in widths)
        {
            yield return Html.Svg(
                "rect", Html.At("class", "cell"), Html.At("x", x), Html.At("y", y), Html.At("width", width), Html.At("height", 12), Html.At("fill-opacity", Shade(bits)));
            yield return Text(x + width + 4, y + 10, "start", "axis", Number.Count(bits));
            x += step;
        }

        yield return Html.Svg("rect", Html.At("class", "float"), Html.At("x", x), Html.At("y", y), Html.At("width", width), Html.At("height", 12));
        yield return Text(x + width + 4, y + 10, "start", "axis", "float");
    }

    // The shade goes by the logarithm: 2 bits are to 4 what 4 are to 8.
    private static double Shade(double bits) => 0.08 + (0.48 * Math.Clamp(Math.Log2(bits / 2) / 2.2, 0, 1));

    private static XElement Cell(Artifact artifact, LinearShape linear, int layer, double x, double y, double width)
    {
        double bits = LinearSizes.Bits(artifact, linear);
        bool isQuantized = artifact.Manifest.Layers.ContainsKey(linear.Name);
        string what = isQuantized ? "" : ", kept in floating point";
        return Html.Svg(
            "rect",
            Html.At("class", isQuantized ? "cell" : "float"),
            Html.At("x", x),
            Html.At("y", y),
            Html.At("width", width),
            Html.At("height", CellHeight - 2),
            isQuantized ? Html.At("fill-opacity", Shade(bits)) : null,
            Html.Svg("title", string.Create(CultureInfo.InvariantCulture, $"layer {layer + 1}, {RoleName(linear.Name)}: {bits:F3} bits per weight{what}")));
    }

    private static XElement Text(double x, double y, string anchor, string? className, string text) => Html.Svg(
        "text", Html.At("x", x), Html.At("y", y), Html.At("text-anchor", anchor), className is null ? null : Html.At("class", className), text);

    private static bool IsLabelled(int layer, int layers) => layers <= 24 || layer == 0 || (layer + 1) % (layers <= 60 ? 4 : 10) == 0;

    private static string LayerNumber(int layer) => (layer + 1).ToString(CultureInfo.InvariantCulture);

    /// <summary>A round step that divides an axis into two to five parts.</summary>
    private static double Step(double most)
    {
        if (!(most > 0)) return 0.01;
        double power = Math.Pow(10, Math.Floor(Math.Log10(most)));
        return power * ((most / power) switch { < 2 => 0.5, < 5 => 1, _ => 2 });
    }
}
