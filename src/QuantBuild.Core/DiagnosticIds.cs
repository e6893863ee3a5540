namespace QuantBuild;

/// <summary>
/// The id of every diagnostic. QB0xxx is about the declaration, QB1xxx about the environment, QB2xxx about the model's files,
/// QB3xxx about calibration and quality, QB4xxx about the artifact and the run time; of them QB41xx are the analyzers', about how a program uses a model.
/// Each has a page <c>docs/diagnostics/{id}.md</c>.
/// </summary>
public static class DiagnosticIds
{
    /// <summary><c>Method</c> names no quantization method.</summary>
    public const string MethodUnknown = "QB0001";

    /// <summary><c>Bits</c> is not a width that the method has.</summary>
    public const string BitsUnsupported = "QB0002";

    /// <summary><c>GroupSize</c> is not a size that exists.</summary>
    public const string GroupSizeInvalid = "QB0003";

    /// <summary>Two items give one class name.</summary>
    public const string ClassNameDuplicate = "QB0004";

    /// <summary>The class name or namespace is not a C# name.</summary>
    public const string ClassNameInvalid = "QB0005";

    /// <summary>A metadata value cannot be read, or a number is out of its range.</summary>
    public const string MetadataInvalid = "QB0006";

    /// <summary>The group size does not divide the inputs of a layer.</summary>
    public const string GroupSizeDoesNotDivide = "QB0007";

    /// <summary>A descriptor file, from which a class is generated, cannot be read.</summary>
    public const string DescriptorMalformed = "QB0008";

    /// <summary>A budget is smaller than the model can be made.</summary>
    public const string BudgetTooSmall = "QB0009";

    /// <summary>A model is not what the lock file says that it is made of.</summary>
    public const string LockFileMismatch = "QB0010";

    /// <summary>The lock file cannot be read.</summary>
    public const string LockFileMalformed = "QB0011";

    /// <summary>A package with a model does not depend on the runtime.</summary>
    public const string PackageLacksRuntime = "QB0020";

    /// <summary>A chat template cannot be compiled.</summary>
    public const string ChatTemplateUnsupported = "QB0030";

    /// <summary><c>ChatTemplate</c> names no template, or the model's template cannot be read.</summary>
    public const string ChatTemplateMissing = "QB0031";

    /// <summary>CUDA was asked for and is not there.</summary>
    public const string CudaUnavailable = "QB1001";

    /// <summary>A native library of torch does not load.</summary>
    public const string NativeLibraryMissing = "QB1002";

    /// <summary>The disk is full.</summary>
    public const string DiskFull = "QB1003";

    /// <summary>A folder or file cannot be written.</summary>
    public const string NotWritable = "QB1004";

    /// <summary>The worker process ended without a result.</summary>
    public const string WorkerFailed = "QB1005";

    /// <summary>The device is not one of <c>auto</c>, <c>cpu</c>, <c>cuda</c>, <c>cuda:N</c>.</summary>
    public const string DeviceInvalid = "QB1006";

    /// <summary>The libraries of the worker (TorchSharp, libtorch) could not be restored.</summary>
    public const string WorkerRestoreFailed = "QB1007";

    /// <summary>The model needs more memory than the worker may use.</summary>
    public const string MemoryTooLittle = "QB1008";

    /// <summary>The remote cache cannot be reached, or refuses.</summary>
    public const string RemoteCacheFailed = "QB1009";

    /// <summary>A build that is to take every model from a cache finds one in none.</summary>
    public const string ArtifactNotCached = "QB1010";

    /// <summary>An artifact in a cache is damaged.</summary>
    public const string CacheDamaged = "QB1011";

    /// <summary><c>QuantBuildRemoteCache</c> names no place that can be a cache, or has a secret in it.</summary>
    public const string RemoteCacheInvalid = "QB1012";

    /// <summary>A conversation that was saved cannot be read.</summary>
    public const string ConversationUnreadable = "QB1020";

    /// <summary>An artifact is to be packed that was not built.</summary>
    public const string ArtifactNotBuilt = "QB1030";

    /// <summary>The hub cannot be reached, or does not answer as it should.</summary>
    public const string HubUnreachable = "QB1040";

    /// <summary>The hub asks for patience.</summary>
    public const string HubRateLimited = "QB1041";

    /// <summary>A model of the hub is in no cache, and asking the hub is forbidden.</summary>
    public const string HubOffline = "QB1042";

    /// <summary>A setting of the hub in the environment cannot be used.</summary>
    public const string HubSettingInvalid = "QB1043";

    /// <summary>The NVIDIA driver is too old for the libraries of torch.</summary>
    public const string DriverTooOld = "QB1050";

    /// <summary>There is an NVIDIA driver, and it has no GPU.</summary>
    public const string GpuMissing = "QB1051";

    /// <summary>No GPU has the number that was asked for.</summary>
    public const string GpuNumberInvalid = "QB1052";

    /// <summary>libtorch is not made with CUDA for this platform.</summary>
    public const string CudaPlatform = "QB1053";

    /// <summary>The libraries of torch with CUDA could not be restored.</summary>
    public const string CudaRestoreFailed = "QB1054";

    /// <summary>The model's largest step does not fit into the memory of the GPU.</summary>
    public const string GpuMemoryTooLittle = "QB1055";

    /// <summary>The memory of the device ran out, and no smaller batch is left to try.</summary>
    public const string GpuMemoryExhausted = "QB1056";

    /// <summary>libtorch has no kernels for a GPU of that age.</summary>
    public const string GpuTooOld = "QB1057";

    /// <summary>A program is to run on a GPU, and there is none that it can use.</summary>
    public const string GpuUnavailable = "QB1070";

    /// <summary>The memory of the GPU is full.</summary>
    public const string GpuMemoryFull = "QB1071";

    /// <summary>The GPU, or its driver, failed while a program used it.</summary>
    public const string GpuFailed = "QB1072";

    /// <summary>The model folder does not exist.</summary>
    public const string ModelMissing = "QB2001";

    /// <summary>The model folder has no <c>config.json</c>.</summary>
    public const string ConfigMissing = "QB2002";

    /// <summary><c>config.json</c> or <c>generation_config.json</c> is not JSON, or lacks a value, or has one of the wrong kind.</summary>
    public const string ConfigMalformed = "QB2003";

    /// <summary>The model's architecture is not supported.</summary>
    public const string ArchitectureUnsupported = "QB2004";

    /// <summary>A weight file, or the index of several, is malformed.</summary>
    public const string WeightsMalformed = "QB2005";

    /// <summary>A weight file lacks a tensor that the architecture needs.</summary>
    public const string TensorMissing = "QB2006";

    /// <summary>A tensor's shape or element type is not what the configuration says.</summary>
    public const string TensorMismatch = "QB2007";

    /// <summary>The model folder has no tokenizer.</summary>
    public const string TokenizerMissing = "QB2008";

    /// <summary><c>tokenizer.json</c> is malformed, or a tokenizer is of a kind that is not supported.</summary>
    public const string TokenizerUnsupported = "QB2009";

    /// <summary>The model folder has no weight file.</summary>
    public const string WeightsMissing = "QB2010";

    /// <summary><c>config.json</c> asks for a variation of the architecture that is not supported.</summary>
    public const string ConfigUnsupported = "QB2011";

    /// <summary><c>tokenizer.model</c> is not a valid SentencePiece model.</summary>
    public const string SentencePieceMalformed = "QB2025";

    /// <summary>A tiktoken file is malformed, or not of a published vocabulary.</summary>
    public const string TiktokenMalformed = "QB2026";

    /// <summary>The map of characters in a tokenizer is malformed.</summary>
    public const string TokenizerCharsmapMalformed = "QB2027";

    /// <summary>A pattern of the tokenizer takes more than linear time on a text.</summary>
    public const string TokenizerPatternTooSlow = "QB2028";

    /// <summary>The hub has no such model or revision, or shows it to others alone.</summary>
    public const string HubModelMissing = "QB2030";

    /// <summary>The hub gives the model only to those who may have it.</summary>
    public const string HubAccessDenied = "QB2031";

    /// <summary>A file from the hub is not what the hub says that it is.</summary>
    public const string HubFileMismatch = "QB2032";

    /// <summary>The repository on the hub has no files of a model that can be quantized.</summary>
    public const string HubModelUnusable = "QB2033";

    /// <summary>The pickle of a PyTorch checkpoint does more than describe tensors.</summary>
    public const string PickleForbidden = "QB2040";

    /// <summary>A PyTorch checkpoint is in the form of versions before 1.6.</summary>
    public const string CheckpointFormOld = "QB2041";

    /// <summary>A GGUF file holds what is not read from GGUF.</summary>
    public const string GgufUnsupported = "QB2042";

    /// <summary>A declaration asks for something else than weights have that are quantized already.</summary>
    public const string CheckpointQuantizationMismatch = "QB2043";

    /// <summary>The calibration text sends too few tokens to some experts.</summary>
    public const string ExpertsStarved = "QB2020";

    /// <summary>The calibration file does not exist.</summary>
    public const string CalibrationMissing = "QB3001";

    /// <summary>The calibration file is empty.</summary>
    public const string CalibrationEmpty = "QB3002";

    /// <summary>The calibration text is too short to fill one window.</summary>
    public const string CalibrationTooShort = "QB3003";

    /// <summary>The method needs calibration data and none is declared.</summary>
    public const string CalibrationRequired = "QB3004";

    /// <summary>The evaluation file is missing, empty, or too short to fill one window.</summary>
    public const string EvaluationUnusable = "QB3005";

    /// <summary>A weight or an activation is not a finite number.</summary>
    public const string NonFinite = "QB3006";

    /// <summary>A layer's Hessian stays singular even after damping was raised.</summary>
    public const string HessianSingular = "QB3007";

    /// <summary>Quantization cost more quality than a gate allows.</summary>
    public const string QualityGateExceeded = "QB3008";

    /// <summary>A gate is declared and there is no text to measure quality on.</summary>
    public const string QualityGateUnmeasured = "QB3009";

    /// <summary>There is no text to measure quality on: nobody knows what quantization cost.</summary>
    public const string EvaluationAbsent = "QB3010";

    /// <summary>The calibration text fills few windows.</summary>
    public const string CalibrationShort = "QB3011";

    /// <summary>The calibration text says the same again and again.</summary>
    public const string CalibrationRepetitive = "QB3012";

    /// <summary>The calibration text is of another kind than the evaluation text.</summary>
    public const string CalibrationFarFromEvaluation = "QB3013";

    /// <summary>2 or 3 bits by a method that does not learn its rounding.</summary>
    public const string BitsLow = "QB3014";

    /// <summary>Weights that are to be fine-tuned are quantized by a method that fits them to a text.</summary>
    public const string MethodUnfitForFineTuning = "QB3015";

    /// <summary>The method is slower at run time than another of the same width.</summary>
    public const string MethodSlow = "QB3016";

    /// <summary>The artifact does not exist.</summary>
    public const string ArtifactMissing = "QB4001";

    /// <summary>The artifact is not a valid artifact of this version.</summary>
    public const string ArtifactMalformed = "QB4002";

    /// <summary>The artifact was built for another declaration than the class that loads it.</summary>
    public const string ArtifactMismatch = "QB4003";

    /// <summary>A tensor's bytes do not match their checksum.</summary>
    public const string ChecksumMismatch = "QB4004";

    /// <summary>The prompt does not fit the model's context.</summary>
    public const string PromptTooLong = "QB4005";

    /// <summary>A generation or load option is out of its range.</summary>
    public const string OptionInvalid = "QB4006";

    /// <summary>A grammar for the output is malformed, or cannot be held to.</summary>
    public const string GrammarInvalid = "QB4007";

    /// <summary>A JSON schema for the output is malformed, or asks for what is not supported.</summary>
    public const string SchemaUnsupported = "QB4008";

    /// <summary>The output is not a value of the type that was asked for.</summary>
    public const string OutputUnreadable = "QB4009";

    /// <summary>More texts wait for a model than its queue holds.</summary>
    public const string QueueFull = "QB4010";

    /// <summary>A saved session is of another model, or damaged.</summary>
    public const string SessionUnusable = "QB4011";

    /// <summary>A chat or embedding request asks for what the client cannot do.</summary>
    public const string ChatOptionUnsupported = "QB4012";

    /// <summary>A chat message has a role or content that the model cannot read.</summary>
    public const string ChatMessageUnsupported = "QB4013";

    /// <summary>A model is loaded in a loop or for each request.</summary>
    public const string LoadedRepeatedly = "QB4101";

    /// <summary>A model or a session is never disposed.</summary>
    public const string NeverDisposed = "QB4102";

    /// <summary>An async method waits for text without awaiting it.</summary>
    public const string GenerateInAsync = "QB4103";

    /// <summary>A prompt that the program spells out is longer than the model's context.</summary>
    public const string PromptExceedsContext = "QB4104";

    /// <summary>A stream of text is never read.</summary>
    public const string StreamNeverRead = "QB4105";

    /// <summary>A constant is out of its option's range.</summary>
    public const string ConstantOutOfRange = "QB4106";

    /// <summary>A draft model cannot guess for the model that it is to speed up, or is larger.</summary>
    public const string DraftModelUnfit = "QB4107";

    /// <summary>The page that explains a diagnostic.</summary>
    /// <param name="id">One of the ids of this class.</param>
    public static string HelpLink(string id) => $"https://github.com/quantbuild/quantbuild/blob/main/docs/diagnostics/{id}.md";
}
