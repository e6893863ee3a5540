using System.Globalization;
using System.Xml.Linq;

namespace QuantBuild.Worker.Reporting;

/// <summary>
/// The layers of a decoder side by side: above, the error of the residual stream after each; below, the bits per weight of each of its linears. One scale
/// of layers for both, so that one sees where bits were spent and what they brought. Linears of experts that do the same share a cell.
/// </summary>
internal static class LayerPlot
{
    private const double Width = 760;
    private const double Left = 112;
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
            IReadOnlyDictionary<string, LinearShape[]> linears = LinearSizes.ByRole(config, layer);
            for (int role = 0; role < roles.Count; role++)
            {
                double x = Left + (layer * column), y = cellsTop + (role * CellHeight);
                if (layer == 0) parts.Add(Text(Left - 8, y + 15, "end", "axis", RoleName(config, roles[role])));
                if (!linears.TryGetValue(roles[role], out LinearShape[]? alike)) continue;
                LinearShape[] shown = LinearSizes.Distinct(artifact, alike);
                string title = string.Create(CultureInfo.InvariantCulture, $"layer {layer + 1}, {RoleName(config, roles[role])}: {Bits(artifact, shown, 3, " bits per weight")}{Floats(artifact, alike)}");
                double width = (column - gap) / shown.Length;
                for (int i = 0; i < shown.Length; i++) parts.Add(Cell(artifact, shown[i], title, x + (gap / 2) + (i * width), y + 1, width));
                if (column >= LeastForText) parts.Add(Text(x + (column / 2), y + 15, "middle", null, Number.Fixed(LinearSizes.Bits(artifact, shown[shown.Length / 2]), 2)));
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

    /// <summary>What a row is called: <c>q_proj</c>, <c>up_proj × 64</c> of so many experts, <c>shared up_proj</c> of the one that sees every token.</summary>
    /// <param name="config">The decoder.</param>
    /// <param name="role">One of <see cref="LinearSizes.Roles"/>.</param>
    public static string RoleName(DecoderConfig config, string role)
    {
        string name = role[(role.LastIndexOf('.') + 1)..];
        if (role.StartsWith("mlp.experts.", StringComparison.Ordinal)) return string.Create(CultureInfo.InvariantCulture, $"{name} × {config.Experts}");
        return role.StartsWith("mlp.shared_expert.", StringComparison.Ordinal) ? "shared " + name : name;
    }

    /// <summary>The bits of what <see cref="LinearSizes.Distinct"/> gave: <c>4.75</c>, or <c>2.75 to 8.75, median 4.75</c>.</summary>
    public static string Bits(Artifact artifact, LinearShape[] shown, int decimals, string unit = "")
    {
        string Of(LinearShape linear) => Number.Fixed(LinearSizes.Bits(artifact, linear), decimals);
        return shown is [var least, var median, var most] ? $"{Of(least)} to {Of(most)}{unit}, median {Of(median)}" : Of(shown[0]) + unit;
    }

    private static string Floats(Artifact artifact, LinearShape[] alike)
    {
        int floats = alike.Count(linear => !artifact.Manifest.Layers.ContainsKey(linear.Name));
        if (floats == 0) return "";
        return floats == alike.Length ? ", kept in floating point" : string.Create(CultureInfo.InvariantCulture, $", {floats} kept in floating point");
    }

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

    private static XElement Cell(Artifact artifact, LinearShape linear, string title, double x, double y, double width)
    {
        bool isQuantized = artifact.Manifest.Layers.ContainsKey(linear.Name);
        return Html.Svg(
            "rect",
            Html.At("class", isQuantized ? "cell" : "float"),
            Html.At("x", x),
            Html.At("y", y),
            Html.At("width", width),
            Html.At("height", CellHeight - 2),
            isQuantized ? Html.At("fill-opacity", Shade(LinearSizes.Bits(artifact, linear))) : null,
            Html.Svg("title", title));
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
