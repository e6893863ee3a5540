using System.IO.Compression;
using System.Text;
using TorchSharp;

namespace QuantBuild.Quantization.Tests;

public sealed class PyTorchFileTests : IDisposable
{
    // What torch.save wrote: see make_torch_checkpoint.py.
    private static readonly string Saved = Path.Combine(AppContext.BaseDirectory, "Sources", "torch_checkpoint.bin");

    private readonly TemporaryFolder folder = new();

    public PyTorchFileTests() => NativeLibraries.Load();

    [Fact]
    public void What_torch_saved_is_read_transposed_sliced_shared_and_in_half_precision()
    {
        using ModelWeights weights = ModelWeights.Open(Model("pytorch_model.bin"));
        foreach ((string name, IReadOnlyList<int> shape) in DecoderConfig.Parse(ModelWeightsTests.Config, "config.json").Tensors())
        {
            using torch.Tensor tensor = weights.Load(name, torch.CPU);
            int count = shape.Aggregate(1, (a, b) => a * b);
            Assert.Equal(Enumerable.Range(0, count).Select(i => i - 5.5f), tensor.data<float>().ToArray());
        }
    }

    [Fact]
    public void Shards_are_found_through_the_index_which_may_not_leave_the_folder()
    {
        Model("pytorch_model-00001-of-00001.bin");
        string Index(string file) =>
            $$"""{"weight_map": { {{string.Join(",", DecoderConfig.Parse(ModelWeightsTests.Config, "config.json").Tensors().Select(t => $"\"{t.Key}\": \"{file}\""))}} } }""";
        File.WriteAllText(folder.File("pytorch_model.bin.index.json"), Index("pytorch_model-00001-of-00001.bin"));
        using (ModelWeights weights = ModelWeights.Open(ModelFolder.Open(folder.Path))) Assert.True(weights.Bytes > 0);
        foreach (string outside in new[] { "../pytorch_model.bin", "/etc/passwd", "..", "sub/pytorch_model.bin" })
        {
            File.WriteAllText(folder.File("pytorch_model.bin.index.json"), Index(outside));
            Assert.Equal(DiagnosticIds.WeightsMalformed, Assert.Throws<QuantBuildException>(() => ModelWeights.Open(ModelFolder.Open(folder.Path))).Id);
        }
    }

    [Theory]
    [InlineData("cos\nsystem\n(X\x02\0\0\0idtR.", "os.system")]
    [InlineData("cbuiltins\neval\n.", "builtins.eval")]
    [InlineData("ctorch._utils\n_rebuild_tensor_v2\n.", null)]
    [InlineData("(ios\nsystem\n.", "0x69 ('i')")]
    [InlineData("ccollections\nOrderedDict\n)\u0081.", "0x81")]
    [InlineData("ccollections\nOrderedDict\n(o.", "0x6f ('o')")]
    [InlineData("\u0080\u0002)\u0082\u0001.", "0x82")]
    public void A_pickle_that_does_anything_else_is_QB2040_and_says_what(string program, string? what)
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => Open(Encoding.Latin1.GetBytes(program)));
        Assert.Equal(what is null ? DiagnosticIds.WeightsMalformed : DiagnosticIds.PickleForbidden, error.Id);
        if (what is not null) Assert.Contains(what, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    // Elements, offset, sizes, strides of a tensor in a storage that has 4 float32.
    [InlineData(4, 0, new[] { 2, 2 }, new[] { 2, 1 }, true)]
    [InlineData(4, 2, new[] { 2 }, new[] { 1 }, true)]
    [InlineData(4, 3, new[] { 2 }, new[] { 1 }, false)]
    [InlineData(4, 0, new[] { 5 }, new[] { 1 }, false)]
    [InlineData(4, 0, new[] { 2, 2 }, new[] { 3, 1 }, false)]
    [InlineData(5, 0, new[] { 2 }, new[] { 1 }, false)]
    [InlineData(4, 0, new[] { int.MaxValue, int.MaxValue, int.MaxValue }, new[] { 0, 0, 0 }, false)]
    [InlineData(4, 0, new[] { 2, int.MaxValue }, new[] { int.MaxValue, 1 }, false)]
    [InlineData(4, -1, new[] { 2 }, new[] { 1 }, false)]
    [InlineData(4, 0, new[] { -2 }, new[] { 1 }, false)]
    [InlineData(4, 0, new[] { 2 }, new[] { -1 }, false)]
    [InlineData(4, 0, new[] { 2, 2 }, new[] { 1 }, false)]
    [InlineData(4, 0, new[] { 0 }, new[] { int.MaxValue }, true)]
    public void A_tensor_has_to_lie_within_its_storage(int elements, int offset, int[] sizes, int[] strides, bool fits)
    {
        byte[] program = Tensor(elements, offset, sizes, strides);
        if (fits) Assert.Single(Open(program));
        else Assert.Equal(DiagnosticIds.WeightsMalformed, Assert.Throws<QuantBuildException>(() => Open(program)).Id);
    }

    [Fact]
    public void The_older_form_and_compressed_entries_are_refused()
    {
        string path = folder.File("old.bin");
        File.WriteAllBytes(path, [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, (byte)'.']);
        Assert.Equal(DiagnosticIds.CheckpointFormOld, Assert.Throws<QuantBuildException>(() => PyTorchFile.Open(path)).Id);
        QuantBuildException compressed = Assert.Throws<QuantBuildException>(() => Open(Tensor(4, 0, [4], [1]), CompressionLevel.Optimal));
        Assert.Contains("compressed", compressed.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Sizes_that_are_remembered_and_used_again_and_again_make_no_copies()
    {
        // A tuple of a hundred thousand sizes, which is then the size of tensor after tensor.
        MemoryStream program = new();
        program.Write("("u8);
        for (int i = 0; i < 100_000; i++) program.Write([(byte)'K', 1]);
        program.Write("tq\0"u8);
        for (int i = 0; i < 10_000; i++) program.Write("ctorch._utils\n_rebuild_tensor_v2\n(NK\0h\0h\0tR"u8);
        program.Write("."u8);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Throws<QuantBuildException>(() => Open(program.ToArray()));
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 64 << 20);
    }

    public void Dispose() => folder.Dispose();

    /// <summary>A dictionary with one tensor.</summary>
    private static byte[] Tensor(int elements, int offset, int[] sizes, int[] strides)
    {
        MemoryStream program = new();
        void Text(string text)
        {
            program.Write([(byte)'X', .. BitConverter.GetBytes(text.Length), .. Encoding.ASCII.GetBytes(text)]);
        }

        void Number(int value) => program.Write([(byte)'J', .. BitConverter.GetBytes(value)]);
        program.Write([0x80, 2, (byte)'}']);
        Text("x");
        program.Write("ctorch._utils\n_rebuild_tensor_v2\n(("u8);
        Text("storage");
        program.Write("ctorch\nFloatStorage\n"u8);
        Text("0");
        Text("cpu");
        Number(elements);
        program.Write("tQ"u8);
        Number(offset);
        program.Write("("u8);
        foreach (int size in sizes) Number(size);
        program.Write("t("u8);
        foreach (int stride in strides) Number(stride);
        program.Write([(byte)'t', 0x89, .. "ccollections\nOrderedDict\n)RtRs."u8]);
        return program.ToArray();
    }

    /// <summary>The tensors of a checkpoint with a program and a storage of 4 float32.</summary>
    private IReadOnlyCollection<CheckpointTensor> Open(byte[] program, CompressionLevel level = CompressionLevel.NoCompression)
    {
        string path = folder.File("pytorch_model.bin");
        File.Delete(path);
        using (ZipArchive archive = ZipFile.Open(path, ZipArchiveMode.Create))
        {
            foreach ((string name, byte[] bytes) in new[] { ("archive/data.pkl", program), ("archive/data/0", new byte[16]) })
            {
                using Stream stream = archive.CreateEntry(name, level).Open();
                stream.Write(bytes);
            }
        }

        using PyTorchFile file = PyTorchFile.Open(path);
        return file.Tensors;
    }

    private ModelFolder Model(string weights)
    {
        File.WriteAllText(folder.File("config.json"), ModelWeightsTests.Config);
        File.WriteAllText(folder.File("tokenizer.json"), "{}");
        File.Copy(Saved, folder.File(weights));
        return ModelFolder.Open(folder.Path);
    }
}
