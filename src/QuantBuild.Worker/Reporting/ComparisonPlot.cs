using System.Globalization;
using System.Xml.Linq;

namespace QuantBuild.Worker.Reporting;

/// <summary>The methods as points: bits per weight to the right, KL divergence from the float model upwards.</summary>
internal static class ComparisonPlot
{
    private const double Width = 760;
    private const double Height = 360;
    private const double Left = 64;
    private const double Right = 70;
    private const double Top = 26;
    private const double Bottom = 40;
    private const double Radius = 5;

    /// <summary>The drawing, or <see langword="null"/> where no row has a divergence.</summary>
    public static XElement? Create(Comparison comparison)
    {
        ComparedRow[] rows = [.. comparison.Rows.Where(row => row is { KlDivergence: > 0, BitsPerWeight: not null })];
        if (rows.Length == 0) return null;
        double lowest = Math.Floor(Math.Log10(rows.Min(row => row.KlDivergence!.Value)));
        double highest = Math.Max(lowest + 1, Math.Ceiling(Math.Log10(rows.Max(row => row.KlDivergence!.Value))));
        double mostBits = Math.Ceiling(rows.Max(row => row.BitsPerWeight!.Value)), leastBits = Math.Floor(rows.Min(row => row.BitsPerWeight!.Value));
        if (mostBits <= leastBits) mostBits = leastBits + 1;
        double X(double bits) => Left + ((Width - Left - Right) * (bits - leastBits) / (mostBits - leastBits));
        double Y(double divergence) => Top + ((Height - Top - Bottom) * (highest - Math.Log10(divergence)) / (highest - lowest));

        List<XElement> parts = [Text(Left, Top - 12, "start", "axis", "KL divergence from the float model, nats")];
        for (double power = lowest; power <= highest; power++)
        {
            double y = Y(Math.Pow(10, power));
            parts.Add(Line(Left, Width - Right, y, y));
            parts.Add(Text(Left - 8, y + 4, "end", "axis", Math.Pow(10, power).ToString("0.##########", CultureInfo.InvariantCulture)));
        }

        for (double bits = leastBits; bits <= mostBits; bits++)
        {
            parts.Add(Line(X(bits), X(bits), Top, Height - Bottom));
            parts.Add(Text(X(bits), Height - Bottom + 16, "middle", "axis", Number.Plain(bits)));
        }

        parts.Add(Text((Left + Width - Right) / 2, Height - 6, "middle", "axis", "bits per weight of the linears"));
        List<Box> taken = [.. rows.Select(row => Box.Around(X(row.BitsPerWeight!.Value), Y(row.KlDivergence!.Value)))];
        foreach (ComparedRow row in rows)
        {
            double x = X(row.BitsPerWeight!.Value), y = Y(row.KlDivergence!.Value);
            parts.Add(Html.Svg(
                "circle",
                Html.At("class", row.IsDeclared ? "dot marked" : "dot"),
                Html.At("cx", x),
                Html.At("cy", y),
                Html.At("r", Radius),
                Html.Svg("title", string.Create(
                    CultureInfo.InvariantCulture, $"{ComparisonColumns.Name(row)}, {row.Bits} bits: {row.BitsPerWeight:F2} bits per weight, KL divergence {Number.Divergence(row.KlDivergence)} nats"))));
            string label = string.Create(CultureInfo.InvariantCulture, $"{row.Method} {row.Bits}");
            Box place = Box.Places(x, y, label.Length).FirstOrDefault(box => box.X >= Left && !taken.Any(box.Overlaps)) ?? Box.Places(x, y, label.Length).First();
            taken.Add(place);
            parts.Add(Text(place.X + 2, place.Y + 11, "start", null, label));
        }

        return Html.Svg(
            "svg",
            Html.At("viewBox", string.Create(CultureInfo.InvariantCulture, $"0 0 {Width} {Height}")),
            Html.At("role", "img"),
            Html.Svg("title", "KL divergence of each method over its bits per weight"),
            parts);
    }

    private static XElement Line(double x1, double x2, double y1, double y2) =>
        Html.Svg("line", Html.At("class", "grid"), Html.At("x1", x1), Html.At("x2", x2), Html.At("y1", y1), Html.At("y2", y2));

    private static XElement Text(double x, double y, string anchor, string? className, string text) => Html.Svg(
        "text", Html.At("x", x), Html.At("y", y), Html.At("text-anchor", anchor), className is null ? null : Html.At("class", className), text);

    /// <summary>What a point or a label covers.</summary>
    private sealed record Box(double X, double Y, double Width, double Height)
    {
        private const double LetterWidth = 6.2;

        public static Box Around(double x, double y) => new(x - Radius, y - Radius, 2 * Radius, 2 * Radius);

        /// <summary>Where the label of a point may stand, the best place first: beside it, else above or below.</summary>
        public static IEnumerable<Box> Places(double x, double y, int letters)
        {
            double width = (letters * LetterWidth) + 4;
            const double height = 14;
            foreach (double top in new[] { y - 7, y - 16, y + 2, y - 26, y + 12 })
            {
                yield return new Box(x + Radius + 1, top, width, height);
                yield return new Box(x - Radius - 1 - width, top, width, height);
            }
        }

        public bool Overlaps(Box other) =>
            X < other.X + other.Width && other.X < X + Width && Y < other.Y + other.Height && other.Y < Y + Height;
    }
}
