using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace QuantBuild.Quantization.Tests;

public sealed class NativeLibrariesTests
{
    private static string Original => NativeLibraries.SearchFolders
        .Select(folder => Path.Combine(folder, NativeLibraries.FileName("LibTorchSharp"))).First(File.Exists);

    [Fact]
    public void Torch_computes_once_its_libraries_are_loaded()
    {
        NativeLibraries.Load();
        using TorchSharp.torch.Tensor two = TorchSharp.torch.ones(2).sum();
        Assert.Equal(2f, two.item<float>());
    }

    [Fact]
    public void The_copy_differs_from_the_original_in_one_flag_and_the_original_is_not_touched()
    {
        if (!OperatingSystem.IsLinux()) return;
        byte[] before = File.ReadAllBytes(Original);
        using TemporaryFolder folder = new();
        string copy = NativeLibraries.WriteLoadableCopy(Original, folder.Path)!;
        byte[] after = File.ReadAllBytes(copy);

        Assert.Equal(before, File.ReadAllBytes(Original));
        Assert.Equal(before.Length, after.Length);
        int[] changed = [.. Enumerable.Range(0, before.Length).Where(i => before[i] != after[i])];
        int place = Assert.Single(changed);
        Assert.Equal(before[place] | 0x2, after[place]);
        // The flag belongs to the entry whose hash is that of the name: the ELF hash function, from the specification.
        uint hash = "GLIBCXX_3.4.32".Aggregate(0u, (h, c) =>
        {
            h = (h << 4) + c;
            uint high = h & 0xf0000000;
            return (h ^ (high >> 24)) & ~high;
        });
        Assert.Equal(hash, BitConverter.ToUInt32(before, place - 4));
        Assert.Equal([copy], Directory.GetFiles(folder.Path));
        // It needs what libtorch brings, and nothing more.
        NativeLibraries.Load();
        Assert.True(NativeLibrary.TryLoad(copy, out nint _));
    }

    [Fact]
    public void A_damaged_copy_is_written_again_and_a_whole_one_is_used()
    {
        if (!OperatingSystem.IsLinux()) return;
        using TemporaryFolder folder = new();
        string copy = NativeLibraries.WriteLoadableCopy(Original, folder.Path)!;
        byte[] whole = SHA256.HashData(File.ReadAllBytes(copy));
        File.WriteAllText(copy, "damaged");
        Assert.Equal(copy, NativeLibraries.WriteLoadableCopy(Original, folder.Path));
        Assert.Equal(whole, SHA256.HashData(File.ReadAllBytes(copy)));
        DateTime written = File.GetLastWriteTimeUtc(copy);
        Assert.Equal(copy, NativeLibraries.WriteLoadableCopy(Original, folder.Path));
        Assert.Equal(written, File.GetLastWriteTimeUtc(copy));
    }

    [Fact]
    public void A_file_that_is_no_ELF_library_is_refused()
    {
        Assert.Throws<BadImageFormatException>(() => ElfSymbolVersions.MarkWeak(new byte[4096], "GLIBCXX_3.4.32"));
        Assert.Throws<BadImageFormatException>(() => ElfSymbolVersions.MarkWeak("MZ"u8.ToArray(), "GLIBCXX_3.4.32"));
        if (!OperatingSystem.IsLinux()) return;
        byte[] truncated = File.ReadAllBytes(Original)[..100_000];
        Assert.Throws<BadImageFormatException>(() => ElfSymbolVersions.MarkWeak(truncated, "GLIBCXX_3.4.32"));
    }

    [Fact]
    public void A_version_that_is_not_asked_for_changes_nothing()
    {
        if (!OperatingSystem.IsLinux()) return;
        byte[] library = File.ReadAllBytes(Original);
        byte[] before = [.. library];
        Assert.False(ElfSymbolVersions.MarkWeak(library, "GLIBCXX_9.9"));
        Assert.Equal(before, library);
    }

    [Theory]
    [InlineData("gpu")]
    [InlineData("cuda:")]
    [InlineData("cuda:-1")]
    [InlineData("")]
    public void A_device_that_does_not_exist_is_QB1006(string device) =>
        Assert.Equal(DiagnosticIds.DeviceInvalid, Assert.Throws<QuantBuildException>(() => TorchDevice.Choose(device)).Id);

    [Fact]
    public void Auto_says_which_device_it_took() => Assert.StartsWith("auto took ", TorchDevice.Choose("auto").Description, StringComparison.Ordinal);

    [Fact]
    public void Cuda_without_CUDA_is_QB1001_and_says_what_was_looked_for()
    {
        if (TorchDevice.Choose("auto").Gpus.Count > 0) return;
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => TorchDevice.Choose("cuda:0"));
        Assert.Equal(DiagnosticIds.CudaUnavailable, error.Id);
        Assert.Contains("torch_cuda", error.Message, StringComparison.Ordinal);
    }
}
