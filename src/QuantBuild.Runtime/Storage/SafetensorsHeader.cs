using System.Buffers.Binary;
using System.Globalization;
using System.Text.Json;

namespace QuantBuild;

/// <summary>
/// The header of a safetensors file, read as if an enemy had written it: what is returned lies within the file, covers its data exactly
/// once, and every tensor's bytes agree with its shape.
/// </summary>
internal sealed class SafetensorsHeader
{
    /// <summary>Bytes before the JSON: its length.</summary>
    public const int PrefixBytes = 8;

    /// <summary>The longest header that the reference implementation reads.</summary>
    public const long LongestHeader = 100_000_000;

    private const string MetadataName = "__metadata__";

    private readonly string path;
    private readonly string diagnosticId;
    private readonly Dictionary<string, string> metadata = [];
    private readonly Dictionary<string, TensorEntry> tensors = [];

    private SafetensorsHeader(string path, string diagnosticId)
    {
        this.path = path;
        this.diagnosticId = diagnosticId;
    }

    public IReadOnlyDictionary<string, string> Metadata => metadata;

    public IReadOnlyDictionary<string, TensorEntry> Tensors => tensors;

    public static QuantBuildException TooShort(string path, string diagnosticId, long length) => new(
        diagnosticId,
        $"{path} is not a safetensors file: it has {length} bytes, expected at least {PrefixBytes} for the header's length. {Advice}");

    /// <summary>Reads and verifies the header.</summary>
    /// <param name="path">What to call the file in errors.</param>
    /// <param name="diagnosticId">The id of the errors.</param>
    /// <param name="file">The file's bytes.</param>
    /// <param name="fileLength">How many there are; at least <see cref="PrefixBytes"/>.</param>
    public static unsafe SafetensorsHeader Read(string path, string diagnosticId, byte* file, long fileLength)
    {
        SafetensorsHeader header = new(path, diagnosticId);
        ulong length = BinaryPrimitives.ReadUInt64LittleEndian(new ReadOnlySpan<byte>(file, PrefixBytes));
        if (length > LongestHeader)
        {
            throw header.Malformed($"its header claims {length} bytes, expected at most {LongestHeader}");
        }

        if ((long)length > fileLength - PrefixBytes)
        {
            throw header.Malformed($"its header claims {length} bytes, but only {fileLength - PrefixBytes} follow");
        }

        long dataStart = PrefixBytes + (long)length;
        try
        {
            header.ReadJson(new ReadOnlySpan<byte>(file + PrefixBytes, (int)length), dataStart, fileLength);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
        {
            // InvalidOperationException: a value of another kind than asked for, or bytes that are not UTF-8.
            throw header.Malformed($"its header is not the JSON of a safetensors header: {e.Message}", e);
        }

        header.VerifyLayout(dataStart, fileLength);
        return header;
    }

    private const string Advice = "Copy or download the file again.";

    private QuantBuildException Malformed(string what, Exception? cause = null) =>
        new(diagnosticId, $"{path} is not a valid safetensors file: {what}. {Advice}", cause);

    private void ReadJson(ReadOnlySpan<byte> json, long dataStart, long fileLength)
    {
        Utf8JsonReader reader = new(json, new JsonReaderOptions { MaxDepth = 8 });
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject) throw Malformed("its header is not a JSON object");
        HashSet<string> seen = [];
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = reader.GetString()!;
            if (!seen.Add(name)) throw Malformed($"its header names \"{name}\" twice");
            reader.Read();
            if (name == MetadataName) ReadMetadata(ref reader);
            else tensors.Add(name, ReadTensor(ref reader, name, dataStart, fileLength));
        }

        // Blanks may follow, and nothing else: this throws.
        reader.Read();
    }

    private void ReadMetadata(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject) throw Malformed($"its {MetadataName} is not an object of texts");
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string key = reader.GetString()!;
            reader.Read();
            if (!metadata.TryAdd(key, reader.GetString() ?? "")) throw Malformed($"its {MetadataName} names \"{key}\" twice");
        }
    }

    private TensorEntry ReadTensor(ref Utf8JsonReader reader, string name, long dataStart, long fileLength)
    {
        if (reader.TokenType != JsonTokenType.StartObject) throw Malformed($"the entry of {name} is not an object");
        ElementType? type = null;
        List<long>? shape = null;
        List<long>? offsets = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("dtype"u8) && type is null)
            {
                reader.Read();
                string text = reader.GetString() ?? "null";
                type = ElementTypes.Parse(text)
                    ?? throw Malformed($"{name} has the element type {text}, expected one of {string.Join(", ", ElementTypes.AllNames)}");
            }
            else if (reader.ValueTextEquals("shape"u8) && shape is null)
            {
                shape = ReadNumbers(ref reader, name, "shape");
            }
            else if (reader.ValueTextEquals("data_offsets"u8) && offsets is null)
            {
                offsets = ReadNumbers(ref reader, name, "data_offsets");
            }
            else
            {
                throw Malformed($"the entry of {name} has \"{reader.GetString()}\", expected dtype, shape and data_offsets once each");
            }
        }

        if (type is not { } elementType || shape is null || offsets is null)
        {
            throw Malformed($"the entry of {name} lacks {(type is null ? "dtype" : shape is null ? "shape" : "data_offsets")}");
        }

        if (offsets.Count != 2) throw Malformed($"{name} has {offsets.Count} data_offsets, expected a begin and an end");
        (long begin, long end) = (offsets[0], offsets[1]);
        long dataLength = fileLength - dataStart;
        if (begin > end) throw Malformed($"{name} begins at byte {begin} and ends before it, at {end}");
        if (end > dataLength)
        {
            throw Malformed($"{name} ends at byte {end} of the data, but the file has only {dataLength} (it may be truncated)");
        }

        long expected = ByteLength(name, elementType, shape);
        if (expected != end - begin)
        {
            throw Malformed(
                $"{name} is {elementType.HeaderName()} [{string.Join(", ", shape)}], which takes {expected} bytes, but its offsets give it {end - begin}");
        }

        return new TensorEntry(name, elementType, shape, dataStart + begin, expected);
    }

    private List<long> ReadNumbers(ref Utf8JsonReader reader, string name, string member)
    {
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartArray) throw Malformed($"the {member} of {name} is not a list");
        List<long> numbers = [];
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out long number) || number < 0)
            {
                throw Malformed($"the {member} of {name} holds a value that is not a whole number from 0 to {long.MaxValue}");
            }

            numbers.Add(number);
        }

        return numbers;
    }

    private long ByteLength(string name, ElementType type, List<long> shape)
    {
        try
        {
            long length = type.Size();
            foreach (long size in shape) length = checked(length * size);
            return length;
        }
        catch (OverflowException)
        {
            throw Malformed($"the shape [{string.Join(", ", shape)}] of {name} has more elements than a file can hold");
        }
    }

    // The format asks for data without holes: what no tensor names could hide anything, and what two name is a mistake.
    private void VerifyLayout(long dataStart, long fileLength)
    {
        TensorEntry[] ordered = [.. tensors.Values];
        Array.Sort(ordered, (a, b) => a.Offset != b.Offset ? a.Offset.CompareTo(b.Offset) : a.ByteLength.CompareTo(b.ByteLength));
        long position = dataStart;
        string previous = "the header";
        foreach (TensorEntry entry in ordered)
        {
            if (entry.Offset < position) throw Malformed($"{entry.Name} overlaps {previous} by {position - entry.Offset} bytes");
            if (entry.Offset > position)
            {
                throw Malformed(string.Create(
                    CultureInfo.InvariantCulture, $"{entry.Offset - position} bytes between {previous} and {entry.Name} belong to no tensor"));
            }

            position = entry.Offset + entry.ByteLength;
            previous = entry.Name;
        }

        if (position != fileLength) throw Malformed($"{fileLength - position} bytes after {previous} belong to no tensor");
    }
}
