using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace QuantBuild.Generators.Tests;

public class GeneratedCodeTests
{
    [Fact]
    public void The_class_of_the_sample() => Snapshot.Verify(GeneratorRun.Source(Descriptors.Sample));

    [Fact]
    public void The_class_of_a_model_quantized_per_channel() => Snapshot.Verify(GeneratorRun.Source(Descriptors.PerChannel));

    [Fact]
    public void The_class_of_a_model_whose_names_need_escapes() => Snapshot.Verify(GeneratorRun.Source(Descriptors.Awkward));

    [Theory]
    [InlineData(QuantizationMethod.Nf4, 4, 64, "quantized by NF4 to 4 bits per weight, in blocks of 64:")]
    [InlineData(QuantizationMethod.Fp4, 4, 4096, "quantized by FP4 to 4 bits per weight, in blocks of 4,096:")]
    [InlineData(QuantizationMethod.Int8, 8, -1, "quantized by LLM.int8() to 8 bits per weight, one group for each row:")]
    public void The_class_of_a_method_of_bitsandbytes_says_so_and_compiles(QuantizationMethod method, int bits, int groupSize, string said)
    {
        ModelDescriptor descriptor = Descriptors.Sample with { ClassName = "Llama" + method, Method = method, Bits = bits, GroupSize = groupSize };
        string source = GeneratorRun.Source(descriptor);
        Assert.Contains(said, source, StringComparison.Ordinal);
        Assert.Contains($"Method = global::QuantBuild.QuantizationMethod.{method},", source, StringComparison.Ordinal);
        Assert.Empty(Compile(LanguageVersion.CSharp9, "", descriptor));
    }

    [Fact]
    public void The_class_of_a_model_that_was_not_downloaded_yet_says_so_and_compiles()
    {
        ModelDescriptor descriptor = Descriptors.Sample with { Architecture = "", Parameters = 0, ContextLength = 0, VocabularySize = 0, Fingerprint = "" };
        Assert.Contains("the next build downloads it", GeneratorRun.Source(descriptor), StringComparison.Ordinal);
        Assert.Empty(Compile(LanguageVersion.CSharp9, "", descriptor));
    }

    [Theory]
    [InlineData(LanguageVersion.CSharp9)]
    [InlineData(LanguageVersion.CSharp10)]
    [InlineData(LanguageVersion.CSharp11)]
    [InlineData(LanguageVersion.Latest)]
    public void Generated_code_compiles_without_a_diagnostic_of_any_severity(LanguageVersion version)
    {
        Assert.Empty(Compile(version, "", Descriptors.Sample, Descriptors.PerChannel, Descriptors.Awkward));
    }

    [Theory]
    [InlineData("llama")]
    [InlineData("record")]
    [InlineData("var")]
    [InlineData("dynamic")]
    [InlineData("await")]
    [InlineData("async")]
    [InlineData("file")]
    [InlineData("required")]
    [InlineData("scoped")]
    [InlineData("field")]
    [InlineData("partial")]
    [InlineData("global")]
    [InlineData("nint")]
    [InlineData("_")]
    [InlineData("System")]
    [InlineData("QuantBuild")]
    [InlineData("LanguageModel")]
    [InlineData("Task")]
    [InlineData("Größe1")]
    public void Any_class_name_that_is_accepted_compiles_without_a_diagnostic(string name)
    {
        Assert.True(ClassNames.IsClassName(name));
        Assert.Empty(Compile(LanguageVersion.Latest, "", Descriptors.Sample with { ClassName = name }));
        Assert.Empty(Compile(LanguageVersion.Latest, "", Descriptors.Sample with { Namespace = "A." + name }));
    }

    [Fact]
    public void A_user_can_add_to_the_class_and_use_it_where_names_of_the_framework_are_taken()
    {
        const string User = """
            namespace System.Mine { internal class Uses { } }
            namespace HelloQuant.Models.System { internal class Threading { } }
            namespace HelloQuant.QuantBuild { internal class LanguageModel { } }
            namespace HelloQuant.Models
            {
                /// <summary>The user's part.</summary>
                public partial class Gutenberg7mGptq4
                {
                    /// <summary>Initialized before the fields of the generated part.</summary>
                    public static string Greeting { get; } = Generate("Hello,", cancellationToken: default);
                    /// <summary>All members.</summary>
                    public static async global::System.Threading.Tasks.Task UseAsync()
                    {
                        using global::QuantBuild.LanguageModel model = Load(new global::QuantBuild.LoadOptions());
                        using global::QuantBuild.LanguageModel other = await LoadAsync();
                        await GenerateAsync("Hello,");
                        await foreach (string piece in StreamAsync("Hello,", new global::QuantBuild.GenerationOptions())) _ = piece;
                        _ = Info.Bits + Shared.Generate("").Length;
                    }
                }
            }
            """;
        Assert.Empty(Compile(LanguageVersion.Latest, User, Descriptors.Sample));
    }

    [Theory]
    [InlineData(LanguageVersion.CSharp11, true)]
    [InlineData(LanguageVersion.Latest, true)]
    [InlineData(LanguageVersion.CSharp10, false)]
    public void The_class_is_a_type_argument_where_the_language_has_static_members_of_interfaces(LanguageVersion version, bool has)
    {
        const string User = """
            namespace Users
            {
                /// <summary>Takes models.</summary>
                public static class Services
                {
                    /// <summary>As <c>AddQuantizedModel</c> does.</summary>
                    public static string Use() => NameOf<HelloQuant.Models.Gutenberg7mGptq4>();
                    private static string NameOf<T>() where T : global::QuantBuild.IQuantizedModel => T.Info.ClassName;
                }
            }
            """;
        INamedTypeSymbol type = Generate(version, "", Descriptors.Sample).GetTypeByMetadataName("HelloQuant.Models.Gutenberg7mGptq4")!;
        Assert.Equal(has ? ["IQuantizedModel"] : [], type.Interfaces.Select(i => i.Name));
        Assert.True(type.IsSealed && type.InstanceConstructors.All(c => c.DeclaredAccessibility == Accessibility.Private));
        if (has) Assert.Empty(Compile(version, User, Descriptors.Sample));
    }

    [Fact]
    public void Every_public_member_is_documented_with_its_parameters_and_errors()
    {
        Compilation compilation = Generate(LanguageVersion.Latest, "", Descriptors.Sample);
        INamedTypeSymbol type = compilation.GetTypeByMetadataName("HelloQuant.Models.Gutenberg7mGptq4")!;
        ISymbol[] members = [.. type.GetMembers().Where(m => m.DeclaredAccessibility == Accessibility.Public && !m.IsImplicitlyDeclared && m is not IMethodSymbol { AssociatedSymbol: not null })];
        Assert.Equal(["Generate", "GenerateAsync", "Info", "Load", "LoadAsync", "Shared", "StreamAsync"], members.Select(m => m.Name).Order(StringComparer.Ordinal));
        foreach (ISymbol member in members)
        {
            string documentation = member.GetDocumentationCommentXml()!;
            Assert.Contains("<summary>", documentation, StringComparison.Ordinal);
            if (member is not IMethodSymbol method) continue;
            Assert.Contains("<returns>", documentation, StringComparison.Ordinal);
            Assert.Contains("T:QuantBuild.QuantBuildException", documentation, StringComparison.Ordinal);
            Assert.Matches("QB4[0-9]{3}", documentation);
            Assert.All(method.Parameters, p => Assert.Contains($"<param name=\"{p.Name}\">", documentation, StringComparison.Ordinal));
        }
    }

    [Fact]
    public void A_hundred_models_give_a_hundred_classes()
    {
        ModelDescriptor[] descriptors = [.. Enumerable.Range(0, 100).Select(i => Descriptors.Sample with { ClassName = $"Model{i}" })];
        Compilation compilation = Generate(LanguageVersion.Latest, "", descriptors);
        Assert.All(descriptors, d => Assert.NotNull(compilation.GetTypeByMetadataName($"{d.Namespace}.{d.ClassName}")));
        Assert.Equal(101, compilation.SyntaxTrees.Count());
    }

    [Fact]
    public void The_same_class_name_in_two_namespaces_gives_two_classes()
    {
        ModelDescriptor other = Descriptors.Sample with { Namespace = "Other.Models" };
        Assert.Empty(Compile(LanguageVersion.Latest, "", Descriptors.Sample, other));
    }

    [Fact]
    public void Class_names_that_differ_in_case_alone_give_two_classes()
    {
        ModelDescriptor other = Descriptors.Sample with { ClassName = "GUTENBERG7mGptq4" };
        Compilation compilation = Generate(LanguageVersion.Latest, "", Descriptors.Sample, other);
        Assert.NotNull(compilation.GetTypeByMetadataName("HelloQuant.Models.Gutenberg7mGptq4"));
        Assert.NotNull(compilation.GetTypeByMetadataName("HelloQuant.Models.GUTENBERG7mGptq4"));
    }

    [Fact]
    public void Two_descriptors_of_one_class_give_the_first_and_leave_the_others_alone()
    {
        ModelDescriptor third = Descriptors.Sample with { ClassName = "Third" };
        Compilation compilation = Generate(LanguageVersion.Latest, "", Descriptors.Sample, Descriptors.Sample with { Bits = 3 }, third);
        Assert.NotNull(compilation.GetTypeByMetadataName("HelloQuant.Models.Third"));
        string source = Assert.Single(compilation.SyntaxTrees, t => t.FilePath.Contains("Gutenberg7mGptq4", StringComparison.Ordinal)).ToString();
        Assert.Contains("Bits = 4,", source, StringComparison.Ordinal);
    }

    private static Compilation Generate(LanguageVersion version, string user, params ModelDescriptor[] descriptors)
    {
        ImmutableArray<AdditionalText> files = [.. descriptors.Select(GeneratorRun.File)];
        GeneratorRun.DriverOf(files, version).RunGeneratorsAndUpdateCompilation(
            GeneratorRun.Compilation(user, version), out Compilation result, out ImmutableArray<Diagnostic> reported);
        Assert.Empty(reported);
        return result;
    }

    private static ImmutableArray<Diagnostic> Compile(LanguageVersion version, string user, params ModelDescriptor[] descriptors)
    {
        Compilation compilation = Generate(version, user, descriptors);
        Assert.Equal(descriptors.Length + 1, compilation.SyntaxTrees.Count());
        return compilation.GetDiagnostics();
    }
}
