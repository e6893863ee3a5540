using System.Globalization;

namespace QuantBuild;

/// <summary>
/// Where a checkpoint holds the tensors that both forward passes know by one set of names, those of Llama's checkpoints: under which name, and in which rows of a tensor in which
/// several are fused.
/// </summary>
public sealed class WeightNames
{
    private readonly Dictionary<string, TensorPlace> places = new(StringComparer.Ordinal);
    private readonly Dictionary<string, (string Weight, string Bias)> suffixes = new(StringComparer.Ordinal);
    private readonly string layerPrefix;

    /// <summary>Names that are those of Llama but for what is added.</summary>
    /// <param name="layerPrefix">What the names of a layer's tensors begin with; <c>*</c> is the layer's number.</param>
    public WeightNames(string layerPrefix = "model.layers.*.") => this.layerPrefix = layerPrefix;

    /// <summary>Adds a module, whose weight and bias lie in another place.</summary>
    /// <param name="module">Its own name; in a layer without the layer's prefix, and <c>*</c> is the number of an expert.</param>
    /// <param name="name">Its name in the checkpoint, likewise.</param>
    /// <param name="rows">Which rows of that tensor it is; <see langword="null"/> for all of them.</param>
    /// <param name="transposed">Whether the checkpoint has the weight as [inputs, outputs].</param>
    public WeightNames With(string module, string name, RowBlocks? rows = null, bool transposed = false) => With(module, new TensorPlace(name, rows, transposed));

    /// <summary>Adds a module whose rows are a part for each number of a first dimension that the checkpoint's tensor has before them.</summary>
    /// <param name="module">Its own name.</param>
    /// <param name="name">Its name in the checkpoint.</param>
    /// <param name="stack">The size of that dimension.</param>
    public WeightNames WithStack(string module, string name, int stack) => With(module, new TensorPlace(name, Stack: stack));

    /// <summary>Adds a module whose rows are in several tensors of the checkpoint, as many in each, one after the other.</summary>
    /// <param name="module">Its own name.</param>
    /// <param name="name">Their names; <c>*</c> is the number of one.</param>
    /// <param name="parts">How many they are.</param>
    public WeightNames WithParts(string module, string name, int parts) => With(module, new TensorPlace(name, Parts: parts));

    private WeightNames With(string module, TensorPlace place)
    {
        places[module] = place;
        return this;
    }

    /// <summary>Adds a module of each expert, of which one tensor holds those of all, [experts, ...].</summary>
    /// <param name="module">Its own name in a layer, with <c>*</c> for the number of the expert.</param>
    /// <param name="name">Its name in the checkpoint.</param>
    /// <param name="experts">How many they are.</param>
    /// <param name="rows">Which rows of an expert's part it is; <see langword="null"/> for all of them.</param>
    /// <param name="transposed">Whether the parts of the weight are [inputs, outputs].</param>
    /// <param name="weight">What follows the name in that of the weight.</param>
    /// <param name="bias">What follows it in that of the bias.</param>
    public WeightNames WithExperts(string module, string name, int experts, RowBlocks? rows = null, bool transposed = false, string weight = ".weight", string bias = ".bias")
    {
        places[module] = new TensorPlace(name, rows, transposed, new ExpertPart(0, experts));
        suffixes[module] = (weight, bias);
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

    /// <summary>The name that a tensor or module would have in a model of language alone: one that sees images too has its language model under another prefix, in one of two orders.</summary>
    /// <param name="name">Its name in the checkpoint.</param>
    public static string InLanguageModel(string name)
    {
        const string outer = "language_model.", inner = "model.language_model.";
        return name.StartsWith(outer, StringComparison.Ordinal) ? name.Substring(outer.Length) : name.StartsWith(inner, StringComparison.Ordinal) ? "model." + name.Substring(inner.Length) : name;
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
        string suffix = !suffixes.TryGetValue(inLayer, out (string Weight, string Bias) own) ? kind : kind == ".weight" ? own.Weight : own.Bias;
        return place with
        {
            Name = layerPrefix.Replace("*", layer) + (place.Parts is not null ? place.Name : place.Name.Replace("*", expert)) + suffix,
            // A bias has one number for each output, and nothing to transpose.
            Transposed = place.Transposed && kind == ".weight",
            Expert = place.Expert is { } part ? part with { Index = int.Parse(expert, CultureInfo.InvariantCulture) } : null,
        };
    }
}

/// <summary>A place in a checkpoint.</summary>
/// <param name="Name">The tensor; of several, with a <c>*</c> for the number of each.</param>
/// <param name="Rows">Which of its rows; <see langword="null"/> for all of them.</param>
/// <param name="Transposed">Whether the tensor is [inputs, outputs]: its rows are then columns.</param>
/// <param name="Expert">Which part of the tensor that is, where it holds those of all experts; <see langword="null"/> where it is a tensor of its own.</param>
/// <param name="Stack">The size of a dimension that the tensor has before that of its rows, which are then those of all its parts; <see langword="null"/> where it has none.</param>
/// <param name="Parts">In how many tensors the rows are, as many in each, one after the other; <see langword="null"/> where they are in one.</param>
public sealed record TensorPlace(string Name, RowBlocks? Rows = null, bool Transposed = false, ExpertPart? Expert = null, int? Stack = null, int? Parts = null)
{
    /// <summary>The names of all tensors.</summary>
    public IEnumerable<string> Names => Parts is not { } parts ? [Name] : Enumerable.Range(0, parts).Select(part => Name.Replace("*", part.ToString(CultureInfo.InvariantCulture)));
}

/// <summary>One of the equal parts of a tensor in which something of all experts is, one after the other.</summary>
/// <param name="Index">Which, from 0.</param>
/// <param name="Count">How many.</param>
public sealed record ExpertPart(int Index, int Count);

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

    /// <summary>Heads that are fused in groups.</summary>
    /// <param name="first">The first head of a group's.</param>
    /// <param name="heads">How many follow one another.</param>
    /// <param name="headsOfGroup">Heads of a group.</param>
    /// <param name="groups">Groups.</param>
    /// <param name="headDim">Rows of a head.</param>
    public static RowBlocks OfHeads(int first, int heads, int headsOfGroup, int groups, int headDim) =>
        new(first * headDim, heads * headDim, headsOfGroup * headDim, groups, groups * headsOfGroup * headDim);

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
