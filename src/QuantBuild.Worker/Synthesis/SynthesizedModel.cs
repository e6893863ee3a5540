using System.Diagnostics;
using System.Text;

namespace QuantBuild.Worker.Synthesis;

/// <summary>
/// A model folder with random weights, for measuring time and memory: normal with the standard deviation 0.02 of trained models (less
/// with depth where a weight writes into the residual stream, as in GPT-2), a few columns larger, and norms of 1.
/// </summary>
internal sealed record SynthesizedModel
{
    private const double Deviation = 0.02;

    /// <summary>The sizes.</summary>
    public required ModelShape Shape { get; init; }

    /// <summary>The type of the weights: BF16, F16 or F32.</summary>
    public ElementType Type { get; init; } = ElementType.BF16;

    /// <summary>The model folder whose tokenizer is taken; without one, each byte is a token.</summary>
    public string? TokenizerFolder { get; init; }

    /// <summary>The same seed gives the same bytes.</summary>
    public ulong Seed { get; init; }

    /// <summary>How many threads make weights.</summary>
    public int Threads { get; init; } = Environment.ProcessorCount;

    /// <summary>The standard deviation of a weight's values in most columns.</summary>
    /// <param name="name">The tensor's name.</param>
    public double DeviationOf(string name) =>
        name.EndsWith("o_proj.weight", StringComparison.Ordinal) || name.EndsWith("down_proj.weight", StringComparison.Ordinal)
            ? Deviation / Math.Sqrt(2 * Shape.Layers)
            : Deviation;

    /// <summary>The folders that a run which was stopped at once left half-written.</summary>
    /// <param name="folder">The folder that it was to make.</param>
    public static IEnumerable<string> Leftovers(string folder)
    {
        string target = FullPath(folder);
        string? parent = Path.GetDirectoryName(target);
        return Directory.Exists(parent) ? Directory.GetDirectories(parent, Path.GetFileName(target) + ".*.tmp") : [];
    }

    /// <summary>Writes the folder. It appears whole or not at all.</summary>
    /// <param name="folder">The folder to make; it may be there if it is empty.</param>
    /// <param name="report">Receives progress; called on this thread.</param>
    /// <param name="cancellationToken">Ends the work, and nothing is left.</param>
    /// <returns>What was made.</returns>
    /// <exception cref="QuantBuildException">
    /// QB0006: the sizes do not fit each other or the tokenizer. QB1003, QB1004: the folder cannot be written, or is there and has files. QB2001, QB2008, QB2009: the
    /// tokenizer's folder or file.
    /// </exception>
    public DecoderConfig Write(string folder, Action<WorkerMessage> report, CancellationToken cancellationToken)
    {
        string target = FullPath(folder);
        (byte[] tokenizer, string? tokenizerConfig, int? beginOfText) = Tokenizer();
        string json = Shape.ConfigJson(Type, beginOfText);
        DecoderConfig config = DecoderConfig.Parse(json, "config.json");
        if (File.Exists(target) || (Directory.Exists(target) && Directory.EnumerateFileSystemEntries(target).Any()))
        {
            throw new QuantBuildException(
                DiagnosticIds.NotWritable, $"{target} cannot be written: it is there already, and is not an empty folder. Choose another folder with -o, or delete it.");
        }

        string temporary = $"{target}.{Guid.NewGuid():N}.tmp";
        try
        {
            Directory.CreateDirectory(temporary);
            File.WriteAllText(Path.Combine(temporary, "config.json"), json);
            File.WriteAllBytes(Path.Combine(temporary, "tokenizer.json"), tokenizer);
            if (tokenizerConfig is not null) File.WriteAllText(Path.Combine(temporary, "tokenizer_config.json"), tokenizerConfig);
            SafetensorsWriter.Write(
                Path.Combine(temporary, "model.safetensors"), new Dictionary<string, string> { ["format"] = "pt" }, Tensors(config, report, cancellationToken));
            cancellationToken.ThrowIfCancellationRequested();
            if (Directory.Exists(target)) Directory.Delete(target);
            Directory.Move(temporary, target);
            return config;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new QuantBuildException(
                WriteFailure.IsDiskFull(e) ? DiagnosticIds.DiskFull : DiagnosticIds.NotWritable,
                $"{target} cannot be written: {e.Message} Choose another folder with -o, or make room and allow writing there.", e);
        }
        finally
        {
            DeleteQuietly(temporary);
        }
    }

    /// <summary>Path without a separator at its end: the name of the folder is its last part.</summary>
    private static string FullPath(string folder) => Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));

    private static void DeleteQuietly(string folder)
    {
        try
        {
            if (Directory.Exists(folder)) Directory.Delete(folder, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The error that led here is the one to report.
        }
    }

    private List<TensorSource> Tensors(DecoderConfig config, Action<WorkerMessage> report, CancellationToken cancellationToken)
    {
        long total = config.Parameters * Type.Size();
        long done = 0;
        int percent = 0;
        Stopwatch clock = Stopwatch.StartNew();
        List<TensorSource> sources = [];
        foreach ((string name, IReadOnlyList<int> shape) in config.Tensors())
        {
            void Written(long bytes)
            {
                done += bytes;
                double fraction = (double)done / total;
                if ((int)(100 * fraction) == percent) return;
                percent = (int)(100 * fraction);
                report(new WorkerMessage
                {
                    Kind = WorkerMessageKind.Progress,
                    Text = name,
                    Fraction = fraction,
                    SecondsLeft = clock.Elapsed.TotalSeconds * (1 - fraction) / fraction,
                });
            }

            sources.Add(shape is [int outputs, int inputs]
                ? new RandomTensor(name, outputs, inputs, DeviationOf(name), Type, Seed).Source(Threads, Written, cancellationToken)
                : TensorSource.FromBytes(name, Type, [shape[0]], Ones(shape[0])));
        }

        return sources;
    }

    private byte[] Ones(int count)
    {
        byte[] one = Type switch
        {
            ElementType.F32 => BitConverter.GetBytes(1f),
            ElementType.F16 => BitConverter.GetBytes((Half)1),
            _ => BitConverter.GetBytes(RandomTensor.BFloat16Bits(1)),
        };
        return [.. Enumerable.Repeat(one, count).SelectMany(bytes => bytes)];
    }

    private (byte[] Json, string? Config, int? BeginOfText) Tokenizer()
    {
        if (TokenizerFolder is null)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(ByteTokenizer.Json());
            return (bytes, ByteTokenizer.ConfigJson(Shape.Context), BeginOfText(bytes, "tokenizer.json", null));
        }

        string folder = FullPath(TokenizerFolder);
        if (!Directory.Exists(folder))
        {
            throw new QuantBuildException(DiagnosticIds.ModelMissing, $"The folder {folder} that --tokenizer names does not exist. Correct the path.");
        }

        string file = Path.Combine(folder, "tokenizer.json");
        if (!File.Exists(file))
        {
            throw new QuantBuildException(
                DiagnosticIds.TokenizerMissing, $"The folder {folder} that --tokenizer names has no tokenizer.json. Choose another, or leave --tokenizer out.");
        }

        byte[] json = File.ReadAllBytes(file);
        string config = Path.Combine(folder, "tokenizer_config.json");
        string? settings = File.Exists(config) ? File.ReadAllText(config) : null;
        return (json, settings, BeginOfText(json, file, settings));
    }

    /// <summary>The token that the tokenizer puts before a text; checks that the model has a row for each of its tokens.</summary>
    private int? BeginOfText(byte[] json, string source, string? config)
    {
        TextTokenizer tokenizer = TextTokenizer.Load(json, source, config);
        if (tokenizer.VocabularySize > Shape.Vocabulary)
        {
            throw ModelShape.Invalid(
                $"--vocabulary {Shape.Vocabulary} is smaller than the {tokenizer.VocabularySize} tokens of {source}. Choose a larger one, or another tokenizer");
        }

        return tokenizer.Encode("") is [int first, ..] ? first : null;
    }
}
