using System.Buffers.Binary;
using System.Diagnostics;
using System.Text;

namespace QuantBuild.Runtime.Tests.Storage;

public sealed class SafetensorsTests : IDisposable
{
    private static readonly Dictionary<string, string> NoMetadata = [];

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void What_was_written_is_read()
    {
        string path = folder.File("a.safetensors");
        byte[] bytes = [.. Enumerable.Range(0, 96).Select(i => (byte)i)];
        SafetensorsWriter.Write(path, new Dictionary<string, string> { ["format"] = "pt", ["quoted"] = "{\"a\": \"é\\n\"}" },
        [
            TensorSource.FromBytes("matrix", ElementType.F32, [2, 3, 4], bytes),
            TensorSource.FromBytes("scalar", ElementType.BF16, [], [1, 2]),
            TensorSource.FromBytes("empty", ElementType.I64, [0, 5], []),
            TensorSource.FromBytes("bytes", ElementType.U8, [3], [7, 8, 9]),
        ]);

        using SafetensorsFile file = SafetensorsFile.Open(path, "QB2005");
        Assert.Equal("pt", file.Metadata["format"]);
        Assert.Equal("{\"a\": \"é\\n\"}", file.Metadata["quoted"]);
        Assert.Equal(["bytes", "empty", "matrix", "scalar"], file.Tensors.Keys.Order());
        Assert.Equal(bytes, file.Bytes(file.Tensors["matrix"]).ToArray());
        Assert.Equal([2L, 3, 4], file.Tensors["matrix"].Shape);
        Assert.Equal(ElementType.F32, file.Tensors["matrix"].Type);
        Assert.Equal([1, 2], file.Bytes(file.Tensors["scalar"]).ToArray());
        Assert.Equal([7, 8, 9], file.Bytes(file.Tensors["bytes"]).ToArray());
        Assert.Equal(0, file.Tensors["empty"].ByteLength);
        Assert.Equal(new FileInfo(path).Length, file.Length);
    }

    [Fact]
    public void Every_element_type_survives()
    {
        string path = folder.File("types");
        ElementType[] types = Enum.GetValues<ElementType>();
        SafetensorsWriter.Write(path, NoMetadata, [.. types.Select(t => TensorSource.FromBytes(t.ToString(), t, [3], new byte[3 * t.Size()]))]);
        using SafetensorsFile file = SafetensorsFile.Open(path, "QB2005");
        Assert.Equal(types.Length, file.Tensors.Count);
        Assert.All(types, t => Assert.Equal(t, file.Tensors[t.ToString()].Type));
    }

    [Fact]
    public void Tensors_are_aligned_and_the_bytes_depend_on_the_tensors_alone()
    {
        TensorSource[] tensors =
        [
            TensorSource.FromBytes("odd", ElementType.U8, [3], [1, 2, 3]),
            TensorSource.FromBytes("wide", ElementType.F32, [16], new byte[64]),
            TensorSource.FromBytes("half", ElementType.F16, [5], new byte[10]),
            TensorSource.FromBytes("single", ElementType.F32, [3], new byte[12]),
            TensorSource.FromBytes("wide2", ElementType.U8, [128], new byte[128]),
        ];
        SafetensorsWriter.Write(folder.File("a"), NoMetadata, tensors);
        SafetensorsWriter.Write(folder.File("b"), NoMetadata, tensors);
        Assert.Equal(File.ReadAllBytes(folder.File("a")), File.ReadAllBytes(folder.File("b")));

        using SafetensorsFile file = SafetensorsFile.Open(folder.File("a"), "QB2005");
        Assert.Equal(["wide", "wide2", "single", "half", "odd"], file.Tensors.Values.OrderBy(t => t.Offset).Select(t => t.Name));
        Assert.All(file.Tensors.Values, t => Assert.Equal(0, t.Offset % t.Type.Size()));
        Assert.Equal(0, file.Tensors["wide"].Offset % 64);
        Assert.Equal(0, file.Tensors["wide2"].Offset % 64);
    }

    [Fact]
    public void A_tensor_is_copied_from_another_file_under_a_new_name()
    {
        SafetensorsWriter.Write(folder.File("a"), NoMetadata, [TensorSource.FromBytes("x", ElementType.U8, [4], [1, 2, 3, 4])]);
        using (SafetensorsFile source = SafetensorsFile.Open(folder.File("a"), "QB2005"))
        {
            SafetensorsWriter.Write(folder.File("b"), NoMetadata, [TensorSource.FromFile(source, source.Tensors["x"], "y")]);
        }

        using SafetensorsFile copy = SafetensorsFile.Open(folder.File("b"), "QB2005");
        Assert.Equal([1, 2, 3, 4], copy.Bytes(copy.Tensors["y"]).ToArray());
    }

    [Fact]
    public void A_part_of_a_tensor_is_read_past_the_map_and_a_file_that_was_cut_short_says_so()
    {
        byte[] values = [.. Enumerable.Range(0, 200).Select(i => (byte)i)];
        SafetensorsWriter.Write(folder.File("a"), NoMetadata, [TensorSource.FromBytes("w", ElementType.U8, [64], new byte[64]), TensorSource.FromBytes("x", ElementType.U8, [200], values)]);
        using SafetensorsFile file = SafetensorsFile.Open(folder.File("a"), "QB2005");
        byte[] part = new byte[50];
        file.Read(file.Tensors["x"], 100, part);
        Assert.Equal(values[100..150], part);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Read(file.Tensors["x"], 151, part));

        // Windows lets nobody cut a file that is mapped.
        if (OperatingSystem.IsWindows()) return;
        using (FileStream stream = new(folder.File("a"), FileMode.Open, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete)) stream.SetLength(stream.Length - 60);
        Assert.Throws<EndOfStreamException>(() => file.Read(file.Tensors["x"], 100, part));
    }

    public static TheoryData<string, string> MalformedHeaders { get; } = new()
    {
        // Data of 16 bytes follows each.
        { "not json", "JSON" },
        { "[]", "JSON object" },
        { "{", "JSON" },
        { """{"a":{"dtype":"U8","shape":[16],"data_offsets":[0,16]}} x""", "JSON" },
        { """{"a":5}""", "not an object" },
        { """{"a":{"dtype":"U8","shape":[17],"data_offsets":[0,17]}}""", "ends at byte 17" },
        { """{"a":{"dtype":"U8","shape":[16],"data_offsets":[16,0]}}""", "begins at byte 16" },
        { """{"a":{"dtype":"U8","shape":[16],"data_offsets":[-16,0]}}""", "whole number" },
        { """{"a":{"dtype":"U8","shape":[16],"data_offsets":[0,99999999999999999999]}}""", "whole number" },
        { """{"a":{"dtype":"U8","shape":[16],"data_offsets":[0]}}""", "1 data_offsets" },
        { """{"a":{"dtype":"U8","shape":[10],"data_offsets":[0,10]},"b":{"dtype":"U8","shape":[10],"data_offsets":[6,16]}}""", "overlaps" },
        { """{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[12,16]}}""", "belong to no tensor" },
        { """{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}""", "belong to no tensor" },
        { """{"a":{"dtype":"U8","shape":[4],"data_offsets":[12,16]}}""", "belong to no tensor" },
        { """{"a":{"dtype":"F32","shape":[16],"data_offsets":[0,16]}}""", "takes 64 bytes" },
        { """{"a":{"dtype":"U8","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,16]}}""", "more elements" },
        { """{"a":{"dtype":"U8","shape":[-16],"data_offsets":[0,16]}}""", "whole number" },
        { """{"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,16]}}""", "whole number" },
        { """{"a":{"dtype":"U8","shape":"16","data_offsets":[0,16]}}""", "not a list" },
        { """{"a":{"dtype":"F17","shape":[16],"data_offsets":[0,16]}}""", "F17" },
        { """{"a":{"dtype":8,"shape":[16],"data_offsets":[0,16]}}""", "JSON" },
        { """{"a":{"shape":[16],"data_offsets":[0,16]}}""", "lacks dtype" },
        { """{"a":{"dtype":"U8","data_offsets":[0,16]}}""", "lacks shape" },
        { """{"a":{"dtype":"U8","shape":[16]}}""", "lacks data_offsets" },
        { """{"a":{"dtype":"U8","dtype":"I8","shape":[16],"data_offsets":[0,16]}}""", "once each" },
        { """{"a":{"dtype":"U8","shape":[16],"data_offsets":[0,16],"x":{}}}""", "once each" },
        { """{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"a":{"dtype":"U8","shape":[8],"data_offsets":[8,16]}}""", "twice" },
        { """{"__metadata__":[],"a":{"dtype":"U8","shape":[16],"data_offsets":[0,16]}}""", "__metadata__" },
        { """{"__metadata__":{"k":1},"a":{"dtype":"U8","shape":[16],"data_offsets":[0,16]}}""", "JSON" },
        { """{"__metadata__":{"k":"1","k":"2"},"a":{"dtype":"U8","shape":[16],"data_offsets":[0,16]}}""", "twice" },
        { "{\"a\":" + new string('[', 200) + "}", "not an object" },
        { "{\"a\":{\"shape\":" + new string('[', 200) + "}}", "" },
    };

    [Theory]
    [MemberData(nameof(MalformedHeaders))]
    public void A_malformed_header_is_an_error_that_says_what_is_wrong(string header, string said)
    {
        byte[] json = Encoding.UTF8.GetBytes(header);
        AssertMalformed([.. Prefix((ulong)json.Length), .. json, .. new byte[16]], said);
    }

    [Theory]
    [InlineData(ulong.MaxValue)]
    [InlineData(1UL << 63)]
    [InlineData(100_000_001UL)]
    [InlineData(17UL)]
    public void A_header_of_absurd_length_is_an_error(ulong length) => AssertMalformed([.. Prefix(length), .. new byte[16]], "header claims");

    [Fact]
    public void A_file_shorter_than_its_prefix_is_an_error()
    {
        AssertMalformed([], "has 0 bytes");
        AssertMalformed([1, 2, 3, 4, 5, 6, 7], "has 7 bytes");
        AssertMalformed(new byte[8], "JSON");
    }

    [Fact]
    public void A_name_that_is_not_utf8_is_an_error()
    {
        byte[] json = [.. "{\""u8, 0xFF, 0xFE, .. "\":{}}"u8];
        AssertMalformed([.. Prefix((ulong)json.Length), .. json], "JSON");
    }

    [Fact]
    public void Every_truncation_of_a_file_is_an_error()
    {
        SafetensorsWriter.Write(folder.File("a"), NoMetadata, [TensorSource.FromBytes("x", ElementType.F32, [4], new byte[16])]);
        byte[] whole = File.ReadAllBytes(folder.File("a"));
        for (int length = 0; length < whole.Length; length++) AssertMalformed(whole[..length], "");
    }

    [Fact]
    public void Random_damage_is_an_error_or_a_valid_file_but_never_a_crash()
    {
        SafetensorsWriter.Write(folder.File("a"), new Dictionary<string, string> { ["k"] = "v" },
            [TensorSource.FromBytes("x", ElementType.F32, [4], new byte[16]), TensorSource.FromBytes("y", ElementType.U8, [3, 5], new byte[15])]);
        byte[] whole = File.ReadAllBytes(folder.File("a"));
        Random random = new(5);
        for (int trial = 0; trial < 2000; trial++)
        {
            byte[] damaged = [.. whole];
            for (int i = random.Next(1, 4); i > 0; i--) damaged[random.Next(damaged.Length)] = (byte)random.Next(256);
            File.WriteAllBytes(folder.File("b"), damaged);
            try
            {
                using SafetensorsFile file = SafetensorsFile.Open(folder.File("b"), "QB2005");
                foreach (TensorEntry entry in file.Tensors.Values) Assert.Equal(entry.ByteLength, file.Bytes(entry).ToArray().Length);
            }
            catch (QuantBuildException e)
            {
                Assert.Equal("QB2005", e.Id);
            }
        }
    }

    [Fact]
    public void A_missing_file_is_an_error_with_the_id_that_was_asked_for()
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => SafetensorsFile.Open(folder.File("none"), "QB4002"));
        Assert.Equal("QB4002", error.Id);
        Assert.Contains(folder.File("none"), error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Ten_thousand_tensors_are_read_quickly()
    {
        TensorSource[] tensors = [.. Enumerable.Range(0, 10_000).Select(i => TensorSource.FromBytes($"model.layers.{i}.weight", ElementType.F32, [4, 4], new byte[64]))];
        SafetensorsWriter.Write(folder.File("many"), NoMetadata, tensors);
        long start = Stopwatch.GetTimestamp();
        using SafetensorsFile file = SafetensorsFile.Open(folder.File("many"), "QB2005");
        Assert.Equal(10_000, file.Tensors.Count);
        // It takes some 15 ms; a quadratic check of overlaps would take a hundred times that.
        Assert.InRange(Stopwatch.GetElapsedTime(start), TimeSpan.Zero, TimeSpan.FromSeconds(1));
    }

    [Fact]
    public void A_failed_write_leaves_the_old_file_and_no_other()
    {
        string path = folder.File("a");
        SafetensorsWriter.Write(path, NoMetadata, [TensorSource.FromBytes("x", ElementType.U8, [1], [42])]);
        byte[] before = File.ReadAllBytes(path);
        TensorSource failing = new("x", ElementType.U8, [2], 2, _ => throw new InvalidDataException("broken"));
        Assert.Throws<InvalidDataException>(() => SafetensorsWriter.Write(path, NoMetadata, [failing]));
        Assert.Equal(before, File.ReadAllBytes(path));
        Assert.Single(Directory.GetFiles(folder.Path));
    }

    [Fact]
    public void A_file_larger_than_the_disk_is_refused_before_it_is_written()
    {
        // Preallocation asks the operating system for all of it at once.
        const long exabyte = 1L << 60;
        TensorSource huge = new("x", ElementType.U8, [exabyte], exabyte, _ => Assert.Fail("Nothing should be written."));
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => SafetensorsWriter.Write(folder.File("a"), NoMetadata, [huge]));
        Assert.Equal("QB1003", error.Id);
        Assert.Contains(folder.File("a"), error.Message, StringComparison.Ordinal);
        Assert.Contains("free", error.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(folder.Path));
    }

    [Fact]
    public void A_folder_that_cannot_be_made_is_an_error()
    {
        File.WriteAllText(folder.File("file"), "");
        QuantBuildException error = Assert.Throws<QuantBuildException>(
            () => SafetensorsWriter.Write(Path.Combine(folder.File("file"), "a"), NoMetadata, [TensorSource.FromBytes("x", ElementType.U8, [1], [1])]));
        Assert.Equal("QB1004", error.Id);
    }

    [Fact]
    public void Two_tensors_of_one_name_are_refused()
    {
        TensorSource x = TensorSource.FromBytes("x", ElementType.U8, [1], [1]);
        Assert.Throws<ArgumentException>(() => SafetensorsWriter.Write(folder.File("a"), NoMetadata, [x, x]));
        Assert.Throws<ArgumentException>(() => TensorSource.FromBytes("x", ElementType.F32, [2], new byte[4]));
    }

    [Fact]
    public void A_disposed_file_gives_no_pointers()
    {
        SafetensorsWriter.Write(folder.File("a"), NoMetadata, [TensorSource.FromBytes("x", ElementType.U8, [1], [1])]);
        SafetensorsFile file = SafetensorsFile.Open(folder.File("a"), "QB2005");
        file.Dispose();
        file.Dispose();
        Assert.Throws<ObjectDisposedException>(() => file.Bytes(file.Tensors["x"]).Length);
    }

    private static byte[] Prefix(ulong length)
    {
        byte[] prefix = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(prefix, length);
        return prefix;
    }

    private void AssertMalformed(byte[] file, string said)
    {
        string path = folder.File("malformed.safetensors");
        File.WriteAllBytes(path, file);
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => SafetensorsFile.Open(path, "QB2005"));
        Assert.Equal("QB2005", error.Id);
        Assert.Contains(path, error.Message, StringComparison.Ordinal);
        Assert.Contains(said, error.Message, StringComparison.Ordinal);
        Assert.Contains("again", error.Message, StringComparison.Ordinal);
    }
}
