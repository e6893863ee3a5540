namespace QuantBuild.Core.Tests;

/// <summary>What the parts of a build write for each other is read as it was written.</summary>
public sealed class RoundTripTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public static TheoryData<string> Texts { get; } =
    [
        "plain", "", " blanks at both ends ", "quotes \" and ' and `", "<tags> & &amp; ]]> {\"json\": [1]}", "back\\slash\\n C:\\models\\x",
        "lines\nand\r\nmore\rtab\tend\n", "Größe 漢字 \ud83d\ude00 \u00a0\u2028\u2029\ufeff", "\u0001\u001b[31mred\u001b[0m\u007f\u0085", "\u0008\u000c\u000b\u001f",
    ];

    public void Dispose() => folder.Dispose();

    [Theory]
    [MemberData(nameof(Texts))]
    public void A_descriptor_round_trips(string text)
    {
        ModelDescriptor descriptor = Descriptor with { ModelName = text, Architecture = text, ArtifactFileName = text };
        Assert.Equal(descriptor, ModelDescriptor.TryParse(descriptor.ToXml()));
    }

    [Fact]
    public void A_descriptor_is_the_same_text_each_time_and_ends_in_a_newline()
    {
        Assert.Equal(Descriptor.ToXml(), Descriptor.ToXml());
        Assert.EndsWith("/>\n", Descriptor.ToXml(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("text")]
    [InlineData("<QuantizedModel/>")]
    [InlineData("<QuantizedModel")]
    [InlineData("<!DOCTYPE x [<!ENTITY a 'b'>]><QuantizedModel/>")]
    public void What_is_no_descriptor_is_nothing(string text) => Assert.Null(ModelDescriptor.TryParse(text));

    [Theory]
    [InlineData("Bits=\"4\"", "Bits=\"four\"")]
    [InlineData("Bits=\"4\"", "Bits=\"99999999999\"")]
    [InlineData("Bits=\"4\"", "")]
    [InlineData("Method=\"Gptq\"", "Method=\"Magic\"")]
    [InlineData("Method=\"Gptq\"", "Method=\"9\"")]
    [InlineData("Parameters=\"6819072\"", "Parameters=\"-1\"")]
    [InlineData("<QuantizedModel", "<Other")]
    public void A_damaged_descriptor_is_nothing(string value, string replacement)
    {
        string xml = Descriptor.ToXml();
        Assert.Contains(value, xml, StringComparison.Ordinal);
        Assert.Null(ModelDescriptor.TryParse(xml.Replace(value, replacement, StringComparison.Ordinal)));
    }

    [Theory]
    [MemberData(nameof(Texts))]
    public void A_request_round_trips(string text)
    {
        WorkerRequest request = new()
        {
            ModelPath = text,
            Spec = new QuantizationSpec { Bits = 3, GroupSize = 32, Damping = 0.1 + 0.2 },
            CalibrationFile = text,
            EvaluationFile = text,
            Device = "cuda:1",
            Fingerprint = "ff",
            ArtifactPath = text,
            BuildRecordPath = text,
            ReportPath = text,
        };
        AssertRoundTrips(request);
        AssertRoundTrips(request with { Gates = new QualityGates { MaxPerplexityIncrease = 1.5m, MaxKlDivergence = 0.0000001m } });
        AssertRoundTrips(request with { MaxMemory = 1L << 40 });
        AssertRoundTrips(request with { CalibrationFile = null, EvaluationFile = null, ReportPath = null, Spec = new QuantizationSpec { Method = QuantizationMethod.Rtn } });
    }

    [Theory]
    [MemberData(nameof(Texts))]
    public void A_request_to_compare_round_trips(string text)
    {
        CompareRequest request = new()
        {
            ModelPath = text,
            Spec = new QuantizationSpec { Bits = 3, GroupSize = 32 },
            CalibrationFile = text,
            EvaluationFile = text,
            Device = "cuda:1",
            OutputPath = text,
        };
        foreach (CompareRequest each in new[] { request, request with { CalibrationFile = null, EvaluationFile = null } })
        {
            string path = Path.Combine(folder.Path, "compare.xml");
            each.Save(path);
            Assert.Equal(each, CompareRequest.Load(path));
        }
    }

    [Fact]
    public void A_request_that_lacks_a_value_says_which()
    {
        string path = folder.File("request.xml", "<QuantizeRequest><Spec /></QuantizeRequest>");
        Assert.Contains("ModelPath", Assert.Throws<FormatException>(() => WorkerRequest.Load(path)).Message, StringComparison.Ordinal);
        File.WriteAllText(path, "<QuantizeRequest />");
        Assert.Contains("Spec", Assert.Throws<FormatException>(() => WorkerRequest.Load(path)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Texts))]
    public void A_message_round_trips_in_one_line(string text)
    {
        foreach (WorkerMessageKind kind in Enum.GetValues<WorkerMessageKind>())
        {
            WorkerMessage message = new() { Kind = kind, Text = text };
            AssertRoundTrips(message);
            AssertRoundTrips(message with { Code = "QB3006", Fraction = 1.0 / 3, SecondsLeft = 1e-9 });
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("warning: a library printed this")]
    [InlineData("{")]
    [InlineData("{}")]
    [InlineData("{ not json }")]
    [InlineData("""{"kind": "Done"}""")]
    [InlineData("""{"text": "no kind"}""")]
    [InlineData("""{"kind": "Party", "text": "no such kind"}""")]
    [InlineData("""{"kind": "9", "text": "no such kind"}""")]
    [InlineData("""{"kind": null, "text": "no kind"}""")]
    [InlineData("""{"kind": "Progress", "text": "x", "fraction": "half"}""")]
    [InlineData("""{"kind": "Done", "text": "two"}{"kind": "Done", "text": "lines"}""")]
    [InlineData("""[{"kind": "Done", "text": "a list"}]""")]
    public void A_line_that_is_no_message_is_nothing(string line) => Assert.Null(WorkerMessage.TryParse(line));

    [Fact]
    public void A_message_is_read_whatever_the_order_of_its_members_and_the_end_of_its_line()
    {
        WorkerMessage? message = WorkerMessage.TryParse("{\"later\": {\"x\": [1]}, \"text\":\"layer 1\", \"fraction\":0.5, \"kind\":\"Progress\"}\r");
        Assert.Equal(new WorkerMessage { Kind = WorkerMessageKind.Progress, Text = "layer 1", Fraction = 0.5 }, message);
    }

    private static ModelDescriptor Descriptor { get; } = new()
    {
        ClassName = "Gutenberg7mGptq4",
        Namespace = "HelloQuant.Models",
        ModelName = "gutenberg-7m",
        Architecture = "LlamaForCausalLM",
        Method = QuantizationMethod.Gptq,
        Bits = 4,
        GroupSize = -1,
        Parameters = 6_819_072,
        ContextLength = 512,
        VocabularySize = 4096,
        WordsAreTokens = true,
        ArtifactFileName = "Gutenberg7mGptq4.safetensors",
        Fingerprint = "",
    };

    private static void AssertRoundTrips(WorkerMessage message)
    {
        string line = message.ToLine();
        Assert.DoesNotContain('\n', line);
        Assert.DoesNotContain('\r', line);
        Assert.Equal(message, WorkerMessage.TryParse(line));
    }

    private void AssertRoundTrips(WorkerRequest request)
    {
        string path = Path.Combine(folder.Path, "request.xml");
        request.Save(path);
        Assert.Equal(request, WorkerRequest.Load(path));
    }
}
