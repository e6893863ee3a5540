namespace QuantBuild.Worker;

/// <summary>A tensor of a model as its artifact stores it, with all that belongs to it: scales, zero points, order.</summary>
/// <param name="Name">The name that the model has for it.</param>
/// <param name="Format">The format of a quantized linear, or the type of the elements.</param>
/// <param name="Bits">Bits of a weight, without its scales; none of what is no weight.</param>
/// <param name="Group">Weights that share a scale, where they do; of <c>Int8RowOutlier</c> a whole row.</param>
/// <param name="Shape">The model's shape of it, outputs first.</param>
/// <param name="Weights">How many weights; 0 of what is none.</param>
/// <param name="Bytes">What it takes, scales and all.</param>
internal sealed record StoredTensor(string Name, string Format, int? Bits, int? Group, IReadOnlyList<long> Shape, long Weights, long Bytes)
{
    /// <summary>8 times the bytes over the weights; none of what is no weight.</summary>
    public double? BitsPerWeight => Weights > 0 ? 8.0 * Bytes / Weights : null;

    /// <summary>Every tensor of an artifact: those of the model in the order of a forward pass, then what else there is.</summary>
    public static IEnumerable<StoredTensor> Of(Artifact artifact)
    {
        Dictionary<string, LinearShape> linears = artifact.Config.QuantizableLinears().ToDictionary(linear => linear.WeightName);
        HashSet<string> rest = [.. artifact.File.Tensors.Keys];
        foreach (string name in artifact.Config.Tensors().Select(tensor => tensor.Key))
        {
            if (linears.TryGetValue(name, out LinearShape? linear) && artifact.Manifest.Layers.GetValueOrDefault(linear.Name) is { } format)
            {
                TensorEntry[] parts = [.. artifact.File.Tensors.Values.Where(part => part.Name.StartsWith(linear.Name + ".", StringComparison.Ordinal))];
                rest.ExceptWith(parts.Select(part => part.Name));
                yield return OfLinear(linear, format, parts.Sum(part => part.ByteLength));
            }
            else
            {
                rest.Remove(name);
                yield return OfEntry(artifact.File.Tensors[name], isWeight: true);
            }
        }

        foreach (string name in rest.Order(StringComparer.Ordinal)) yield return OfEntry(artifact.File.Tensors[name], isWeight: false);
    }

    private static StoredTensor OfLinear(LinearShape linear, LayerFormat format, long bytes)
    {
        (string name, int bits, int group) = format switch
        {
            IntAffineFormat affine => (IntAffine.FormatName, affine.Bits, affine.GroupSize),
            Codebook4Format codebook => (codebook.Codebook.ToString(), Codebook4.Bits, codebook.BlockSize),
            Int8RowOutlierFormat => (Int8RowOutlier.FormatName, 8, linear.Inputs),
            _ => throw new InvalidOperationException($"{format.GetType()} is a format that this code does not know."),
        };
        return new StoredTensor(linear.WeightName, name, bits, group, [linear.Outputs, linear.Inputs], (long)linear.Outputs * linear.Inputs, bytes);
    }

    private static StoredTensor OfEntry(TensorEntry entry, bool isWeight) => new(
        entry.Name,
        entry.Type.HeaderName(),
        isWeight ? 8 * entry.Type.Size() : null,
        null,
        entry.Shape,
        isWeight ? entry.ByteLength / entry.Type.Size() : 0,
        entry.ByteLength);
}
