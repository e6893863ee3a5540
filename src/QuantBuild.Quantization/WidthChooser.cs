using System.Globalization;
using System.Text.Json;
using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>Chooses the widths of a budget: measures what each linear can lose, and spends the bytes where they save most.</summary>
/// <param name="plan">The plan without widths.</param>
/// <param name="budget">Bytes for the open linears: <see cref="WidthBudget.ForOpen"/>.</param>
/// <param name="folder">The journal's folder, where the choice is kept: a build that goes on must not choose again.</param>
internal sealed class WidthChooser(QuantizationPlan plan, long budget, string folder)
{
    /// <summary>The name of the file of the choice, in the journal's folder.</summary>
    public const string FileName = "widths.json";

    // Activations of a measurement that may be in memory; the rest waits on disk.
    private const long ActivationMemory = 1L << 30;

    /// <summary>Bytes of activations that go to disk while widths are chosen; none where they were chosen by the run before.</summary>
    /// <param name="calibration">The text to measure on.</param>
    public long OnDisk(TokenWindows calibration) => TryRead() is null ? Math.Max(0, Sensitivity.ActivationBytes(plan.Config, Sensitivity.Sample(calibration)) - ActivationMemory) : 0;

    private string FilePath => Path.Combine(folder, FileName);

    /// <summary>Chooses, or takes the choice of the run before.</summary>
    /// <param name="weights">The model's weights.</param>
    /// <param name="calibration">The text to measure on.</param>
    /// <param name="devices">Where to compute.</param>
    /// <param name="inform">Hears what was chosen.</param>
    /// <param name="cancellationToken">Looked at between steps.</param>
    /// <returns>The plan with the widths.</returns>
    /// <exception cref="QuantBuildException">QB3006; QB1003, QB1004.</exception>
    public QuantizationPlan Choose(
        ModelWeights weights, TokenWindows calibration, Devices devices, Action<FormattableString> inform, CancellationToken cancellationToken)
    {
        if (TryRead() is not { } widths)
        {
            TokenWindows sample = Sensitivity.Sample(calibration);
            inform($"measuring what each layer can lose, on {sample.Tokens.Length:N0} tokens of CalibrationData");
            using ActivationStore store = new(folder, ActivationMemory);
            Sensitivity sensitivity = new(plan, weights, devices, store, cancellationToken);
            widths = Allocate(sensitivity.Measure(sample));
            Write(widths);
        }

        QuantizationPlan chosen = new(plan.Config, plan.Spec, widths);
        inform($"{Summary(chosen)}");
        return chosen;
    }

    /// <summary>The widths that lose least.</summary>
    /// <param name="losses">What <see cref="Sensitivity.Measure"/> gave.</param>
    public Dictionary<string, int> Allocate(IReadOnlyDictionary<string, double[]> losses)
    {
        LinearShape[] open = [.. plan.Open];
        IReadOnlyList<int> bits = QuantizationSpec.SupportedBits;
        WidthOption[][] options =
        [
            .. open.Select(linear => bits.Select((width, i) => new WidthOption(width, WidthBudget.BytesOf(plan, linear, width), losses[linear.Name][i])).ToArray()),
        ];
        int[] chosen = WidthAllocation.Choose(options, budget);
        return open.Zip(chosen).ToDictionary(pair => pair.First.Name, pair => bits[pair.Second], StringComparer.Ordinal);
    }

    /// <summary>How many linears have which width, and bits per weight of all that is quantized.</summary>
    private static string Summary(QuantizationPlan chosen)
    {
        LinearShape[] linears = [.. chosen.Quantized];
        IEnumerable<string> counts = linears.GroupBy(linear => chosen[linear]!.Bits).OrderBy(width => width.Key)
            .Select((width, i) => string.Create(CultureInfo.InvariantCulture, $"{width.Key} bits for {width.Count()}{(i == 0 ? " linears" : "")}"));
        double bitsPerWeight = 8.0 * linears.Sum(linear => PackedSize.Of(chosen[linear]!, linear)) / linears.Sum(linear => (long)linear.Inputs * linear.Outputs);
        return string.Create(CultureInfo.InvariantCulture, $"widths: {string.Join(", ", counts)}; {bitsPerWeight:F2} bits per weight");
    }

    private Dictionary<string, int>? TryRead()
    {
        try
        {
            Dictionary<string, int>? read = JsonSerializer.Deserialize<Dictionary<string, int>>(File.ReadAllBytes(FilePath));
            bool isWhole = read is not null && plan.Open.Select(linear => linear.Name).ToHashSet(StringComparer.Ordinal).SetEquals(read.Keys)
                && read.Values.All(QuantizationSpec.SupportedBits.Contains);
            return isWhole ? read : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            return null;
        }
    }

    private void Write(Dictionary<string, int> widths)
    {
        string temporary = FilePath + ".tmp";
        try
        {
            File.WriteAllBytes(temporary, JsonSerializer.SerializeToUtf8Bytes(widths));
            File.Move(temporary, FilePath, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw WriteFailure.Of(FilePath, e);
        }
    }
}
