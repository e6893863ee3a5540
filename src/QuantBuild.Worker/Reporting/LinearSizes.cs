using System.Runtime.CompilerServices;

namespace QuantBuild.Worker.Reporting;

/// <summary>What the linears of an artifact take, as its tensors say it, and what they would take in other formats.</summary>
internal static class LinearSizes
{
    // A model of experts has tens of thousands of linears, and each several tensors.
    private static readonly ConditionalWeakTable<Artifact, Dictionary<string, long>> BytesByName = [];

    /// <summary>All linears of a decoder, layer by layer.</summary>
    public static IEnumerable<LinearShape> All(DecoderConfig config) => Enumerable.Range(0, config.Layers).SelectMany(config.Linears);

    /// <summary>The names that linears have in their layers, in the order of a forward pass, with what all layers have. Linears of experts that do the same have one name.</summary>
    public static IReadOnlyList<string> Roles(DecoderConfig config) => [.. All(config).Select(InLayer).Distinct()];

    /// <summary>The linears of a layer by their names in it: one, or one of each expert.</summary>
    public static IReadOnlyDictionary<string, LinearShape[]> ByRole(DecoderConfig config, int layer) =>
        config.Linears(layer).GroupBy(InLayer, StringComparer.Ordinal).ToDictionary(role => role.Key, role => role.ToArray(), StringComparer.Ordinal);

    // Behind the layer's prefix, which differs by the length of its number, and without an expert's.
    private static string InLayer(LinearShape linear) => string.Join('.', linear.Name.Split('.').Skip(3).Where(part => !char.IsAsciiDigit(part[0])));

    /// <summary>Weights of a linear.</summary>
    public static long Weights(LinearShape linear) => (long)linear.Inputs * linear.Outputs;

    /// <summary>Bytes of the tensors that hold a linear in an artifact.</summary>
    public static long Bytes(Artifact artifact, LinearShape linear)
    {
        Dictionary<string, long> bytes = BytesByName.GetValue(artifact, of => of.File.Tensors.Values
            .GroupBy(tensor => tensor.Name[..Math.Max(0, tensor.Name.LastIndexOf('.'))], StringComparer.Ordinal)
            .ToDictionary(linear => linear.Key, linear => linear.Sum(tensor => tensor.ByteLength), StringComparer.Ordinal));
        return bytes.GetValueOrDefault(linear.Name);
    }

    /// <summary>Bits per weight of a linear in an artifact: 8 times its bytes over its weights.</summary>
    public static double Bits(Artifact artifact, LinearShape linear) => 8.0 * Bytes(artifact, linear) / Weights(linear);

    /// <summary>Of linears that do the same what there is to tell apart: one where all have as many bits, else the one of the fewest, the median, and the one of the most.</summary>
    public static LinearShape[] Distinct(Artifact artifact, IReadOnlyList<LinearShape> linears)
    {
        LinearShape[] sorted = [.. linears.OrderBy(linear => Bits(artifact, linear))];
        return Bits(artifact, sorted[0]) == Bits(artifact, sorted[^1]) ? [sorted[0]] : [sorted[0], sorted[(sorted.Length - 1) / 2], sorted[^1]];
    }

    /// <summary>Bits per weight of all linears of an artifact.</summary>
    public static double Bits(Artifact artifact) =>
        8.0 * All(artifact.Config).Sum(linear => Bytes(artifact, linear)) / All(artifact.Config).Sum(Weights);

    /// <summary>The group size that was asked for where it fits every linear, else the largest power of two below it that does, else a group for each row.</summary>
    public static int FittingGroupSize(DecoderConfig config, int asked)
    {
        int[] inputs = [.. All(config).Select(linear => linear.Inputs).Distinct()];
        bool Fits(int size) => inputs.All(count => count % size == 0);
        if (asked == QuantizationSpec.PerChannel || Fits(asked)) return asked;
        const int least = 16;
        for (int size = 64; size >= least; size /= 2)
        {
            if (size < asked && Fits(size)) return size;
        }

        return QuantizationSpec.PerChannel;
    }
}
