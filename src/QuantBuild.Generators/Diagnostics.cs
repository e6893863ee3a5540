using Microsoft.CodeAnalysis;

namespace QuantBuild.Generators;

/// <summary>What the generator reports.</summary>
internal static class Diagnostics
{
    /// <summary>QB0008. Argument: the descriptor file's path.</summary>
    public static readonly DiagnosticDescriptor DescriptorMalformed = new(
        DiagnosticIds.DescriptorMalformed,
        title: "A model's descriptor cannot be read",
        messageFormat: "The descriptor {0} is not one that this version of QuantBuild writes, so its model has no class. " +
                       "Rebuild the project (dotnet build --no-incremental) to write it again.",
        category: "QuantBuild",
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: DiagnosticIds.HelpLink(DiagnosticIds.DescriptorMalformed));

    /// <summary>QB0030. Arguments: the template's path, what is wrong.</summary>
    public static readonly DiagnosticDescriptor ChatTemplateUnsupported = new(
        DiagnosticIds.ChatTemplateUnsupported,
        title: "A chat template cannot be compiled",
        messageFormat: "The chat template {0} cannot be compiled: {1}. The model's class has the default chat format instead. " +
                       "Set ChatTemplate of the model to a template that can be, such as a copy with this place changed.",
        category: "QuantBuild",
        DiagnosticSeverity.Warning,
        isEnabledByDefault: true,
        helpLinkUri: DiagnosticIds.HelpLink(DiagnosticIds.ChatTemplateUnsupported));
}
