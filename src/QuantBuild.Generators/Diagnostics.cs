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
}
