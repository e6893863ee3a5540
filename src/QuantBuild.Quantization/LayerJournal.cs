using System.Globalization;
using System.Runtime.InteropServices;
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
            int rowBytes = IntAffine.RowBytes(linear.Inputs, linear.Bits);
            byte[] packed = new byte[(long)linear.Outputs * rowBytes];
            Parallel.For(0, linear.Outputs, row => IntAffine.PackRow(
                linear.Values.AsSpan(row * linear.Inputs, linear.Inputs), packed.AsSpan(row * rowBytes, rowBytes), linear.Bits));
            Add(shape.Name + IntAffine.WeightSuffix, ElementType.U8, [linear.Outputs, rowBytes], packed);
            Add(shape.Name + IntAffine.ScalesSuffix, ElementType.F16, [linear.Outputs, linear.Groups], MemoryMarshal.AsBytes<Half>(linear.Scales).ToArray());
            if (!linear.Symmetric) Add(shape.Name + IntAffine.ZerosSuffix, ElementType.U8, [linear.Outputs, linear.Groups], linear.Zeros);
            if (linear.Order is not null) Add(shape.Name + IntAffine.OrderSuffix, ElementType.I32, [linear.Inputs], MemoryMarshal.AsBytes<int>(linear.Order).ToArray());
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

        bool ordered = file.Tensors.ContainsKey(shape.Name + IntAffine.OrderSuffix);
        int groupSize = spec.GroupSize == QuantizationSpec.PerChannel ? shape.Inputs : spec.GroupSize;
        int rowBytes = IntAffine.RowBytes(shape.Inputs, spec.Bits);
        QuantizedLinear linear = new(shape.Outputs, shape.Inputs, spec.Bits, groupSize, spec.Symmetric)
        {
            Order = ordered ? MemoryMarshal.Cast<byte, int>(Bytes(IntAffine.OrderSuffix, shape.Inputs * sizeof(int))).ToArray() : null,
        };
        ReadOnlySpan<byte> packed = Bytes(IntAffine.WeightSuffix, (long)shape.Outputs * rowBytes);
        for (int row = 0; row < shape.Outputs; row++)
        {
            IntAffine.UnpackRow(packed.Slice(row * rowBytes, rowBytes), linear.Values.AsSpan(row * shape.Inputs, shape.Inputs), spec.Bits);
        }

        MemoryMarshal.Cast<byte, Half>(Bytes(IntAffine.ScalesSuffix, linear.Scales.Length * 2L)).CopyTo(linear.Scales);
        if (spec.Symmetric) linear.Zeros.AsSpan().Fill((byte)(1 << (spec.Bits - 1)));
        else Bytes(IntAffine.ZerosSuffix, linear.Zeros.Length).CopyTo(linear.Zeros);
        return linear;
    }
}
