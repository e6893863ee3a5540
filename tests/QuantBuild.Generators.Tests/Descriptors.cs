namespace QuantBuild.Generators.Tests;

/// <summary>Descriptors to generate from.</summary>
internal static class Descriptors
{
    public static ModelDescriptor Sample { get; } = new()
    {
        ClassName = "Gutenberg7mGptq4",
        Namespace = "HelloQuant.Models",
        ModelName = "gutenberg-7m",
        Architecture = "LlamaForCausalLM",
        Method = QuantizationMethod.Gptq,
        Bits = 4,
        GroupSize = 128,
        Parameters = 6_819_072,
        ContextLength = 512,
        VocabularySize = 4096,
        ArtifactFileName = "Gutenberg7mGptq4.safetensors",
        Fingerprint = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    };

    public static ModelDescriptor PerChannel { get; } = Sample with
    {
        ClassName = "Gutenberg7mRtn8",
        Method = QuantizationMethod.Rtn,
        Bits = 8,
        GroupSize = -1,
        ArtifactFileName = "Gutenberg7mRtn8.safetensors",
        Fingerprint = "",
    };

    /// <summary>Text that needs an escape in C#, in XML, or in both.</summary>
    public static ModelDescriptor Awkward { get; } = Sample with
    {
        ClassName = "required",
        Namespace = "Ünïcode.record.QuantBuild.System",
        ModelName = "a\"b\\c<d>&'e' */ {0} {{x}} \r\n#error \u2028 漢字 \ud83d\ude00",
        Architecture = "Llama<\"&>",
        ArtifactFileName = "tab\tand \"quote\".safetensors",
    };
}
