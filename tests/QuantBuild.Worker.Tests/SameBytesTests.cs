using System.Globalization;

namespace QuantBuild.Worker.Tests;

/// <summary>The same input gives the same bytes, whatever else is different.</summary>
public sealed class SameBytesTests
{
    public static TheoryData<QuantizationMethod> Methods { get; } = [.. Enum.GetValues<QuantizationMethod>()];

    [Theory]
    [MemberData(nameof(Methods))]
    public void An_artifact_does_not_depend_on_the_number_of_processors(QuantizationMethod method)
    {
        QuantizationSpec spec = new() { Method = method, CalibrationSamples = 4, CalibrationContext = 128, EvaluationContext = 128, Iterations = 4 };
        byte[] one = Made(spec, processors: 1);
        Assert.Equal(one, Made(spec, processors: 2));
        Assert.Equal(one, Made(spec, processors: 3));
    }

    private static byte[] Made(QuantizationSpec spec, int processors)
    {
        using SampleBuild build = new(spec);
        build.Run(("DOTNET_PROCESSOR_COUNT", processors.ToString(CultureInfo.InvariantCulture)));
        Assert.Equal(processors, BuildRecord.TryRead(build.Request.BuildRecordPath)!.Threads);
        return build.Artifact!;
    }
}
