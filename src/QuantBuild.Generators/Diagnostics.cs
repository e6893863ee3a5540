using Microsoft.CodeAnalysis;

namespace QuantBuild.Generators;

/// <summary>What the generator and the analyzers report.</summary>
internal static class Diagnostics
{
    /// <summary>QB0008. Argument: the descriptor file's path.</summary>
    public static readonly DiagnosticDescriptor DescriptorMalformed = Create(
        DiagnosticIds.DescriptorMalformed,
        "A model's descriptor cannot be read",
        "The descriptor {0} is not one that this version of QuantBuild writes, so its model has no class. " +
        "Rebuild the project (dotnet build --no-incremental) to write it again.",
        DiagnosticSeverity.Error);

    /// <summary>QB4101. Arguments: the call, when it is done again, what to use in its place.</summary>
    public static readonly DiagnosticDescriptor LoadedRepeatedly = Create(
        DiagnosticIds.LoadedRepeatedly,
        "A model is loaded in a loop or for each request",
        "{0} loads the model again {1}. Load it once and use it for all: one instance serves any number of texts and threads at a time. {2}.");

    /// <summary>QB4102. Arguments: what, and what to do.</summary>
    public static readonly DiagnosticDescriptor NeverDisposed = Create(
        DiagnosticIds.NeverDisposed,
        "A model or session is never disposed",
        "{0} is never disposed, so that its memory is not released before the program ends. {1}.");

    /// <summary>QB4103. Arguments: the call, its counterpart.</summary>
    public static readonly DiagnosticDescriptor GenerateInAsync = Create(
        DiagnosticIds.GenerateInAsync,
        "An async method waits for text without awaiting it",
        "{0} holds up a thread until the whole text is there, in an async method. Await {1} in its place.");

    /// <summary>QB4104. Arguments: tokens at least, the class, tokens at most.</summary>
    public static readonly DiagnosticDescriptor PromptExceedsContext = Create(
        DiagnosticIds.PromptExceedsContext,
        "A prompt is longer than the model's context",
        "The prompt has at least {0} tokens, and {1} has room for {2} (QB4005 at run time). Shorten it, or choose a model with a longer context.");

    /// <summary>QB4105. Argument: the call.</summary>
    public static readonly DiagnosticDescriptor StreamNeverRead = Create(
        DiagnosticIds.StreamNeverRead,
        "A stream of text is never read",
        "Nothing reads what {0} gives, so that nothing is generated: the text begins when the stream is read. Read it with await foreach.");

    /// <summary>QB4106. Arguments: the option, its value, its range.</summary>
    public static readonly DiagnosticDescriptor ConstantOutOfRange = Create(
        DiagnosticIds.ConstantOutOfRange,
        "An option has a constant out of its range",
        "{0} is {1}, expected {2} (an exception at run time). Set it so, or leave it out.");

    /// <summary>QB4107. Arguments: the draft model, the model, the reason.</summary>
    public static readonly DiagnosticDescriptor DraftModelUnfit = Create(
        DiagnosticIds.DraftModelUnfit,
        "A draft model does not fit",
        "{0} cannot serve as the draft model of {1}: {2}. Choose a smaller model of the same family.");

    /// <summary>QB0030. Arguments: the template's path, what is wrong.</summary>
    public static readonly DiagnosticDescriptor ChatTemplateUnsupported = Create(
        DiagnosticIds.ChatTemplateUnsupported,
        "A chat template cannot be compiled",
        "The chat template {0} cannot be compiled: {1}. The model's class has the default chat format instead. " +
        "Set ChatTemplate of the model to a template that can be, such as a copy with this place changed.");

    /// <summary>A diagnostic with the category, and the page, that all have.</summary>
    private static DiagnosticDescriptor Create(string id, string title, string messageFormat, DiagnosticSeverity severity = DiagnosticSeverity.Warning) =>
        new(id, title, messageFormat, category: "QuantBuild", severity, isEnabledByDefault: true, helpLinkUri: DiagnosticIds.HelpLink(id));
}
