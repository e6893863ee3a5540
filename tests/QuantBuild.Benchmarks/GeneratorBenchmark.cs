extern alias generators;

using System.Collections.Immutable;
using System.Diagnostics;
using generators::QuantBuild.Generators;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Text;
using ModelDescriptor = generators::QuantBuild.ModelDescriptor;
using QuantizationMethod = generators::QuantBuild.QuantizationMethod;

namespace QuantBuild.Benchmarks;

/// <summary>What the generator adds to a compilation: the classes of many models, and an edit that has nothing to do with them.</summary>
static class GeneratorBenchmark
{
    private const int Models = 100;
    private const int Runs = 50;

    public static void Run()
    {
        ImmutableArray<AdditionalText> files = [.. Enumerable.Range(0, Models).Select(Descriptor)];
        CSharpParseOptions options = new(LanguageVersion.Latest);
        SyntaxTree program = CSharpSyntaxTree.ParseText("class Program { static void Main() { } }", options);
        CSharpCompilation compilation = CSharpCompilation.Create("Program", [program], [MetadataReference.CreateFromFile(typeof(object).Assembly.Location)]);

        List<double> all = [], edits = [];
        for (int run = 0; run <= Runs; run++)
        {
            // The descriptors' text is read from the disk in a build; here it is there.
            GeneratorDriver driver = CSharpGeneratorDriver.Create([new ModelClassGenerator().AsSourceGenerator()], files, options);
            all.Add(Seconds(() => driver = driver.RunGenerators(compilation)));
            if (driver.GetRunResult().GeneratedTrees.Length != Models) throw new InvalidOperationException("Not every model has a class.");
            CSharpCompilation edited = compilation.ReplaceSyntaxTree(program, CSharpSyntaxTree.ParseText($"class Program {{ static void Main() {{ int x = {run}; }} }}", options));
            edits.Add(Seconds(() => driver = driver.RunGenerators(edited)));
        }

        Console.WriteLine($"{Models} models, medians of {Runs} runs:");
        Console.WriteLine();
        Console.WriteLine("| | ms |");
        Console.WriteLine("|---|---|");
        Console.WriteLine($"| all classes written, in a process that has done it before | {1000 * Figures.Median(all.Skip(1)):F1} |");
        Console.WriteLine($"| all classes written, the first time in a process (once) | {1000 * all[0]:F0} |");
        Console.WriteLine($"| an edit elsewhere in the program | {1000 * Figures.Median(edits.Skip(1)):F2} |");
    }

    private static double Seconds(Action action)
    {
        long start = Stopwatch.GetTimestamp();
        action();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private static AdditionalText Descriptor(int number) => new DescriptorText(new ModelDescriptor
    {
        ClassName = $"Model{number}Gptq4",
        Namespace = "Program.Models",
        ModelName = $"model-{number}",
        Architecture = "LlamaForCausalLM",
        Method = QuantizationMethod.Gptq,
        Bits = 4,
        GroupSize = 128,
        Parameters = 1_000_000_000 + number,
        ContextLength = 4096,
        VocabularySize = 32_000,
        ArtifactFileName = $"Model{number}Gptq4.safetensors",
        Fingerprint = number.ToString("x64", System.Globalization.CultureInfo.InvariantCulture),
    });

    private sealed class DescriptorText(ModelDescriptor descriptor) : AdditionalText
    {
        private readonly SourceText text = SourceText.From(descriptor.ToXml());

        public override string Path => $"/obj/{descriptor.ClassName}{ModelDescriptor.FileSuffix}";

        public override SourceText GetText(CancellationToken cancellationToken = default) => text;
    }
}
