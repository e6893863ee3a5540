using System.Diagnostics;
using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text.Json.Serialization.Metadata;
using System.Threading.Channels;
using QuantBuild.Constraints;
using QuantBuild.Decoding;
using QuantBuild.Generation;
using QuantBuild.Kernels;

namespace QuantBuild;

/// <summary>
/// A quantized model that is ready to generate text. Safe to use from several threads at once: they share the weights, and each text has a cache of
/// its own.
/// </summary>
public sealed partial class LanguageModel : IDisposable
{
    // Updates that may wait for a reader before its text waits too: a slow reader holds up its own text, not memory.
    private const int UpdatesAhead = 64;

    // Texts of a step at most: each has a token in every pass.
    private const int MostTexts = 128;

    // A token to continue, and one that does.
    private const int LeastContext = 2;

    private readonly Artifact artifact;
    private readonly KvPages pages;
    private readonly Decoder decoder;
    private readonly PromptCache prompts;
    private readonly BatchLoop loop;
    private readonly GenerationDefaults defaults;
    private readonly HashSet<int> endTokens;
    private readonly Lock lifetime = new();

    // Calls that are running. The memory map is released when the model is disposed and none is.
    private int running;
    private bool disposed;

    private LanguageModel(Artifact artifact, LoadOptions options)
    {
        this.artifact = artifact;
        ContextLength = options.ContextOf(Config);
        string source = artifact.File.Path;
        Tokenizer = TextTokenizer.Load(artifact.Tokenizer, source + ", its tokenizer", artifact.Manifest.TokenizerConfigJson);
        defaults = GenerationDefaults.Parse(Manifest.GenerationConfigJson, source, DiagnosticIds.ArtifactMalformed);
        // A negative one means that there is none.
        endTokens = [.. Config.EosTokenIds.Concat(defaults.EosTokenIds).Where(id => id >= 0)];
        (IDeviceLayers? device, Placement) = DeviceChoice.Open(artifact, options);
        try
        {
            pages = new KvPages(Config, options.KvCache, device);
            int threads = options.Threads == 0 ? Environment.ProcessorCount : options.Threads;
            decoder = new Decoder(Config, ContextLength, new DecoderWeights(artifact), pages, new Workers(threads), options.FloatActivations, device);
        }
        catch
        {
            device?.Dispose();
            throw;
        }

        prompts = new PromptCache(options.PromptCacheTokens);
        loop = new BatchLoop(decoder, options.MaxConcurrentTexts, options.MaxWaitingTexts);
    }

    /// <summary>What the artifact says of itself.</summary>
    public ArtifactManifest Manifest => artifact.Manifest;

    /// <summary>What the model's <c>config.json</c> says.</summary>
    public DecoderConfig Config => artifact.Config;

    /// <summary>
    /// Tokens that a text may have, prompt and continuation together: <see cref="LoadOptions.ContextLength"/>, or where that is not set, the model's own context, of a model with LongRoPE the original one.
    /// </summary>
    public int ContextLength { get; }

    /// <summary>Where the model is computed, and why there.</summary>
    public ModelPlacement Placement { get; }

    /// <summary>The model's tokenizer.</summary>
    public TextTokenizer Tokenizer { get; }

    /// <summary>What the generated class knows of the model, if it was loaded by one.</summary>
    internal QuantizedModelInfo? Info { get; private set; }

    internal bool IsDisposed
    {
        get
        {
            lock (lifetime) return disposed;
        }
    }

    /// <summary>Loads the model of a generated class.</summary>
    /// <param name="info">What the class knows of its model.</param>
    /// <param name="options">Where to find it and how to run it.</param>
    /// <exception cref="QuantBuildException">
    /// QB4001: the artifact is missing. QB4002: it is malformed. QB4003: it was built for another declaration. QB4004: a checksum differs.
    /// QB4006: an option is out of its range. QB1070: a GPU was asked for, and there is none that can be used. QB1071: its memory is full. QB1072: it failed.
    /// </exception>
    public static LanguageModel Load(QuantizedModelInfo info, LoadOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(info);
        string path = options?.ArtifactPath ?? Path.Combine(AppContext.BaseDirectory, info.ArtifactFileName);
        LanguageModel model = Open(path, options);
        string found = model.Manifest.Fingerprint;
        if (found == info.Fingerprint)
        {
            model.Info = info;
            return model;
        }

        model.Dispose();
        string expected = info.Fingerprint.Length > 0 ? info.Fingerprint : "that of a finished build";
        throw new QuantBuildException(
            DiagnosticIds.ArtifactMismatch,
            $"{path} was not built for this {info.ClassName}: its fingerprint is {found}, expected {expected}. " +
            "The declaration or the model has changed since: build the project again, and copy program and artifact together.");
    }

    /// <summary>Loads an artifact by its path, with no class to compare it with.</summary>
    /// <exception cref="QuantBuildException">QB4001, QB4002, QB4004 or QB4006, as for a generated class.</exception>
    public static LanguageModel Load(string artifactPath, LoadOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(artifactPath);
        return Open(artifactPath, options);
    }

    /// <summary>Loads the model of a generated class without holding up the caller.</summary>
    /// <exception cref="QuantBuildException">As for <see cref="Load(QuantizedModelInfo, LoadOptions?)"/>.</exception>
    public static async Task<LanguageModel> LoadAsync(QuantizedModelInfo info, LoadOptions? options = null, CancellationToken cancellationToken = default)
    {
        LanguageModel model = await Task.Run(() => Load(info, options), cancellationToken).ConfigureAwait(false);
        if (!cancellationToken.IsCancellationRequested) return model;
        model.Dispose();
        throw new OperationCanceledException(cancellationToken);
    }

    /// <summary>Continues a text.</summary>
    /// <param name="prompt">The text to continue; special tokens in it are recognized.</param>
    /// <param name="options">How; what it leaves open, the model's <c>generation_config.json</c> says.</param>
    /// <param name="cancellationToken">Ends the generation within a token.</param>
    /// <returns>The continuation, without the prompt.</returns>
    /// <exception cref="QuantBuildException">QB4005: the prompt leaves no room in the context. QB4006: an option is out of its range.</exception>
    /// <exception cref="ObjectDisposedException">The model was disposed.</exception>
    public string Generate(string prompt, GenerationOptions? options = null, CancellationToken cancellationToken = default) =>
        Continue(null, prompt ?? throw new ArgumentNullException(nameof(prompt)), options, cancellationToken).Text;

    /// <summary>Continues a text without holding up the caller. Parameters, result and errors are those of <see cref="Generate"/>.</summary>
    public async Task<string> GenerateAsync(string prompt, GenerationOptions? options = null, CancellationToken cancellationToken = default) =>
        (await CompleteAsync(prompt, options, cancellationToken).ConfigureAwait(false)).Text;

    /// <summary>Continues a text and says how that came about: why it ended, how many tokens it took, and their log-probabilities. Parameters and errors are those of <see cref="Generate"/>.</summary>
    public Task<GenerationResult> CompleteAsync(string prompt, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        return ContinueAsync(null, prompt, options, cancellationToken);
    }

    /// <summary>Continues a text with JSON that makes a value of a type, and reads it: always valid JSON of that type, whatever the model makes of the prompt.</summary>
    /// <param name="prompt">The text to continue.</param>
    /// <param name="type">What System.Text.Json knows of the type: of a source-generated context where the program is trimmed or compiled ahead of time.</param>
    /// <param name="options">How; <see cref="GenerationOptions.Format"/> is set from the type.</param>
    /// <param name="cancellationToken">Ends the generation within a token.</param>
    /// <exception cref="QuantBuildException">
    /// As for <see cref="Generate(string, GenerationOptions?, CancellationToken)"/>. QB4008: the type cannot be held to. QB4009: <see cref="GenerationOptions.MaxTokens"/> are fewer than the shortest value needs.
    /// </exception>
    public T? Generate<T>(string prompt, JsonTypeInfo<T> type, GenerationOptions? options = null, CancellationToken cancellationToken = default) =>
        TypedOutput.Read(Generate(prompt, Typed(options, type), cancellationToken), type);

    /// <summary>The same without holding up the caller.</summary>
    /// <inheritdoc cref="Generate{T}(string, JsonTypeInfo{T}, GenerationOptions?, CancellationToken)"/>
    public async Task<T?> GenerateAsync<T>(string prompt, JsonTypeInfo<T> type, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        GenerationResult result = await CompleteAsync(prompt, Typed(options, type), cancellationToken).ConfigureAwait(false);
        return TypedOutput.Read(result.Text, type);
    }

    /// <summary>Continues a text and gives it out as it comes, in pieces of whole characters; together they are what <see cref="Generate"/> returns.</summary>
    /// <param name="prompt">The text to continue.</param>
    /// <param name="options">How.</param>
    /// <param name="cancellationToken">Ends the generation within a token.</param>
    /// <exception cref="QuantBuildException">As for <see cref="Generate"/>.</exception>
    public async IAsyncEnumerable<string> StreamAsync(
        string prompt, GenerationOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        await foreach (GenerationUpdate update in StreamUpdatesAsync(prompt, options, cancellationToken).ConfigureAwait(false))
        {
            if (update.Text.Length > 0) yield return update.Text;
        }
    }

    /// <summary>Continues a text and gives out each token as it comes, with its log-probabilities where they are asked for, and in the end the whole. Parameters and errors are those of <see cref="StreamAsync"/>.</summary>
    public IAsyncEnumerable<GenerationUpdate> StreamUpdatesAsync(string prompt, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        return ContinueUpdatesAsync(null, prompt, options, cancellationToken);
    }

    /// <summary>Begins a text that goes on from turn to turn.</summary>
    /// <exception cref="ObjectDisposedException">The model was disposed.</exception>
    public TextSession CreateSession()
    {
        ObjectDisposedException.ThrowIf(IsDisposed, this);
        return new TextSession(this, new TextState([], CreateCache()));
    }

    /// <summary>Goes on with a session that <see cref="TextSession.Save"/> wrote.</summary>
    /// <param name="stream">What was written.</param>
    /// <exception cref="QuantBuildException">QB4011: it is of another model or other load options, or damaged.</exception>
    public TextSession LoadSession(Stream stream)
    {
        ArgumentNullException.ThrowIfNull(stream);
        Enter();
        try
        {
            return new TextSession(this, SessionFile.Read(stream, Manifest.Fingerprint, pages, Config, ContextLength));
        }
        finally
        {
            Leave();
        }
    }

    /// <summary>
    /// A vector for a text, to compare it with others by their dot product: the mean over its tokens of the model's last hidden state, of length 1. A model that was trained for embeddings gives
    /// better ones.
    /// </summary>
    /// <param name="text">The text; shorter than the context.</param>
    /// <param name="cancellationToken">Ends the computation.</param>
    /// <returns>[hidden size].</returns>
    /// <exception cref="QuantBuildException">QB4005: it does not fit the context.</exception>
    public float[] Embed(string text, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        Enter();
        try
        {
            List<int> tokens = [];
            Extend(tokens, text, ContextOverflow.Stop);
            using KvCache cache = CreateCache();
            float[] sum = new float[Config.HiddenSize], hidden = new float[decoder.LargestBatch * Config.HiddenSize];
            for (int done = 0; done < tokens.Count; done += decoder.LargestBatch)
            {
                int[] next = [.. tokens.Skip(done).Take(decoder.LargestBatch)];
                decoder.Forward([new BatchPart(cache, next) { Hidden = hidden.AsMemory(0, next.Length * Config.HiddenSize) }], cancellationToken);
                for (int t = 0; t < next.Length; t++) TensorPrimitives.Add(sum, hidden.AsSpan(t * Config.HiddenSize, Config.HiddenSize), sum);
            }

            TensorPrimitives.Divide(sum, Math.Max(TensorPrimitives.Norm<float>(sum), float.Epsilon), sum);
            return sum;
        }
        finally
        {
            Leave();
        }
    }

    /// <summary>A full forward pass.</summary>
    /// <param name="tokens">Token ids; at least one, and at most the context.</param>
    /// <returns>[tokens, vocabulary]: row t scores what follows token t.</returns>
    /// <exception cref="QuantBuildException">QB4005: more tokens than the context.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token is outside the vocabulary, or there is none.</exception>
    /// <exception cref="ObjectDisposedException">The model was disposed.</exception>
    public float[] Logits(ReadOnlySpan<int> tokens)
    {
        ArgumentOutOfRangeException.ThrowIfZero(tokens.Length, nameof(tokens));
        foreach (int token in tokens) ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)token, (uint)Config.VocabularySize, nameof(tokens));
        if (tokens.Length > ContextLength) throw TooLong(tokens.Length, ContextLength);
        Enter();
        try
        {
            float[] logits = new float[checked(tokens.Length * Config.VocabularySize)];
            using KvCache cache = CreateCache();
            for (int done = 0; done < tokens.Length; done += decoder.LargestBatch)
            {
                int count = Math.Min(decoder.LargestBatch, tokens.Length - done);
                Memory<float> target = logits.AsMemory(done * Config.VocabularySize, count * Config.VocabularySize);
                decoder.Forward([new BatchPart(cache, tokens.Slice(done, count).ToArray()) { Logits = target }], CancellationToken.None);
            }

            return logits;
        }
        finally
        {
            Leave();
        }
    }

    /// <summary>Decodes one token after another, the likeliest each time, for the sake of the time that it takes: no token ends the text.</summary>
    /// <param name="prompt">Token ids; at least one.</param>
    /// <returns>
    /// Seconds of each step as it is done: first the prompt, then single tokens until the context is full. Ended by whoever reads no further.
    /// </returns>
    internal IEnumerable<double> StepSeconds(int[] prompt)
    {
        Enter();
        try
        {
            int[] tokens = prompt;
            using KvCache cache = new(pages);
            float[] logits = new float[Config.VocabularySize];
            for (int length = tokens.Length; length <= ContextLength; length++)
            {
                long start = Stopwatch.GetTimestamp();
                Feed(cache, tokens, logits, CancellationToken.None);
                tokens = [TensorPrimitives.IndexOfMax<float>(logits)];
                yield return Stopwatch.GetElapsedTime(start).TotalSeconds;
            }
        }
        finally
        {
            Leave();
        }
    }

    /// <summary>Releases the model. Calls that are running end as if it were not disposed; later ones throw <see cref="ObjectDisposedException"/>.</summary>
    public void Dispose()
    {
        lock (lifetime)
        {
            if (disposed) return;
            disposed = true;
            if (running == 0) Free();
        }
    }

    private static LanguageModel Open(string path, LoadOptions? options)
    {
        options ??= new LoadOptions();
        CheckOption(nameof(LoadOptions.ContextLength), options.ContextLength ?? LeastContext, LeastContext);
        CheckOption(nameof(LoadOptions.Threads), options.Threads, 0);
        CheckOption(nameof(LoadOptions.MaxConcurrentTexts), options.MaxConcurrentTexts, 1, MostTexts);
        CheckOption(nameof(LoadOptions.MaxWaitingTexts), options.MaxWaitingTexts, 0);
        CheckOption(nameof(LoadOptions.PromptCacheTokens), options.PromptCacheTokens, 0);
        if (!Enum.IsDefined(options.KvCache))
        {
            throw new QuantBuildException(
                DiagnosticIds.OptionInvalid, $"LoadOptions.KvCache is {options.KvCache}, expected one of {string.Join(", ", Enum.GetNames<KvPrecision>())}. Set it so, or leave it out.");
        }

        Artifact artifact = Artifact.Open(path);
        try
        {
            if (options.ContextLength > artifact.Config.ContextLength)
            {
                throw new QuantBuildException(
                    DiagnosticIds.OptionInvalid,
                    $"LoadOptions.ContextLength is {options.ContextLength}, expected at most {artifact.Config.ContextLength}, the context of {artifact.Manifest.ModelName}. Set it so, or leave it out.");
            }

            if (options.VerifyChecksums) artifact.VerifyChecksums();
            return new LanguageModel(artifact, options);
        }
        catch
        {
            artifact.Dispose();
            throw;
        }
    }

    private static void CheckOption(string name, int actual, int least, int most = int.MaxValue)
    {
        if (actual >= least && actual <= most) return;
        string expected = most == int.MaxValue ? $"at least {least}" : $"from {least} to {most}";
        throw new QuantBuildException(DiagnosticIds.OptionInvalid, $"LoadOptions.{name} is {actual}, expected {expected}. Set it so, or leave it out.");
    }

    private static GenerationOptions Typed<T>(GenerationOptions? options, JsonTypeInfo<T> type) =>
        (options ?? new GenerationOptions()) with { Format = OutputFormat.JsonOf(type) };

    private QuantBuildException TooLong(int tokens, int room) => new(
        DiagnosticIds.PromptTooLong,
        $"The text has {tokens} tokens, and the model has room for at most {room}. Shorten the text, or "
        + (ContextLength < Config.ContextLength ? $"load the model with a larger LoadOptions.ContextLength: it has {ContextLength} tokens now, and may have {Config.ContextLength}." : "choose a model with a longer context."));

    /// <summary>Begins a call: until its end, the model is not released.</summary>
    internal void Enter()
    {
        lock (lifetime)
        {
            ObjectDisposedException.ThrowIf(disposed, this);
            running++;
        }
    }

    internal void Leave()
    {
        lock (lifetime)
        {
            running--;
            if (disposed && running == 0) Free();
        }
    }

    private void Free()
    {
        loop.Dispose();
        prompts.Dispose();
        decoder.Dispose();
        pages.Dispose();
        artifact.Dispose();
    }
}
