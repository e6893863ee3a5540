using Microsoft.CodeAnalysis;

namespace QuantBuild.Generators.Tests;

public class MalformedDescriptorTests
{
    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("not XML")]
    [InlineData("<QuantizedModel")]
    [InlineData("<QuantizedModel />")]
    [InlineData("<Other />")]
    public void A_file_that_is_no_descriptor_is_reported_by_id_and_path(string? content) => AssertReported(content);

    [Theory]
    [InlineData("Bits", "four")]
    [InlineData("Bits", "99999999999")]
    [InlineData("Method", "Magic")]
    [InlineData("Method", "99")]
    [InlineData("Parameters", "-1")]
    [InlineData("ClassName", "not a name")]
    [InlineData("ClassName", "class")]
    [InlineData("ClassName", "Generate")]
    [InlineData("ClassName", "A { } class B")]
    [InlineData("Namespace", "")]
    [InlineData("Namespace", "A..B")]
    public void A_value_that_cannot_be_is_reported(string attribute, string value)
    {
        var root = System.Xml.Linq.XElement.Parse(Descriptors.Sample.ToXml());
        Assert.NotNull(root.Attribute(attribute));
        root.SetAttributeValue(attribute, value);
        AssertReported(root.ToString());
    }

    [Fact]
    public void A_malformed_file_leaves_the_other_models_their_classes()
    {
        AdditionalText broken = new GeneratorRun.TextFile("/project/broken.quantbuild.xml", "<");
        GeneratorRunResult result = GeneratorRun.DriverOf([broken, GeneratorRun.File(Descriptors.Sample)])
            .RunGenerators(GeneratorRun.Compilation()).GetRunResult().Results.Single();
        Assert.Single(result.GeneratedSources);
        Assert.Single(result.Diagnostics);
        Assert.Null(result.Exception);
    }

    private static void AssertReported(string? content)
    {
        const string Path = "/project/obj/quantbuild/Broken.quantbuild.xml";
        GeneratorRunResult result = GeneratorRun.DriverOf([new GeneratorRun.TextFile(Path, content)])
            .RunGenerators(GeneratorRun.Compilation()).GetRunResult().Results.Single();
        Assert.Null(result.Exception);
        Assert.Empty(result.GeneratedSources);
        Diagnostic diagnostic = Assert.Single(result.Diagnostics);
        Assert.Equal("QB0008", diagnostic.Id);
        Assert.Equal(DiagnosticSeverity.Error, diagnostic.Severity);
        Assert.Equal(Path, diagnostic.Location.GetLineSpan().Path);
        Assert.Contains(Path, diagnostic.GetMessage(System.Globalization.CultureInfo.InvariantCulture), StringComparison.Ordinal);
        Assert.Equal(DiagnosticIds.HelpLink("QB0008"), diagnostic.Descriptor.HelpLinkUri);
    }
}
