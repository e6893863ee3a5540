using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace QuantBuild.Generators.Analyzers;

/// <summary>The types of the runtime in a compilation, and the generated classes: what an analyzer knows a model by.</summary>
internal sealed class ModelTypes
{
    private const string Generator = "QuantBuild.Generators";

    private ModelTypes(INamedTypeSymbol languageModel, INamedTypeSymbol textSession, INamedTypeSymbol generationOptions, INamedTypeSymbol loadOptions, INamedTypeSymbol speculation) =>
        (LanguageModel, TextSession, GenerationOptions, LoadOptions, Speculation) = (languageModel, textSession, generationOptions, loadOptions, speculation);

    public INamedTypeSymbol LanguageModel { get; }

    public INamedTypeSymbol TextSession { get; }

    public INamedTypeSymbol GenerationOptions { get; }

    public INamedTypeSymbol LoadOptions { get; }

    public INamedTypeSymbol Speculation { get; }

    /// <summary>The types of a compilation; <see langword="null"/> where it does not reference the runtime.</summary>
    public static ModelTypes? Of(Compilation compilation)
    {
        INamedTypeSymbol? Type(string name) => compilation.GetTypeByMetadataName("QuantBuild." + name);
        return Type("LanguageModel") is { } languageModel && Type("TextSession") is { } textSession && Type("GenerationOptions") is { } generationOptions
            && Type("LoadOptions") is { } loadOptions && Type("Speculation") is { } speculation
            ? new ModelTypes(languageModel, textSession, generationOptions, loadOptions, speculation)
            : null;
    }

    /// <summary>Whether a member is one that the generator wrote, in this project or in one that it references.</summary>
    public static bool IsGenerated(ISymbol member) => member.GetAttributes().Any(attribute =>
        attribute.AttributeClass?.Name == "GeneratedCodeAttribute" && attribute.ConstructorArguments.Any(argument => argument.Value is Generator));

    /// <summary>Whether a method loads a model that is the caller's to dispose.</summary>
    public bool IsLoad(IMethodSymbol method) => method.Name is "Load" or "LoadAsync" && method.IsStatic && IsOfModel(method);

    /// <summary>Whether a method makes a session.</summary>
    public bool MakesSession(IMethodSymbol method) => Is(method.ReturnType, TextSession) && (Is(method.ContainingType, LanguageModel) || Is(method.ContainingType, TextSession));

    /// <summary>Whether a method is a model's own, or that of a generated class in its place.</summary>
    public bool IsOfModel(IMethodSymbol method) => Is(method.ContainingType, LanguageModel) || IsGenerated(method);

    /// <summary>
    /// The generated class whose model a value is: its shared instance, one that it loaded, or a local that has no other value. <see langword="null"/> where that cannot be told.
    /// </summary>
    public INamedTypeSymbol? ClassOf(IOperation? value) => value?.Value() switch
    {
        IPropertyReferenceOperation { Property: { Name: "Shared", ContainingType: { } type } property } when IsGenerated(property) => type,
        IInvocationOperation { TargetMethod: { ContainingType: { } type } method } when IsGenerated(method) && IsLoad(method) => type,
        IInvocationOperation load when IsLoad(load.TargetMethod) => ClassOfInfo(load.Arguments[0].Value),
        ILocalReferenceOperation local => ClassOf(local.OnlyValue()),
        _ => null,
    };

    /// <summary>The generated class whose model a call is of, where it is of one: <c>Llama.Generate(…)</c>, <c>model.Generate(…)</c>.</summary>
    public INamedTypeSymbol? ClassOfCall(IInvocationOperation call) => IsGenerated(call.TargetMethod) ? call.TargetMethod.ContainingType : ClassOf(call.Instance);

    public static bool Is(ITypeSymbol? a, ITypeSymbol b) => SymbolEqualityComparer.Default.Equals(a, b);

    private static INamedTypeSymbol? ClassOfInfo(IOperation info) =>
        info.Value() is IPropertyReferenceOperation { Property: { Name: "Info", ContainingType: { } type } property } && IsGenerated(property) ? type : null;
}
