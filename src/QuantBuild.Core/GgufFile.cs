using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace QuantBuild;

/// <summary>
/// The header of a GGUF file (versions 2 and 3): what it says of the model, and where its tensors lie. Read as if an enemy had written it: no length is believed
/// before it was held against the file.
/// </summary>
public sealed class GgufFile
{
    private const int MostEntries = 1 << 20;
    private const int LongestText = 1 << 24;
    private const int MostItems = 1 << 24;
    private const int MostDimensions = 4;
    private const int LargestAlignment = 1 << 20;
    private const int MostParts = 1000;

    private static readonly Regex PartName = new(@"^(?<name>.*)-(?<part>[0-9]{5})-of-(?<parts>[0-9]{5})\.gguf\z", RegexOptions.CultureInvariant | RegexOptions.IgnoreCase | RegexOptions.Singleline);

    // Bytes of a number of each type of metadata; 8 is a text, 9 a list.
    private static readonly int[] SizeOfType = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];
    private const int TextType = 8, ListType = 9;

    private readonly Dictionary<string, object> metadata = new(StringComparer.Ordinal);
    private readonly Dictionary<string, GgufTensor> tensors = new(StringComparer.Ordinal);

    private GgufFile(string path) => Path = path;

    /// <summary>The file's path, as it was opened: of one in several parts, that of the first.</summary>
    public string Path { get; }

    /// <summary>The paths of all of its parts.</summary>
    public IReadOnlyList<string> Paths => PartsOf(Path);

    /// <summary>
    /// What the file says of the model: numbers as <see cref="long"/> or <see cref="double"/>, truth values as <see cref="bool"/>, texts as <see cref="string"/>, and lists of them as
    /// arrays.
    /// </summary>
    public IReadOnlyDictionary<string, object> Metadata => metadata;

    /// <summary>The tensors, under the file's own names.</summary>
    public IReadOnlyDictionary<string, GgufTensor> Tensors => tensors;

    /// <summary>Whether a path is that of a GGUF file by its name.</summary>
    public static bool IsGguf(string path) => path.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase);

    /// <summary>The files of a model by the name of its first: <c>x-00001-of-00003.gguf</c> is the first of three; any other name is that of a whole.</summary>
    public static IReadOnlyList<string> PartsOf(string path)
    {
        Match match = PartName.Match(path);
        int parts = match.Success ? int.Parse(match.Groups["parts"].Value, CultureInfo.InvariantCulture) : 1;
        if (parts is < 2 or > MostParts || int.Parse(match.Groups["part"].Value, CultureInfo.InvariantCulture) != 1) return [path];
        string name = match.Groups["name"].Value, suffix = path.Substring(path.Length - "-of-00000.gguf".Length);
        return [path, .. Enumerable.Range(2, parts - 1).Select(part => FormattableString.Invariant($"{name}-{part:D5}{suffix}"))];
    }

    /// <summary>Reads the header of a file, and of its other parts where it is the first of several.</summary>
    /// <exception cref="QuantBuildException">QB2005: it is malformed or cannot be read, or a part is missing. QB2042: it is of another version or byte order, or not the first part.</exception>
    public static GgufFile Open(string path)
    {
        GgufFile file = OpenPart(path);
        if (file.Split("no") is > 0 and var number) throw file.Unsupported($"is part {number + 1} of a file that was split; Include names the first, …-00001-of-0000N.gguf", "Name that.");
        IReadOnlyList<string> paths = file.Paths;
        if (file.Split("count") is > 1 and var count && count != paths.Count)
        {
            throw file.Unsupported($"is one of {count} parts, and its name does not end with -00001-of-{count:D5}.gguf", "Give all parts the names that llama.cpp gave them.");
        }

        foreach (string other in paths.Skip(1))
        {
            GgufFile part = OpenPart(other);
            if (part.Split("no") != paths.TakeWhile(name => name != other).Count() || part.Split("count") != paths.Count)
            {
                throw new QuantBuildException(DiagnosticIds.WeightsMalformed, $"{other} is not the part of {path} that its name says. Copy or download all parts again.");
            }

            foreach (GgufTensor tensor in part.tensors.Values)
            {
                if (file.tensors.ContainsKey(tensor.Name)) throw new QuantBuildException(DiagnosticIds.WeightsMalformed, $"The tensor {tensor.Name} of {path} is in two of its parts. Copy or download all parts again.");
                file.tensors.Add(tensor.Name, tensor);
            }
        }

        return file;
    }

    private long? Split(string key) => metadata.TryGetValue("split." + key, out object? value) && value is long number ? number : null;

    private QuantBuildException Unsupported(string what, string advice) => new(DiagnosticIds.GgufUnsupported, $"{Path} {what}. {advice}");

    private static GgufFile OpenPart(string path)
    {
        try
        {
            using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, 1 << 16);
            GgufFile file = new(path);
            using BinaryReader reader = new(stream);
            file.Read(reader, stream);
            return file;
        }
        catch (Exception e) when (e is InvalidDataException or EndOfStreamException)
        {
            string what = e is EndOfStreamException ? "it ends inside of its header (it may be truncated)" : e.Message;
            throw new QuantBuildException(DiagnosticIds.WeightsMalformed, $"{path} is not a valid GGUF file: {what}. Copy or download the file again.", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new QuantBuildException(
                DiagnosticIds.WeightsMalformed, $"{path} cannot be read: {e.Message} Check that the file is there and that this user may read it.", e);
        }
    }

    private void Read(BinaryReader reader, Stream stream)
    {
        if (stream.Length < 24 || reader.ReadUInt32() != 0x46554747) throw new InvalidDataException("it does not begin with \"GGUF\"");
        uint version = reader.ReadUInt32();
        if (version is not (2 or 3))
        {
            string what = version == 1 ? "version 1" : version % 65536 == 0 ? "big-endian" : "version " + version.ToString(CultureInfo.InvariantCulture);
            throw new QuantBuildException(
                DiagnosticIds.GgufUnsupported, $"{Path} is a GGUF file that is {what}; read are versions 2 and 3, little-endian. Convert the model again with a current llama.cpp.");
        }

        long tensorCount = Count(reader.ReadUInt64(), 24, stream, "tensors"), entries = Count(reader.ReadUInt64(), 12, stream, "entries");
        for (long i = 0; i < entries; i++)
        {
            string key = Text(reader, stream);
            if (metadata.ContainsKey(key)) throw new InvalidDataException($"its metadata has {key} twice");
            metadata.Add(key, Value(reader, stream, reader.ReadUInt32(), key));
        }

        for (long i = 0; i < tensorCount; i++) Describe(reader, stream);
        long alignment = metadata.TryGetValue("general.alignment", out object? given) ? given is long a and > 0 and <= LargestAlignment && (a & (a - 1)) == 0
            ? a
            : throw new InvalidDataException($"its alignment is {given}, expected a power of two up to {LargestAlignment}") : 32;
        long start = (stream.Position + alignment - 1) / alignment * alignment;
        foreach (GgufTensor tensor in tensors.Values.ToArray()) tensors[tensor.Name] = Placed(tensor, start, alignment, stream.Length);
    }

    private void Describe(BinaryReader reader, Stream stream)
    {
        string name = Text(reader, stream);
        uint dimensions = reader.ReadUInt32();
        if (dimensions > MostDimensions) throw new InvalidDataException($"the tensor {name} has {dimensions} dimensions, expected at most {MostDimensions}");
        long[] shape = new long[dimensions];
        // The fastest comes first in the file.
        for (int d = (int)dimensions - 1; d >= 0; d--)
        {
            ulong size = reader.ReadUInt64();
            shape[d] = size <= long.MaxValue ? (long)size : throw new InvalidDataException($"the tensor {name} has a size of {size}");
        }

        GgufType type = (GgufType)reader.ReadUInt32();
        ulong offset = reader.ReadUInt64();
        if (offset > (ulong)stream.Length) throw new InvalidDataException($"the tensor {name} begins at {offset}, behind the end of the file");
        if (tensors.ContainsKey(name)) throw new InvalidDataException($"the tensor {name} is there twice");
        tensors.Add(name, new GgufTensor(name, type, shape, (long)offset, 0, Path));
    }

    private static GgufTensor Placed(GgufTensor tensor, long start, long alignment, long fileLength)
    {
        if (tensor.Offset % alignment != 0) throw new InvalidDataException($"the tensor {tensor.Name} begins at {tensor.Offset}, which is no multiple of {alignment}");
        // What is not read may be as it likes: whoever needs it says that its type is not supported.
        if (GgufTensor.BlockOf(tensor.Type) is not (int elements, int bytes)) return tensor with { Offset = start + tensor.Offset };
        long row = tensor.Shape.Count == 0 ? 1 : tensor.Shape[tensor.Shape.Count - 1];
        if (row % elements != 0) throw new InvalidDataException($"the rows of {tensor.Name} have {row} elements, expected a multiple of {elements}");
        long length;
        try
        {
            length = checked(tensor.Shape.Aggregate(1L, (product, size) => checked(product * size)) / elements * bytes);
        }
        catch (OverflowException)
        {
            throw new InvalidDataException($"the tensor {tensor.Name} has more elements than a file can hold");
        }

        if (start > fileLength || tensor.Offset > fileLength - start || length > fileLength - start - tensor.Offset)
        {
            throw new InvalidDataException($"the tensor {tensor.Name} of {length} bytes ends behind the end of the file (it may be truncated)");
        }

        return tensor with { Offset = start + tensor.Offset, ByteLength = length };
    }

    private static object Value(BinaryReader reader, Stream stream, uint type, string key)
    {
        if (type == ListType) return List(reader, stream, key);
        return type == TextType ? Text(reader, stream) : Number(reader, type, key);
    }

    // A list of lists would be a recursion, and no model has one.
    private static object List(BinaryReader reader, Stream stream, string key)
    {
        uint type = reader.ReadUInt32();
        if (type == ListType || type >= SizeOfType.Length) throw new InvalidDataException($"{key} is a list of values of the type {type}");
        long count = Count(reader.ReadUInt64(), type == TextType ? 8 : SizeOfType[type], stream, key, MostItems);
        // Grows with what is there: a count alone makes nothing.
        if (type == TextType)
        {
            List<string> texts = [];
            for (long i = 0; i < count; i++) texts.Add(Text(reader, stream));
            return texts.ToArray();
        }

        if (type is 6 or 12)
        {
            double[] values = new double[count];
            for (long i = 0; i < count; i++) values[i] = (double)Number(reader, type, key);
            return values;
        }

        long[] numbers = new long[count];
        for (long i = 0; i < count; i++) numbers[i] = Number(reader, type, key) switch { bool flag => flag ? 1 : 0, object number => (long)number };
        return numbers;
    }

    private static object Number(BinaryReader reader, uint type, string key) => type switch
    {
        0 => (long)reader.ReadByte(),
        1 => (long)reader.ReadSByte(),
        2 => (long)reader.ReadUInt16(),
        3 => (long)reader.ReadInt16(),
        4 => (long)reader.ReadUInt32(),
        5 => (long)reader.ReadInt32(),
        6 => (double)reader.ReadSingle(),
        7 => reader.ReadByte() != 0,
        10 => unchecked((long)reader.ReadUInt64()),
        11 => reader.ReadInt64(),
        12 => reader.ReadDouble(),
        _ => throw new InvalidDataException($"{key} has a value of the type {type}, which does not exist"),
    };

    private static string Text(BinaryReader reader, Stream stream)
    {
        long bytes = Count(reader.ReadUInt64(), 1, stream, "bytes of a text", LongestText);
        byte[] read = reader.ReadBytes((int)bytes);
        return read.Length == bytes ? Encoding.UTF8.GetString(read) : throw new EndOfStreamException();
    }

    private static long Count(ulong claimed, int least, Stream stream, string what, int most = MostEntries)
    {
        ulong left = (ulong)(stream.Length - stream.Position);
        if (claimed > (ulong)most || claimed > left / (ulong)least) throw new InvalidDataException($"it claims {claimed} {what}, and {left} bytes follow");
        return (long)claimed;
    }
}

/// <summary>A tensor of a GGUF file.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">How its elements are stored.</param>
/// <param name="Shape">Its sizes, the slowest first.</param>
/// <param name="Offset">Where its bytes begin, from the start of the file.</param>
/// <param name="ByteLength">How many bytes it has; 0 where the type is not read.</param>
/// <param name="Path">The file that it is in.</param>
public sealed record GgufTensor(string Name, GgufType Type, IReadOnlyList<long> Shape, long Offset, long ByteLength, string Path)
{
    // By number; what is missing was taken back.
    private static readonly string[] Names =
    [
        "F32", "F16", "Q4_0", "Q4_1", "", "", "Q5_0", "Q5_1", "Q8_0", "Q8_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL",
        "IQ3_S", "IQ2_S", "IQ4_XS", "I8", "I16", "I32", "I64", "F64", "IQ1_M", "BF16",
    ];

    /// <summary>What llama.cpp calls a type.</summary>
    internal static string NameOf(GgufType type) =>
        (uint)type < Names.Length && Names[(int)type].Length > 0 ? Names[(int)type] : "type " + ((uint)type).ToString(CultureInfo.InvariantCulture);

    /// <summary>Elements and bytes of a block of a type; <see langword="null"/> where the type is not read.</summary>
    public static (int Elements, int Bytes)? BlockOf(GgufType type) => type switch
    {
        GgufType.F32 => (1, 4),
        GgufType.F16 or GgufType.BF16 => (1, 2),
        GgufType.Q8 => (32, 34),
        _ => null,
    };
}

/// <summary>How the elements of a tensor of a GGUF file are stored: the types that are read. A file may have others.</summary>
public enum GgufType
{
    /// <summary>32-bit floating point.</summary>
    F32 = 0,

    /// <summary>16-bit floating point.</summary>
    F16 = 1,

    /// <summary>Q8_0: blocks of 32 signed bytes with a 16-bit scale before them.</summary>
    Q8 = 8,

    /// <summary>bfloat16.</summary>
    BF16 = 30,
}
