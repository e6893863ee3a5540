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

    /// <summary>The tokens of all windows.</summary>
    public ReadOnlySpan<int> Tokens => tokens;

    /// <summary>Tokens that a model predicts: all but the first of each window.</summary>
    public long PredictedTokens => (long)Count * (Length - 1);

    /// <summary>A few of the windows, evenly spaced.</summary>
    public TokenWindows Sample(int atMost)
    {
        int count = Math.Min(Count, atMost);
        return new([.. Enumerable.Range(0, count).SelectMany(i => tokens.Skip((int)((long)i * Count / count) * Length).Take(Length))], Length);
    }

    /// <summary>The length of a window: what the specification says, else what a text of the model usually has, at most 2,048.</summary>
    /// <exception cref="QuantBuildException">QB0006: longer than the model's context.</exception>
    public static int LengthFor(DecoderConfig config, int asked, string name)
    {
        if (asked <= config.ContextLength) return asked > 0 ? asked : Math.Min(config.UsualContext, 2048);
        throw new QuantBuildException(
            DiagnosticIds.MetadataInvalid,
            $"{name}=\"{asked}\" is longer than the model's context of {config.ContextLength} tokens. Set it to at most that, or leave it out.");
    }

    /// <summary>The tokens of a calibration text.</summary>
    /// <exception cref="QuantBuildException">QB3001 missing, QB3002 empty.</exception>
    public static IReadOnlyList<int> ReadCalibration(string file, DecoderConfig config, TextTokenizer tokenizer)
    {
        if (!File.Exists(file))
        {
            throw new QuantBuildException(
                DiagnosticIds.CalibrationMissing, $"The calibration file {file} does not exist. Correct the path: it is relative to the project file.");
        }

        string text = File.ReadAllText(file);
        if (!string.IsNullOrWhiteSpace(text)) return Encode(text, config, tokenizer);
        throw new QuantBuildException(
            DiagnosticIds.CalibrationEmpty, $"The calibration file {file} is empty. It needs some pages of text of the kind that the model will meet.");
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
