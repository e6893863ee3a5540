using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace QuantBuild.Quantization;

/// <summary>
/// The finished parts of an artifact that is being made (decoder layers; embedding and head, where they are quantized), one file each: a build that was ended goes
/// on with the part that it was at, and gives the same bytes. The files hold what the artifact will hold, so that it is put together from them without a
/// copy in memory.
/// </summary>
/// <param name="folder">The journal's folder, of one fingerprint alone.</param>
/// <param name="plan">How each linear is quantized.</param>
internal sealed class LayerJournal(string folder, QuantizationPlan plan)
{
    private const string ChecksumPrefix = "sha256:";

    private readonly DecoderConfig config = plan.Config;

    /// <summary>The parts in the order in which they are made: the embedding, the layers, the head. Those that hold nothing are among them.</summary>
    public IEnumerable<JournalPart> Parts =>
    [
        JournalPart.Embedding(config),
        .. Enumerable.Range(0, config.Layers).Select(layer => JournalPart.Layer(config, layer)),
        .. config.TieWordEmbeddings ? (IEnumerable<JournalPart>)[] : [JournalPart.Head(config)],
    ];

    /// <summary>The file of a part.</summary>
    public string FilePath(JournalPart part) => Path.Combine(folder, part.Name + ".safetensors");

    /// <summary>Makes the folder, and removes what a killed process left half-written in it.</summary>
    /// <exception cref="QuantBuildException">QB1004.</exception>
    public void Prepare(Func<Exception, QuantBuildException> notWritable)
    {
        try
        {
            Directory.CreateDirectory(folder);
            HashSet<string> known = [.. Parts.Select(FilePath), Path.Combine(folder, WidthChooser.FileName)];
            foreach (string file in Directory.GetFiles(folder).Where(file => !known.Contains(file))) File.Delete(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw notWritable(e);
        }
    }

    /// <summary>Writes a finished part.</summary>
    /// <exception cref="QuantBuildException">QB1003, QB1004.</exception>
    public void Write(JournalPart part, FinishedLayer finished)
    {
        Dictionary<string, string> checksums = new(StringComparer.Ordinal);
        List<TensorSource> sources = [];
        void Add(string name, ElementType type, long[] shape, byte[] bytes)
        {
            checksums.Add(ChecksumPrefix + name, Convert.ToHexStringLower(SHA256.HashData(bytes)));
            sources.Add(TensorSource.FromBytes(name, type, shape, bytes));
        }

        foreach ((LinearShape shape, QuantizedLinear? linear) in part.Linears.Zip(finished.Linears))
        {
            foreach (LinearPart tensor in linear?.Parts() ?? []) Add(shape.Name + tensor.Suffix, tensor.Type, tensor.Shape, tensor.Bytes);
        }

        foreach ((string name, float[] values) in finished.Vectors)
        {
            Add(name, ElementType.F32, [values.Length], MemoryMarshal.AsBytes<float>(values).ToArray());
        }

        SafetensorsWriter.Write(FilePath(part), checksums, sources);
    }

    /// <summary>Reads a finished part, or <see langword="null"/> where it is not there or damaged, and is to be made again.</summary>
    public FinishedLayer? TryRead(JournalPart part)
    {
        string path = FilePath(part);
        if (!File.Exists(path)) return null;
        try
        {
            using SafetensorsFile file = SafetensorsFile.Open(path, DiagnosticIds.ArtifactMalformed);
            return new FinishedLayer(
                [.. part.Linears.Select(shape => plan[shape] is { } spec ? Read(file, shape, spec) : null)],
                part.Vectors.Where(vector => file.Tensors.ContainsKey(vector.Name)).ToDictionary(
                    vector => vector.Name, vector => MemoryMarshal.Cast<byte, float>(Checked(file, vector.Name, vector.Width * (long)sizeof(float))).ToArray()));
        }
        catch (Exception e) when (e is QuantBuildException or IOException or KeyNotFoundException or InvalidDataException)
        {
            return null;
        }
    }

    /// <summary>Removes the journal: its artifact is made.</summary>
    public void Delete()
    {
        try
        {
            Directory.Delete(folder, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Only disk space is lost, and the artifact is what was asked for.
        }
    }

    private static QuantizedLinear Read(SafetensorsFile file, LinearShape shape, QuantizationSpec spec) =>
        LinearFormats.Read(LinearFormats.Of(spec, shape), shape, (suffix, length) => Checked(file, shape.Name + suffix, length));

    private static ReadOnlySpan<byte> Checked(SafetensorsFile file, string name, long length)
    {
        ReadOnlySpan<byte> bytes = file.Bytes(file.Tensors[name]);
        if (bytes.Length != length || file.Metadata[ChecksumPrefix + name] != Convert.ToHexStringLower(SHA256.HashData(bytes))) throw new InvalidDataException(name);
        return bytes;
    }
}

/// <summary>A part of an artifact that is made, and written to the journal, at once.</summary>
/// <param name="Name">Its file, without the ending.</param>
/// <param name="Linears">The linears that are in it.</param>
/// <param name="Vectors">The norms and biases that may be in it, with their widths.</param>
internal sealed record JournalPart(string Name, IReadOnlyList<LinearShape> Linears, IReadOnlyList<(string Name, int Width)> Vectors)
{
    /// <summary>The embedding; the head too, where they are tied.</summary>
    public static JournalPart Embedding(DecoderConfig config) => new("embedding", [config.Embedding], []);

    /// <summary>A decoder layer.</summary>
    public static JournalPart Layer(DecoderConfig config, int layer) => new(
        string.Create(CultureInfo.InvariantCulture, $"layer-{layer:000}"),
        config.Linears(layer),
        [.. config.LayerNorms(layer), .. config.Linears(layer).Where(linear => linear.HasBias).Select(linear => (linear.BiasName, linear.Outputs))]);

    /// <summary>The head.</summary>
    public static JournalPart Head(DecoderConfig config) => new("head", [config.Head], []);
}
