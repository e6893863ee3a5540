using System.Globalization;

namespace QuantBuild;

/// <summary>
/// Where a checkpoint holds the tensors that both forward passes know by one set of names, those of Llama's checkpoints: under which name, and in which rows of a tensor in which
/// several are fused.
/// </summary>
public sealed class WeightNames
{
    private readonly Dictionary<string, TensorPlace> places = new(StringComparer.Ordinal);
    private readonly string layerPrefix;

    /// <summary>Names that are those of Llama but for what is added.</summary>
    /// <param name="layerPrefix">What the names of a layer's tensors begin with; <c>*</c> is the layer's number.</param>
    public WeightNames(string layerPrefix = "model.layers.*.") => this.layerPrefix = layerPrefix;

    /// <summary>Adds a module, whose weight and bias lie in another place.</summary>
    /// <param name="module">Its own name; in a layer without the layer's prefix, and <c>*</c> is the number of an expert.</param>
    /// <param name="name">Its name in the checkpoint, likewise.</param>
    /// <param name="rows">Which rows of that tensor it is; <see langword="null"/> for all of them.</param>
    /// <param name="transposed">Whether the checkpoint has the weight as [inputs, outputs].</param>
    public WeightNames With(string module, string name, RowBlocks? rows = null, bool transposed = false)
    {
        places[module] = new TensorPlace(name, rows, transposed);
        return this;
    }

    /// <summary>Adds modules that lie in one tensor, one after the other.</summary>
    /// <param name="name">Its name in the checkpoint; in a layer without the layer's prefix.</param>
    /// <param name="parts">Their own names, and their rows.</param>
    public WeightNames WithFused(string name, params (string Module, int Rows)[] parts)
    {
        int first = 0, total = parts.Sum(part => part.Rows);
        foreach ((string module, int rows) in parts)
        {
            With(module, name, RowBlocks.Run(first, rows, total));
            first += rows;
        }

        return this;
    }

    /// <summary>Where a tensor is.</summary>
    /// <param name="tensor">Its own name.</param>
    public TensorPlace Of(string tensor)
    {
        int end = tensor.LastIndexOf('.');
        (string module, string kind) = (tensor.Substring(0, end), tensor.Substring(end));
        if (!module.StartsWith("model.layers.", StringComparison.Ordinal))
        {
            return places.TryGetValue(module, out TensorPlace? top) ? top with { Name = top.Name + kind, Transposed = top.Transposed && kind == ".weight" } : new TensorPlace(tensor);
        }

        string[] parts = module.Split('.');
        string layer = parts[2], expert = "";
        for (int i = 3; i < parts.Length; i++)
        {
            if (!int.TryParse(parts[i], NumberStyles.None, CultureInfo.InvariantCulture, out _)) continue;
            expert = parts[i];
            parts[i] = "*";
        }

        string inLayer = string.Join(".", parts, 3, parts.Length - 3);
        TensorPlace place = places.TryGetValue(inLayer, out TensorPlace? found) ? found : new TensorPlace(inLayer);
        return place with
        {
            Name = layerPrefix.Replace("*", layer) + place.Name.Replace("*", expert) + kind,
            // A bias has one number for each output, and nothing to transpose.
            Transposed = place.Transposed && kind == ".weight",
        };
    }
}

/// <summary>A place in a checkpoint.</summary>
/// <param name="Name">The tensor.</param>
/// <param name="Rows">Which of its rows; <see langword="null"/> for all of them.</param>
/// <param name="Transposed">Whether the tensor is [inputs, outputs]: its rows are then columns.</param>
public sealed record TensorPlace(string Name, RowBlocks? Rows = null, bool Transposed = false);

/// <summary>Rows of a tensor in which several are fused: blocks of consecutive rows at equal distances.</summary>
/// <param name="First">The first row.</param>
/// <param name="Count">Rows of a block.</param>
/// <param name="Stride">Rows from the beginning of a block to that of the next.</param>
/// <param name="Blocks">How many blocks.</param>
/// <param name="Total">Rows of the fused tensor.</param>
public sealed record RowBlocks(int First, int Count, int Stride, int Blocks, int Total)
{
    /// <summary>One run of rows.</summary>
    public static RowBlocks Run(int first, int count, int total) => new(first, count, count, 1, total);

    /// <summary>How many rows these are.</summary>
    public long Rows => (long)Count * Blocks;

    /// <summary>The row of the fused tensor that is a row of this one.</summary>
    public long this[long row] => First + (row / Count * Stride) + (row % Count);

    /// <summary>Takes these rows out of something that has the same number of values for each row of the fused tensor.</summary>
    /// <param name="source">What all rows have.</param>
    /// <param name="target">Receives what these have.</param>
    public void Take<T>(T[] source, T[] target)
    {
        long width = source.LongLength / Total;
        for (long block = 0; block < Blocks; block++) Array.Copy(source, (First + (block * Stride)) * width, target, block * Count * width, Count * width);
    }
}
