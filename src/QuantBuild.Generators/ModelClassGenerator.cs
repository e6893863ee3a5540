using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Text;
using QuantBuild.Generators.Jinja;
using QuantBuild.Generators.Models;

namespace QuantBuild.Generators;

/// <summary>
/// Turns each descriptor file (<c>*.quantbuild.xml</c>, written by the build from a <c>&lt;QuantizedModel&gt;</c> item) into a class.
/// Nothing else of the compilation is looked at, so that typing in an editor never runs it.
/// </summary>
[Generator(LanguageNames.CSharp)]
public sealed class ModelClassGenerator : IIncrementalGenerator
{
    /// <summary>Names of the steps, for tests that assert which of them ran.</summary>
    internal static class Steps
    {
        public const string Read = nameof(Read);
        public const string Name = nameof(Name);
        public const string Language = nameof(Language);
        public const string Template = nameof(Template);
        public const string Class = nameof(Class);
    }

    /// <inheritdoc/>
    public void Initialize(IncrementalGeneratorInitializationContext context)
    {
        // Each descriptor file is read by itself: the others stay as they were.
        IncrementalValuesProvider<DescriptorFile> files = context.AdditionalTextsProvider
            .Where(static text => text.Path.EndsWith(ModelDescriptor.FileSuffix, StringComparison.Ordinal))
            .Select(static (text, cancellationToken) => Read(text, cancellationToken))
            .WithTrackingName(Steps.Read);

        // File names of generated code must differ, so this step sees all descriptors at once. What it gives is compared
        // one by one: a model that is as before is not written again.
        IncrementalValuesProvider<ModelClass> classes = files
            .Where(static file => file.Descriptor is not null)
            .Select(static (file, _) => file.Descriptor!)
            .Collect()
            .SelectMany(static (descriptors, _) => ModelClass.Distinct(descriptors))
            .WithTrackingName(Steps.Name);

        // Of the templates among the project's files, those of models, each compiled by itself and again only when its text changes.
        IncrementalValueProvider<TemplatePaths> paths = classes.Collect().Select(static (all, _) => TemplatePaths.Of(all));
        IncrementalValuesProvider<CompiledTemplate> templates = context.AdditionalTextsProvider
            .Where(static text => text.Path.EndsWith(".jinja", StringComparison.Ordinal))
            .Combine(paths)
            .Where(static text => text.Right.Contains(text.Left.Path))
            .Select(static (text, cancellationToken) => new TemplateFile(text.Left.Path, text.Left.GetText(cancellationToken)?.ToString() ?? ""))
            .Select(static (file, _) => TemplateCompiler.Compile(file))
            .WithTrackingName(Steps.Template);

        IncrementalValuesProvider<ModelClass> complete = classes
            .Combine(templates.Collect())
            .Select(static (model, _) => model.Left.With(model.Right))
            .WithTrackingName(Steps.Class);

        // A type argument must be a type of an interface, and the interface's members are static: C# 11.
        IncrementalValueProvider<bool> staticInterfaces = context.ParseOptionsProvider
            .Select(static (options, _) => options is CSharpParseOptions { LanguageVersion: >= LanguageVersion.CSharp11 })
            .WithTrackingName(Steps.Language);

        context.RegisterSourceOutput(
            complete.Combine(staticInterfaces),
            static (output, model) => output.AddSource(model.Left.HintName, ModelClassEmitter.Emit(model.Left.Descriptor, model.Right, model.Left.Template, model.Left.ToolTemplate)));

        context.RegisterSourceOutput(templates.Where(static template => template.Code is null), static (output, template) =>
        {
            LinePosition place = new(template.Line, template.Column);
            Location location = Location.Create(template.Path, default, new LinePositionSpan(place, place));
            output.ReportDiagnostic(Diagnostic.Create(Diagnostics.ChatTemplateUnsupported, location, template.Path, template.Error));
        });

        context.RegisterSourceOutput(files.Where(static file => file.Descriptor is null), static (output, file) =>
        {
            Location location = Location.Create(file.Path, default, default);
            output.ReportDiagnostic(Diagnostic.Create(Diagnostics.DescriptorMalformed, location, file.Path));
        });
    }

    private static DescriptorFile Read(AdditionalText text, CancellationToken cancellationToken)
    {
        SourceText? content = text.GetText(cancellationToken);
        ModelDescriptor? descriptor = content is null ? null : ModelDescriptor.TryParse(content.ToString());
        bool usable = descriptor is not null && ClassNames.IsClassName(descriptor.ClassName) && ClassNames.IsNamespace(descriptor.Namespace);
        return new DescriptorFile(text.Path, usable ? descriptor : null);
    }
}
