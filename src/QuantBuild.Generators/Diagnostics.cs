using Microsoft.CodeAnalysis;

namespace QuantBuild.Generators;

/// <summary>What the generator and the analyzers report.</summary>
internal static class Diagnostics
{
    private const string Category = "QuantBuild";

    /// <summary>QB0008. Argument: the descriptor file's path.</summary>
    public static readonly DiagnosticDescriptor DescriptorMalformed = new(
        DiagnosticIds.DescriptorMalformed,
        title: "A model's descriptor cannot be read",
        messageFormat: "The descriptor {0} is not one that this version of QuantBuild writes, so its model has no class. " +
                       "Rebuild the project (dotnet build --no-incremental) to write it again.",
        category: Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true,
        helpLinkUri: DiagnosticIds.HelpLink(DiagnosticIds.DescriptorMalformed));

    /// <summary>QB4101. Arguments: the call, when it is done again, what to use in its place.</summary>
    public static readonly DiagnosticDescriptor LoadedRepeatedly = new(
        DiagnosticIds.LoadedRepeatedly,
        title: "A model is loaded in a loop or for each request",
        messageFormat: "{0} loads the model again {1}. Load it once and use it for all: one instance serves any number of texts and threads at a time. {2}.",
        category: Category,
        DiagnosticSeverity.Warning,
        isEnabledByDefault: true,
        helpLinkUri: DiagnosticIds.HelpLink(DiagnosticIds.LoadedRepeatedly));

    /// <summary>QB4102. Arguments: what, and what to do.</summary>
    public static readonly DiagnosticDescriptor NeverDisposed = new(
        DiagnosticIds.NeverDisposed,
        title: "A model or session is never disposed",
        messageFormat: "{0} is never disposed, so that its memory is not released before the program ends. {1}.",
        category: Category,
        DiagnosticSeverity.Warning,
        isEnabledByDefault: true,
        helpLinkUri: DiagnosticIds.HelpLink(DiagnosticIds.NeverDisposed));

    /// <summary>QB4103. Arguments: the call, its counterpart.</summary>
    public static readonly DiagnosticDescriptor GenerateInAsync = new(
        DiagnosticIds.GenerateInAsync,
        title: "An async method waits for text without awaiting it",
        messageFormat: "{0} holds up a thread until the whole text is there, in an async method. Await {1} in its place.",
        category: Category,
        DiagnosticSeverity.Warning,
        isEnabledByDefault: true,
        helpLinkUri: DiagnosticIds.HelpLink(DiagnosticIds.GenerateInAsync));

    /// <summary>QB4104. Arguments: tokens at least, the class, tokens at most.</summary>
    public static readonly DiagnosticDescriptor PromptExceedsContext = new(
        DiagnosticIds.PromptExceedsContext,
        title: "A prompt is longer than the model's context",
        messageFormat: "The prompt has at least {0} tokens, and {1} has room for {2} (QB4005 at run time). Shorten it, or choose a model with a longer context.",
        category: Category,
        DiagnosticSeverity.Warning,
        isEnabledByDefault: true,
        helpLinkUri: DiagnosticIds.HelpLink(DiagnosticIds.PromptExceedsContext));

    /// <summary>QB4105. Argument: the call.</summary>
    public static readonly DiagnosticDescriptor StreamNeverRead = new(
        DiagnosticIds.StreamNeverRead,
        title: "A stream of text is never read",
        messageFormat: "Nothing reads what {0} gives, so that nothing is generated: the text begins when the stream is read. Read it with await foreach.",
        category: Category,
        DiagnosticSeverity.Warning,
        isEnabledByDefault: true,
        helpLinkUri: DiagnosticIds.HelpLink(DiagnosticIds.StreamNeverRead));

    /// <summary>QB4106. Arguments: the option, its value, its range.</summary>
    public static readonly DiagnosticDescriptor ConstantOutOfRange = new(
        DiagnosticIds.ConstantOutOfRange,
        title: "An option has a constant out of its range",
        messageFormat: "{0} is {1}, expected {2} (an exception at run time). Set it so, or leave it out.",
        category: Category,
        DiagnosticSeverity.Warning,
        isEnabledByDefault: true,
        helpLinkUri: DiagnosticIds.HelpLink(DiagnosticIds.ConstantOutOfRange));

    /// <summary>QB4107. Arguments: the draft model, the model, the reason.</summary>
    public static readonly DiagnosticDescriptor DraftModelUnfit = new(
        DiagnosticIds.DraftModelUnfit,
        title: "A draft model does not fit",
        messageFormat: "{0} cannot serve as the draft model of {1}: {2}. Choose a smaller model of the same family.",
        category: Category,
        DiagnosticSeverity.Warning,
        isEnabledByDefault: true,
        helpLinkUri: DiagnosticIds.HelpLink(DiagnosticIds.DraftModelUnfit));

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
