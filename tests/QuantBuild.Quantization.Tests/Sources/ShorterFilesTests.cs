namespace QuantBuild.Quantization.Tests;

/// <summary>A file that is copied again, or cut, while a build reads it.</summary>
public sealed class ShorterFilesTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    [Theory]
    [InlineData("model.safetensors")]
    [InlineData("model.gguf")]
    [InlineData("pytorch_model.bin")]
    public void A_weight_file_that_becomes_shorter_while_it_is_read_is_QB2005_for_each_tensor(string name)
    {
        string path = folder.File(name);
        using ICheckpointFile file = Open(path);
        Assert.All(file.Tensors, tensor => tensor.Read(0, new byte[tensor.ByteLength]));
        using (FileStream cut = new(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite)) cut.SetLength(64);
        Assert.All(file.Tensors, tensor =>
        {
            QuantBuildException error = Assert.Throws<QuantBuildException>(() => tensor.Read(0, new byte[tensor.ByteLength]));
            Assert.Equal(DiagnosticIds.WeightsMalformed, error.Id);
            Assert.StartsWith($"{path} became shorter while it was read: it ends inside of ", error.Message, StringComparison.Ordinal);
        });
    }

    public void Dispose() => folder.Dispose();

    private static ICheckpointFile Open(string path)
    {
        switch (Path.GetExtension(path))
        {
            case ".gguf":
                // Read as it is, and converted.
                new GgufWriter().Add("general.architecture", "llama").Add("half", GgufType.F16, [64], new byte[128]).Add("blocks", GgufType.Q8, [64], new byte[68]).Write(path);
                return GgufCheckpoint.Open(path);
            case ".bin":
                // Tensors that are stored as they are, and transposed.
                File.Copy(Path.Combine(AppContext.BaseDirectory, "Sources", "torch_checkpoint.bin"), path);
                return PyTorchFile.Open(path);
            default:
                File.Copy(Path.Combine(SampleFiles.Model, "model.safetensors"), path);
                return SafetensorsCheckpoint.Open(path);
        }
    }
}
