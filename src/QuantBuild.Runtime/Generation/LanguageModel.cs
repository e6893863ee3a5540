using System.Diagnostics;
using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using QuantBuild.Decoding;
using QuantBuild.Generation;
using QuantBuild.Kernels;

namespace QuantBuild;

/// <summary>
/// A quantized model that is ready to generate text. Safe to use from several threads at once: they share the weights, and each text has a cache of
/// its own.
/// </summary>
public sealed class LanguageModel : IDisposable
{
    private readonly Artifact artifact;
    private readonly KvPages pages;
    private readonly Decoder decoder;
    private readonly GenerationDefaults defaults;
    private readonly HashSet<int> endTokens;
    private readonly Lock lifetime = new();

    // Calls that are running. The memory map is released when the model is disposed and none is.
    private int running;
    private bool disposed;

    private LanguageModel(Artifact artifact, LoadOptions options)
    {
        this.artifact = artifact;
        string source = artifact.File.Path;
        Tokenizer = TextTokenizer.Load(artifact.TokenizerJson, source + ", tokenizer.json");
        defaults = GenerationDefaults.Parse(Manifest.GenerationConfigJson, source, DiagnosticIds.ArtifactMalformed);
        endTokens = [.. Config.EosTokenIds, .. defaults.EosTokenIds];
        pages = new KvPages(Config, options.KvCache);
        int threads = options.Threads == 0 ? Environment.ProcessorCount : options.Threads;
        decoder = new Decoder(Config, new DecoderWeights(artifact), pages, new Workers(threads), options.FloatActivations);
    }

    /// <summary>What the artifact says of itself.</summary>
    public ArtifactManifest Manifest => artifact.Manifest;

    /// <summary>What the model's <c>config.json</c> says.</summary>
    public DecoderConfig Config => artifact.Config;

    /// <summary>The model's tokenizer.</summary>
    public TextTokenizer Tokenizer { get; }

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
    /// QB4006: an option is out of its range.
    /// </exception>
    public static LanguageModel Load(QuantizedModelInfo info, LoadOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(info);
        string path = options?.ArtifactPath ?? Path.Combine(AppContext.BaseDirectory, info.ArtifactFileName);
        LanguageModel model = Open(path, options);
        string found = model.Manifest.Fingerprint;
        if (found == info.Fingerprint) return model;
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
        string.Concat(Pieces(prompt, options, cancellationToken));

    /// <summary>Continues a text without holding up the caller. Parameters, result and errors are those of <see cref="Generate"/>.</summary>
    public Task<string> GenerateAsync(string prompt, GenerationOptions? options = null, CancellationToken cancellationToken = default) =>
        Task.Run(() => Generate(prompt, options, cancellationToken), cancellationToken);

    /// <summary>Continues a text and gives it out as it comes, in pieces of whole characters; together they are what <see cref="Generate"/> returns.</summary>
    /// <param name="prompt">The text to continue.</param>
    /// <param name="options">How.</param>
    /// <param name="cancellationToken">Ends the generation within a token.</param>
    /// <exception cref="QuantBuildException">As for <see cref="Generate"/>.</exception>
    public async IAsyncEnumerable<string> StreamAsync(
        string prompt, GenerationOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        // Each step runs on the pool, and the next one only when it is asked for: a slow reader holds up the model, not memory.
        IEnumerator<string> pieces = Pieces(prompt, options, cancellationToken).GetEnumerator();
        using (pieces)
        {
            while (await Task.Run(pieces.MoveNext, cancellationToken).ConfigureAwait(false)) yield return pieces.Current;
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
        if (tokens.Length > Config.ContextLength) throw TooLong(tokens.Length, Config.ContextLength);
        Enter();
        try
        {
            float[] logits = new float[checked(tokens.Length * Config.VocabularySize)];
            using KvCache cache = new(pages);
            for (int done = 0; done < tokens.Length; done += Decoder.LargestBatch)
            {
                int count = Math.Min(Decoder.LargestBatch, tokens.Length - done);
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
            for (int length = tokens.Length; length <= Config.ContextLength; length++)
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
        if (options.Threads < 0)
        {
            throw new QuantBuildException(
                DiagnosticIds.OptionInvalid, $"LoadOptions.Threads is {options.Threads}, expected at least 0. Set it so, or leave it out for all cores.");
        }

        Artifact artifact = Artifact.Open(path);
        try
        {
            if (options.VerifyChecksums) artifact.VerifyChecksums();
            return new LanguageModel(artifact, options);
        }
        catch
        {
            artifact.Dispose();
            throw;
        }
    }

    private IEnumerable<string> Pieces(string prompt, GenerationOptions? options, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        SamplingSettings settings = defaults.Complete(options, Config.VocabularySize);
        Enter();
        try
        {
            int[] tokens = PromptTokens(prompt);
            int limit = Math.Min(settings.MaxTokens, Config.ContextLength - tokens.Length);
            using KvCache cache = new(pages);
            Sampler sampler = new(settings, tokens);
            TokenDecoder text = Tokenizer.CreateDecoder();
            StopStrings stops = new(settings.StopStrings);
            float[] logits = new float[Config.VocabularySize];
            for (int generated = 0; generated < limit && !stops.Found; generated++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                Feed(cache, tokens, logits, cancellationToken);
                int token = sampler.Choose(logits).Token;
                sampler.Accept(token);
                if (endTokens.Contains(token)) break;
                string piece = stops.Append(text.Append(token));
                if (piece.Length > 0) yield return piece;
                tokens = [token];
            }

            string rest = stops.Append(text.Finish()) + stops.Finish();
            if (rest.Length > 0) yield return rest;
        }
        finally
        {
            Leave();
        }
    }

    /// <summary>Takes the next tokens of a text; logits of the last.</summary>
    private void Feed(KvCache cache, ReadOnlyMemory<int> tokens, Memory<float> logits, CancellationToken cancellationToken)
    {
        for (int done = 0; done < tokens.Length; done += Decoder.LargestBatch)
        {
            ReadOnlyMemory<int> next = tokens.Slice(done, Math.Min(Decoder.LargestBatch, tokens.Length - done));
            decoder.Forward([new BatchPart(cache, next) { Logits = done + next.Length == tokens.Length ? logits : default }], cancellationToken);
        }
    }

    private int[] PromptTokens(string prompt)
    {
        int[] tokens = [.. Tokenizer.Encode(prompt)];
        // There is nothing to continue without a single token, and nowhere to continue in a full context.
        if (tokens.Length == 0) tokens = [Config.BosTokenId ?? (Config.EosTokenIds is [int end, ..] ? end : 0)];
        if (tokens.Length >= Config.ContextLength) throw TooLong(tokens.Length, Config.ContextLength - 1);
        int stranger = Array.FindIndex(tokens, token => token >= Config.VocabularySize);
        if (stranger < 0) return tokens;
        throw new QuantBuildException(
            DiagnosticIds.TokenizerUnsupported,
            $"{artifact.File.Path}: the tokenizer gives the token {tokens[stranger]}, but the model has only {Config.VocabularySize}. " +
            "Tokenizer and weights are not of one model: copy the model folder again and build.");
    }

    private static QuantBuildException TooLong(int tokens, int room) => new(
        DiagnosticIds.PromptTooLong,
        $"The text has {tokens} tokens, and the model has room for at most {room}. Shorten the text, or choose a model with a longer context.");

    private void Enter()
    {
        lock (lifetime)
        {
            ObjectDisposedException.ThrowIf(disposed, this);
            running++;
        }
    }

    private void Leave()
    {
        lock (lifetime)
        {
            running--;
            if (disposed && running == 0) Free();
        }
    }

    private void Free()
    {
        decoder.Dispose();
        pages.Dispose();
        artifact.Dispose();
    }
}
