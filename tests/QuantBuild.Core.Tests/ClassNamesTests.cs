namespace QuantBuild.Core.Tests;

public class ClassNamesTests
{
    [Theory]
    [InlineData("models/llama-7b", "llama-7b")]
    [InlineData("models/llama-7b/", "llama-7b")]
    [InlineData("models\\llama-7b\\", "llama-7b")]
    [InlineData("meta-llama/Llama-2-7b-hf", "Llama-2-7b-hf")]
    [InlineData("llama", "llama")]
    [InlineData("/data/models/Qwen2.5-0.5B", "Qwen2.5-0.5B")]
    [InlineData("", "")]
    public void A_models_name_is_the_last_segment_of_its_path(string include, string name) => Assert.Equal(name, ClassNames.ModelName(include));

    [Theory]
    [InlineData("llama-7b", "Llama7bGptq4")]
    [InlineData("gutenberg-7m", "Gutenberg7mGptq4")]
    [InlineData("Llama-2-7b-hf", "Llama2_7bGptq4")]
    [InlineData("Llama-2-7b-HF", "Llama2_7bGptq4")]
    [InlineData("Qwen2.5-0.5B", "Qwen2_5_0_5BGptq4")]
    [InlineData("Meta-Llama-3.1-8B-Instruct", "MetaLlama3_1_8BInstructGptq4")]
    [InlineData("TinyLlama-1.1B-Chat-v1.0", "TinyLlama1_1BChatV1_0Gptq4")]
    [InlineData("phi-2", "Phi2Gptq4")]
    [InlineData("Mixtral_8x7B", "Mixtral8x7BGptq4")]
    [InlineData("7b", "_7bGptq4")]
    [InlineData("2-7b", "_2_7bGptq4")]
    [InlineData("class", "ClassGptq4")]
    [InlineData("größe-größe", "GrößeGrößeGptq4")]
    [InlineData("漢字 モデル", "漢字モデルGptq4")]
    [InlineData("a+b (copy)", "ABCopyGptq4")]
    [InlineData("--", "Gptq4")]
    [InlineData("-hf", "Gptq4")]
    [InlineData("hf", "HfGptq4")]
    [InlineData("😀smile", "SmileGptq4")]
    public void A_class_is_named_after_model_method_and_bits(string model, string expected)
    {
        string name = ClassNames.Create(model, "Gptq", "4");
        Assert.Equal(expected, name);
        Assert.True(ClassNames.IsClassName(name));
    }

    [Theory]
    [InlineData(QuantizationMethod.Rtn, 8, "LlamaRtn8")]
    [InlineData(QuantizationMethod.Rtn, 2, "LlamaRtn2")]
    [InlineData(QuantizationMethod.Gptq, 3, "LlamaGptq3")]
    [InlineData(QuantizationMethod.Awq, 4, "LlamaAwq4")]
    [InlineData(QuantizationMethod.AutoRound, 2, "LlamaAutoRound2")]
    // Not LlamaNf44.
    [InlineData(QuantizationMethod.Nf4, 4, "LlamaNf4")]
    [InlineData(QuantizationMethod.Fp4, 4, "LlamaFp4")]
    [InlineData(QuantizationMethod.Int8, 8, "LlamaInt8")]
    public void Method_and_bits_come_last(QuantizationMethod method, int bits, string expected) =>
        Assert.Equal(expected, ClassNames.Create("llama", method.ToString(), bits.ToString(System.Globalization.CultureInfo.InvariantCulture)));

    [Theory]
    [InlineData("Llama7b", true)]
    [InlineData("_7b", true)]
    [InlineData("Größe", true)]
    [InlineData("record", true)]
    [InlineData("", false)]
    [InlineData("7b", false)]
    [InlineData("class", false)]
    [InlineData("a-b", false)]
    [InlineData("a b", false)]
    [InlineData("@a", false)]
    [InlineData("a.b", false)]
    public void An_identifier_is_recognized(string text, bool expected) => Assert.Equal(expected, ClassNames.IsIdentifier(text));

    [Theory]
    [InlineData("Generate")]
    [InlineData("Info")]
    [InlineData("Shared")]
    [InlineData("class")]
    [InlineData("")]
    public void A_class_cannot_have_the_name_of_a_keyword_or_of_its_members(string name) => Assert.False(ClassNames.IsClassName(name));

    [Theory]
    [InlineData("MyApp", "MyApp.Models")]
    [InlineData("My.App", "My.App.Models")]
    [InlineData("my-app", "my_app.Models")]
    [InlineData("My App (2)", "My_App__2_.Models")]
    [InlineData("7b.test", "_7b.test.Models")]
    [InlineData("new.class", "_new._class.Models")]
    [InlineData("", "Models")]
    [InlineData("..", "Models")]
    [InlineData("😀", "__.Models")]
    public void A_projects_models_are_in_a_namespace_below_its_root(string rootNamespace, string expected)
    {
        Assert.Equal(expected, ClassNames.DefaultNamespace(rootNamespace));
        Assert.True(ClassNames.IsNamespace(expected));
    }

    [Theory]
    [InlineData("A", true)]
    [InlineData("A.B._7", true)]
    [InlineData("", false)]
    [InlineData(".A", false)]
    [InlineData("A.", false)]
    [InlineData("A..B", false)]
    [InlineData("A.class", false)]
    [InlineData("A-B.C", false)]
    public void A_namespace_is_recognized(string text, bool expected) => Assert.Equal(expected, ClassNames.IsNamespace(text));
}
