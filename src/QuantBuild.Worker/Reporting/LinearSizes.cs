namespace QuantBuild.Worker.Reporting;

/// <summary>What the linears of an artifact take, as its tensors say it, and what they would take in other formats.</summary>
internal static class LinearSizes
{
    /// <summary>All linears of a decoder, layer by layer.</summary>
    public static IEnumerable<LinearShape> All(DecoderConfig config) => Enumerable.Range(0, config.Layers).SelectMany(config.Linears);

    /// <summary>The names that linears have in their layers, in the order of a forward pass, with what all layers have.</summary>
    public static IReadOnlyList<string> Roles(DecoderConfig config) => [.. All(config).Select(InLayer).Distinct()];

    /// <summary>The linears of a layer by their names in it.</summary>
    public static IReadOnlyDictionary<string, LinearShape> ByRole(DecoderConfig config, int layer) => config.Linears(layer).ToDictionary(InLayer, StringComparer.Ordinal);

    // Behind the layer's prefix, which differs by the length of its number.
    private static string InLayer(LinearShape linear) => string.Join('.', linear.Name.Split('.').Skip(3));

    /// <summary>Weights of a linear.</summary>
    public static long Weights(LinearShape linear) => (long)linear.Inputs * linear.Outputs;

    /// <summary>Bytes of the tensors that hold a linear in an artifact.</summary>
    public static long Bytes(Artifact artifact, LinearShape linear)
    {
        string prefix = linear.Name + ".";
        return artifact.File.Tensors.Values.Where(tensor => tensor.Name.StartsWith(prefix, StringComparison.Ordinal)).Sum(tensor => tensor.ByteLength);
    }

    /// <summary>Bits per weight of a linear in an artifact: 8 times its bytes over its weights.</summary>
    public static double Bits(Artifact artifact, LinearShape linear) => 8.0 * Bytes(artifact, linear) / Weights(linear);

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
