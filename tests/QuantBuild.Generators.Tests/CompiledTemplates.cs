using System.Reflection;
using System.Runtime.Loader;
using System.Text;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using QuantBuild.Generators.Jinja;

namespace QuantBuild.Generators.Tests;

/// <summary>Chat templates as the compiler makes them of the generator's code, ready to write conversations.</summary>
internal sealed class CompiledTemplates
{
    // What a program does with a template, and the time stands still.
    private const string Driver = """
        public static class Driver
        {
            public static string Render(string name, string json)
            {
                using System.Text.Json.JsonDocument variables = System.Text.Json.JsonDocument.Parse(json);
                return ((QuantBuild.ChatTemplate)System.Activator.CreateInstance(typeof(Driver).Assembly.GetType(name)!)!).Render(variables.RootElement, new Clock());
            }

            private sealed class Clock : System.TimeProvider
            {
                public override global::System.TimeZoneInfo LocalTimeZone => global::System.TimeZoneInfo.Utc;

                public override global::System.DateTimeOffset GetUtcNow() => new(2024, 7, 6, 9, 5, 3, global::System.TimeSpan.Zero);
            }
        }
        """;

    private readonly Func<string, string, string> render;

    private CompiledTemplates(Func<string, string, string> render) => this.render = render;

    /// <summary>Compiles templates.</summary>
    /// <param name="templates">The texts.</param>
    /// <param name="version">The version of the language that they are compiled as.</param>
    public static CompiledTemplates Of(IReadOnlyList<string> templates, LanguageVersion version = LanguageVersion.Latest)
    {
        StringBuilder source = new("#nullable enable\n");
        for (int i = 0; i < templates.Count; i++)
        {
            CompiledTemplate template = TemplateCompiler.Compile(new TemplateFile($"{i}.jinja", templates[i]));
            Assert.True(template.Code is not null, $"{template.Error} ({template.Line + 1},{template.Column + 1}): {templates[i]}");
            source.Append(ChatTemplateEmitter.Emit(NameOf(i), Descriptors.Sample with { BosToken = "<s>", EosToken = "</s>" }, template.Code).Replace("private sealed", "public sealed", StringComparison.Ordinal).Replace("    internal ", "    public ", StringComparison.Ordinal));
        }

        CSharpCompilation compilation = GeneratorRun.Compilation(source.ToString(), version).AddSyntaxTrees(CSharpSyntaxTree.ParseText(Driver, GeneratorRun.ParseOptions(version)));
        using MemoryStream assembly = new();
        Microsoft.CodeAnalysis.Emit.EmitResult result = compilation.Emit(assembly);
        Assert.True(result.Success, string.Join("\n", result.Diagnostics.Where(d => d.Severity == DiagnosticSeverity.Error).Take(20)) + "\n" + source);
        Assert.DoesNotContain(result.Diagnostics, d => d.Id != "CS1591" && d.Severity >= DiagnosticSeverity.Warning);
        assembly.Position = 0;
        AssemblyLoadContext context = new("templates", isCollectible: true);
        foreach (string path in RuntimeReference.Paths) context.LoadFromAssemblyPath(path);
        MethodInfo render = context.LoadFromStream(assembly).GetType("Driver")!.GetMethod("Render")!;
        return new CompiledTemplates(render.CreateDelegate<Func<string, string, string>>());
    }

    /// <summary>What a template writes; <see langword="null"/> where it is an error of the conversation, QB4013.</summary>
    /// <param name="template">Its place among those that were compiled.</param>
    /// <param name="variables">What it is given, as JSON.</param>
    public string? Render(int template, string variables)
    {
        try
        {
            return render(NameOf(template), variables);
        }
        catch (Exception e) when (e.GetType().GetProperty("Id")?.GetValue(e) is "QB4013")
        {
            return null;
        }
    }

    /// <summary>The error that a template gives.</summary>
    public Exception Error(int template, string variables) => Assert.ThrowsAny<Exception>(() => render(NameOf(template), variables));

    private static string NameOf(int template) => $"Template{template}";
}
