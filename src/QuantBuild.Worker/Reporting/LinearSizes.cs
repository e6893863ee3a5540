namespace QuantBuild.Worker.Reporting;

/// <summary>What the linears of an artifact take, as its tensors say it, and what they would take in other formats.</summary>
internal static class LinearSizes
{
    /// <summary>All linears of a decoder, layer by layer.</summary>
    public static IEnumerable<LinearShape> All(DecoderConfig config) => Enumerable.Range(0, config.Layers).SelectMany(config.Linears);

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
        bool Fits(int size) => config.Linears(0).All(linear => linear.Inputs % size == 0);
        if (asked == QuantizationSpec.PerChannel || Fits(asked)) return asked;
        const int least = 16;
        for (int size = 64; size >= least; size /= 2)
        {
            if (size < asked && Fits(size)) return size;
        }

        return QuantizationSpec.PerChannel;
    }
}
