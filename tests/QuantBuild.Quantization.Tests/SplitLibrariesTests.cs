using System.Security.Cryptography;
using System.Text;

namespace QuantBuild.Quantization.Tests;

public sealed class SplitLibrariesTests : IDisposable
{
    private readonly TemporaryFolder packages = new();
    private readonly TemporaryFolder cache = new();

    [Fact]
    public void Files_of_all_folders_are_in_one_and_pieces_are_put_together_once()
    {
        string[] folders = Split("first, ", "second, ", "third");
        string folder = SplitLibraries.Gather(folders, cache.Path);

        Assert.Equal(["libc10.so", "libtorch_cuda.so"], Directory.GetFiles(folder).Select(Path.GetFileName).Order());
        Assert.Equal("first, second, third", File.ReadAllText(Path.Combine(folder, "libtorch_cuda.so")));
        Assert.Equal("c10", File.ReadAllText(Path.Combine(folder, "libc10.so")));
        // The packages are as they were.
        Assert.Equal("first, ", File.ReadAllText(Path.Combine(folders[1], "libtorch_cuda.so")));

        DateTime written = File.GetLastWriteTimeUtc(Path.Combine(folder, "libtorch_cuda.so"));
        Assert.Equal(folder, SplitLibraries.Gather(folders, cache.Path));
        Assert.Equal(written, File.GetLastWriteTimeUtc(Path.Combine(folder, "libtorch_cuda.so")));
        Assert.Equal([folder], Directory.GetDirectories(cache.Path));
    }

    [Fact]
    public void What_the_packages_put_together_themselves_is_taken_as_it_is_and_gives_the_same_folder()
    {
        string[] folders = Split("first, ", "second");
        string before = SplitLibraries.Gather(folders, cache.Path);
        File.WriteAllText(Path.Combine(folders[1], "libtorch_cuda.so"), "first, second");
        foreach (string fragment in Directory.GetFiles(packages.Path, "*.fragment*", SearchOption.AllDirectories)) File.Delete(fragment);
        Assert.Equal(before, SplitLibraries.Gather(folders, cache.Path));
        Directory.Delete(before, recursive: true);
        Assert.Equal("first, second", File.ReadAllText(Path.Combine(SplitLibraries.Gather(folders, cache.Path), "libtorch_cuda.so")));
    }

    [Fact]
    public void A_piece_that_is_missing_is_an_error_and_leaves_nothing()
    {
        string[] folders = Split("first, ", "second, ", "third");
        File.Delete(Directory.GetFiles(packages.Path, "*.fragment2", SearchOption.AllDirectories).Single());
        InvalidDataException error = Assert.Throws<InvalidDataException>(() => SplitLibraries.Gather(folders, cache.Path));
        Assert.Contains("libtorch_cuda.so", error.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetDirectories(cache.Path));
    }

    [Fact]
    public void What_a_run_left_that_was_killed_is_gone_after_the_next()
    {
        string[] folders = Split("first, ", "second");
        string folder = SplitLibraries.Gather(folders, cache.Path);
        Directory.Delete(folder, recursive: true);
        string left = Directory.CreateDirectory($"{folder}.{Guid.NewGuid():N}.tmp").FullName, other = Directory.CreateDirectory(Path.Combine(cache.Path, "libtorch-0123456789abcdef.1.tmp")).FullName;
        File.WriteAllText(Path.Combine(left, "libtorch_cuda.so"), "first, ");
        Assert.Equal(folder, SplitLibraries.Gather(folders, cache.Path));
        Assert.Equal(new[] { folder, other }.Order(), Directory.GetDirectories(cache.Path).Order());
        Directory.Delete(other);
    }

    [Fact]
    public void A_library_that_was_removed_from_its_package_folder_makes_the_folder_anew()
    {
        if (OperatingSystem.IsWindows()) return;
        string[] folders = Split("first, ", "second");
        string folder = SplitLibraries.Gather(folders, cache.Path);
        string library = Path.Combine(folders[0], "libc10.so"), elsewhere = Path.Combine(packages.Path, "elsewhere");
        Directory.CreateDirectory(elsewhere);
        File.Move(library, Path.Combine(elsewhere, "libc10.so"));
        Assert.Equal(folder, SplitLibraries.Gather([.. folders, elsewhere], cache.Path));
        Assert.Equal("c10", File.ReadAllText(Path.Combine(folder, "libc10.so")));
    }

    public void Dispose()
    {
        packages.Dispose();
        cache.Dispose();
    }

    private string[] Split(params string[] pieces)
    {
        Write("part1/runtimes", "libc10.so", "c10");
        Write("part2-primary/runtimes", "libtorch_cuda.so", pieces[0]);
        Write("part2-primary/runtimes", "libtorch_cuda.so.sha", Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Concat(pieces)))));
        for (int i = 1; i < pieces.Length; i++) Write($"part2-fragment{i}/fragments", $"libtorch_cuda.so.fragment{i}", pieces[i]);
        return [.. new[] { "part1/runtimes", "part2-primary/runtimes" }.Concat(Enumerable.Range(1, pieces.Length - 1).Select(i => $"part2-fragment{i}/fragments")).Select(name => Path.Combine(packages.Path, name))];
    }

    private void Write(string folder, string name, string text)
    {
        Directory.CreateDirectory(Path.Combine(packages.Path, folder));
        File.WriteAllText(Path.Combine(packages.Path, folder, name), text);
    }
}
