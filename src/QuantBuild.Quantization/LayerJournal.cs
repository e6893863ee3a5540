using System.Globalization;
using System.Security.Cryptography;

namespace QuantBuild.Quantization;

/// <summary>
/// The finished layers of an artifact that is being made, one file each: a build that was ended goes on with the layer that it was at, and
/// gives the same bytes. The files hold what the artifact will hold, so that it is put together from them without a copy in memory.
/// </summary>
/// <param name="folder">The journal's folder, of one fingerprint alone.</param>
/// <param name="config">The decoder.</param>
/// <param name="spec">How it is quantized.</param>
internal sealed class LayerJournal(string folder, DecoderConfig config, QuantizationSpec spec)
{
    private const string ChecksumPrefix = "sha256:";

    /// <summary>The file of a layer.</summary>
    public string FilePath(int layer) => Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"layer-{layer:000}.safetensors"));

    /// <summary>Makes the folder, and removes what a killed process left half-written in it.</summary>
    /// <exception cref="QuantBuildException">QB1004.</exception>
    public void Prepare(Func<Exception, QuantBuildException> notWritable)
    {
        try
        {
            Directory.CreateDirectory(folder);
            HashSet<string> known = [.. Enumerable.Range(0, config.Layers).Select(FilePath)];
            foreach (string file in Directory.GetFiles(folder).Where(file => !known.Contains(file))) File.Delete(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw notWritable(e);
        }
    }

    /// <summary>Writes a finished layer.</summary>
    /// <param name="layer">The layer, from 0.</param>
    /// <param name="linears">Its linears in the order of <see cref="DecoderConfig.Linears"/>.</param>
    /// <exception cref="QuantBuildException">QB1003, QB1004.</exception>
    public void Write(int layer, IReadOnlyList<QuantizedLinear> linears)
    {
        Dictionary<string, string> checksums = new(StringComparer.Ordinal);
        List<TensorSource> sources = [];
        void Add(string name, ElementType type, long[] shape, byte[] bytes)
        {
            checksums.Add(ChecksumPrefix + name, Convert.ToHexStringLower(SHA256.HashData(bytes)));
            sources.Add(TensorSource.FromBytes(name, type, shape, bytes));
        }

        foreach ((LinearShape shape, QuantizedLinear linear) in config.Linears(layer).Zip(linears))
        {
            foreach (LinearPart part in linear.Parts()) Add(shape.Name + part.Suffix, part.Type, part.Shape, part.Bytes);
        }

        SafetensorsWriter.Write(FilePath(layer), checksums, sources);
    }

    /// <summary>Reads a finished layer, or <see langword="null"/> where it is not there or damaged, and is to be made again.</summary>
    public QuantizedLinear[]? TryRead(int layer)
    {
        string path = FilePath(layer);
        if (!File.Exists(path)) return null;
        try
        {
            using SafetensorsFile file = SafetensorsFile.Open(path, DiagnosticIds.ArtifactMalformed);
            return [.. config.Linears(layer).Select(shape => Read(file, shape))];
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

    private QuantizedLinear Read(SafetensorsFile file, LinearShape shape)
    {
        ReadOnlySpan<byte> Bytes(string suffix, long length)
        {
            TensorEntry entry = file.Tensors[shape.Name + suffix];
            ReadOnlySpan<byte> bytes = file.Bytes(entry);
            if (bytes.Length != length || file.Metadata[ChecksumPrefix + entry.Name] != Convert.ToHexStringLower(SHA256.HashData(bytes)))
            {
                throw new InvalidDataException(entry.Name);
            }

            return bytes;
        }

        return LinearFormats.Read(LinearFormats.Of(spec, shape), shape, Bytes);
    }
}
