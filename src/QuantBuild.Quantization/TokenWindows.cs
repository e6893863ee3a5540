using System.Globalization;
using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// A text as windows of consecutive tokens. The whole text is encoded once, with the tokenizer's special tokens (the beginning-of-text token, if
/// the tokenizer adds one, is thus the first token of the first window), and cut every <see cref="Length"/> tokens; what is left
/// at the end and fills no window is not used.
/// </summary>
internal sealed class TokenWindows
{
    private readonly int[] tokens;

    /// <summary>Cuts tokens into windows.</summary>
    public TokenWindows(IReadOnlyList<int> tokens, int length, int atMost = int.MaxValue)
    {
        Length = length;
        Count = Math.Min(tokens.Count / length, atMost);
        this.tokens = [.. tokens.Take(Count * length)];
    }

    /// <summary>Tokens of a window.</summary>
    public int Length { get; }

    /// <summary>Number of windows.</summary>
    public int Count { get; }

    /// <summary>The length of a window: what the specification says, else the model's context, at most 2,048.</summary>
    /// <exception cref="QuantBuildException">QB0006: longer than the model's context.</exception>
    public static int LengthFor(DecoderConfig config, int asked, string name)
    {
        if (asked <= config.ContextLength) return asked > 0 ? asked : Math.Min(config.ContextLength, 2048);
        throw new QuantBuildException(
            DiagnosticIds.MetadataInvalid,
            $"{name}=\"{asked}\" is longer than the model's context of {config.ContextLength} tokens. Set it to at most that, or leave it out.");
    }

    /// <summary>Reads a calibration text.</summary>
    /// <exception cref="QuantBuildException">QB3001 missing, QB3002 empty, QB3003 too short for one window.</exception>
    public static TokenWindows ReadCalibration(string? file, QuantizationSpec spec, DecoderConfig config, TextTokenizer tokenizer)
    {
        if (file is null)
        {
            throw new QuantBuildException(
                DiagnosticIds.CalibrationRequired,
                $"Method {spec.Method} needs a calibration text, and none is given. Set CalibrationData to a text file, or Method to Rtn.");
        }

        if (!File.Exists(file))
        {
            throw new QuantBuildException(
                DiagnosticIds.CalibrationMissing, $"The calibration file {file} does not exist. Correct the path: it is relative to the project file.");
        }

        int length = LengthFor(config, spec.CalibrationContext, nameof(spec.CalibrationContext));
        string text = File.ReadAllText(file);
        if (string.IsNullOrWhiteSpace(text))
        {
            throw new QuantBuildException(
                DiagnosticIds.CalibrationEmpty, $"The calibration file {file} is empty. It needs text of the kind that the model will meet, at least {Number(length)} tokens.");
        }

        IReadOnlyList<int> tokens = Encode(text, config, tokenizer);
        if (tokens.Count < length)
        {
            throw new QuantBuildException(
                DiagnosticIds.CalibrationTooShort,
                $"The calibration file {file} has {Number(tokens.Count)} tokens, and one window needs {Number(length)}. Give a longer text " +
                $"({Number(length * 32)} tokens or more give good results), or set CalibrationContext to a smaller window.");
        }

        return new TokenWindows(tokens, length, spec.CalibrationSamples);
    }

    /// <summary>Reads an evaluation text.</summary>
    /// <exception cref="QuantBuildException">QB3005 missing, empty or too short for one window.</exception>
    public static TokenWindows ReadEvaluation(string file, QuantizationSpec spec, DecoderConfig config, TextTokenizer tokenizer)
    {
        int length = LengthFor(config, spec.EvaluationContext, nameof(spec.EvaluationContext));
        if (!File.Exists(file))
        {
            throw new QuantBuildException(
                DiagnosticIds.EvaluationUnusable, $"The evaluation file {file} does not exist. Correct the path: it is relative to the project file.");
        }

        IReadOnlyList<int> tokens = Encode(File.ReadAllText(file), config, tokenizer);
        if (tokens.Count < length || length < 2)
        {
            throw new QuantBuildException(
                DiagnosticIds.EvaluationUnusable,
                $"The evaluation file {file} has {Number(tokens.Count)} tokens, and one window needs {Number(Math.Max(2, length))}. Give a longer text, or set " +
                "EvaluationContext to a smaller window of at least 2 tokens.");
        }

        return new TokenWindows(tokens, length);
    }

    /// <summary>The windows as batches, int64 [windows, <see cref="Length"/>].</summary>
    /// <param name="batchTokens">Tokens of a batch, about; a batch has at least one window.</param>
    public IEnumerable<torch.Tensor> Batches(int batchTokens)
    {
        int windows = Math.Max(1, batchTokens / Length);
        for (int first = 0; first < Count; first += windows)
        {
            int count = Math.Min(windows, Count - first);
            long[] batch = [.. tokens.Skip(first * Length).Take(count * Length).Select(token => (long)token)];
            yield return torch.tensor(batch).view(count, Length);
        }
    }

    private static IReadOnlyList<int> Encode(string text, DecoderConfig config, TextTokenizer tokenizer)
    {
        IReadOnlyList<int> tokens = tokenizer.Encode(text);
        int largest = tokens.DefaultIfEmpty().Max();
        if (largest < config.VocabularySize) return tokens;
        throw new QuantBuildException(
            DiagnosticIds.TokenizerUnsupported,
            $"tokenizer.json gives the token {largest}, and the model's embedding has {config.VocabularySize} rows. They are not of the same model: copy the model again.");
    }

    private static string Number(int value) => value.ToString("N0", CultureInfo.InvariantCulture);
}
