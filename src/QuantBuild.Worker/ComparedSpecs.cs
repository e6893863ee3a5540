using QuantBuild.Worker.Reporting;

namespace QuantBuild.Worker;

/// <summary>Which specifications a comparison has, besides the one that is declared.</summary>
internal static class ComparedSpecs
{
    // A method that calibrates is as good as the float model at 8 bits, and one that does not takes no time there.
    private static readonly int[] Calibrated = [4, 3, 2];
    private static readonly int[] Uncalibrated = [8, 4, 3, 2];

    /// <summary>
    /// Every method there is at every width that is sensible for it, the widest first, and the declared specification where it is none of them. What the
    /// declaration sets besides method and width holds for all.
    /// </summary>
    /// <param name="declared">What is declared.</param>
    /// <param name="config">The model, whose linears the groups must fit.</param>
    public static IReadOnlyList<QuantizationSpec> Of(QuantizationSpec declared, DecoderConfig config)
    {
        int groupSize = LinearSizes.FittingGroupSize(config, declared.HasGroups ? declared.GroupSize : new QuantizationSpec().GroupSize);
        QuantizationSpec[] all =
        [
            .. Enum.GetValues<QuantizationMethod>()
                .SelectMany(method => Widths(method).Select(bits => declared with { Method = method, Bits = bits, GroupSize = groupSize })),
        ];
        return
        [
            .. (all.Any(spec => Same(spec, declared)) ? all : [declared, .. all])
                .OrderByDescending(spec => spec.Bits).ThenBy(spec => spec.NeedsCalibration),
        ];
    }

    /// <summary>Whether two specifications mean the same.</summary>
    public static bool Same(QuantizationSpec one, QuantizationSpec other) => one.ToMetadata().SequenceEqual(other.ToMetadata());

    private static int[] Widths(QuantizationMethod method) => QuantizationSpec.BitsOf(method) is { } only
        ? [only]
        : new QuantizationSpec { Method = method }.NeedsCalibration ? Calibrated : Uncalibrated;
}
