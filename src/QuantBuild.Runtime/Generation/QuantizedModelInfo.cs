using QuantBuild.Decoding;

namespace QuantBuild;

/// <summary>What a generated class knows of its model.</summary>
public sealed record QuantizedModelInfo
{
    /// <summary>Name of the generated class.</summary>
    public required string ClassName { get; init; }

    /// <summary>The model's own name, such as <c>gutenberg-7m</c>.</summary>
    public required string ModelName { get; init; }

    /// <summary>The architecture, as <c>config.json</c> names it.</summary>
    public required string Architecture { get; init; }

    /// <summary>How the values were chosen.</summary>
    public required QuantizationMethod Method { get; init; }

    /// <summary>Bits per weight.</summary>
    public required int Bits { get; init; }

    /// <summary>Inputs that share a scale; -1 is one group of each row. Of NF4 and FP4 the block size.</summary>
    public required int GroupSize { get; init; }

    /// <summary>Number of weights.</summary>
    public required long Parameters { get; init; }

    /// <summary>The longest sequence, in tokens.</summary>
    public required int ContextLength { get; init; }

    /// <summary>Number of tokens.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>Name of the artifact beside the program.</summary>
    public required string ArtifactFileName { get; init; }

    /// <summary>The fingerprint of the artifact that the class was generated for.</summary>
    public required string Fingerprint { get; init; }

    /// <summary>The model's chat template; <see langword="null"/> where it has none, or none that can be compiled.</summary>
    public ChatTemplate? ChatTemplate { get; init; }

    /// <summary>Its chat template for requests with tools, where that is another.</summary>
    public ChatTemplate? ToolChatTemplate { get; init; }
}

/// <summary>How a model is loaded.</summary>
public sealed record LoadOptions
{
    /// <summary>Where the artifact is; <see langword="null"/> is beside the program, under the name that the build gave it.</summary>
    public string? ArtifactPath { get; init; }

    /// <summary>
    /// Where the model is computed: <c>cpu</c>; <c>cuda</c> or <c>cuda:1</c>, an NVIDIA GPU by its number, with the package QuantBuild.Runtime.Cuda; or <c>auto</c>, the first GPU if there is one
    /// that can be used, else the processor. <see cref="LanguageModel.Placement"/> says what became of it.
    /// </summary>
    public string Device { get; init; } = DeviceChoice.Auto;

    /// <summary>Processor threads that one forward pass may use; 0 is all cores. Results do not depend on it.</summary>
    public int Threads { get; init; }

    /// <summary>
    /// Tokens that a text may have, prompt and continuation together; from 2 to the model's context. <see langword="null"/> is the model's context, or of a model with LongRoPE (Phi 3 to 4 with 128k) the original one:
    /// more than that turns all texts by the factors for long ones. Memory is taken as texts grow; a GPU has room for one text of this length.
    /// </summary>
    public int? ContextLength { get; init; }

    /// <summary>How keys and values of running texts are kept.</summary>
    public KvPrecision KvCache { get; init; }

    /// <summary>
    /// Whether the inputs of quantized linears stay in float32. Otherwise they are rounded to bytes, with a scale for each group of up to 128, which is several times faster and changes
    /// perplexity by a few hundredths of a percent.
    /// </summary>
    public bool FloatActivations { get; init; }

    /// <summary>Texts that are computed at the same time, at most; from 1 to 128. Others wait for their turn. A stream whose reader fell behind keeps its place.</summary>
    public int MaxConcurrentTexts { get; init; } = 32;

    /// <summary>Texts that wait for their turn, at most; at least 0. One more is an error, QB4010.</summary>
    public int MaxWaitingTexts { get; init; } = 1024;

    /// <summary>
    /// Tokens of earlier texts whose keys and values are kept, so that a text that begins alike, with the same system prompt or conversation, need not compute them again; 0 keeps none.
    /// They take memory: 22 KB a token with 1.1 billion weights and few key-value heads, 128 KB with 8 billion.
    /// </summary>
    public int PromptCacheTokens { get; init; } = 2048;

    /// <summary>Whether to compare every tensor with its checksum first, which reads the whole file.</summary>
    public bool VerifyChecksums { get; init; }

    /// <summary>Tokens that a text of a model may have.</summary>
    internal int ContextOf(DecoderConfig config) => ContextLength ?? config.UsualContext;

    /// <summary>What computes on GPUs, where it is not what the program's packages bring: a test's.</summary>
    internal IDeviceBackend? Backend { get; init; }
}
