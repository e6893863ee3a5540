using System.Globalization;

namespace QuantBuild.Core.Tests;

public sealed class FileHashTests : IDisposable
{
    // SHA-256 of "abc", from FIPS 180-2.
    private const string Abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    private readonly TemporaryFolder folder = new();
    private readonly string file;
    private readonly FileHash hash;

    public FileHashTests()
    {
        file = folder.File("data", "abc");
        Age(file);
        hash = new FileHash(Path.Combine(folder.Path, "hashes"));
    }

    public void Dispose() => folder.Dispose();

    [Fact]
    public void A_hash_is_sha256_in_lowercase_hexadecimal()
    {
        Assert.Equal(Abc, hash.Compute(file));
        Assert.Equal(Abc, FileHash.OfText("abc"));
        Assert.Equal("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", FileHash.OfText(""));
    }

    [Fact]
    public void A_hash_is_remembered_across_instances()
    {
        Assert.Null(hash.Recall(file));
        hash.Compute(file);
        FileHash later = new(Path.Combine(folder.Path, "hashes"));
        Assert.Equal(Abc, later.Recall(file));

        // The file is not read again: this one has the remembered time and length, and other content.
        DateTime time = File.GetLastWriteTimeUtc(file);
        File.WriteAllText(file, "xyz");
        File.SetLastWriteTimeUtc(file, time);
        Assert.Equal(Abc, later.Compute(file));
    }

    [Fact]
    public void A_link_is_as_old_as_the_file_that_it_leads_to()
    {
        string link = folder.Path + "/link";
        try
        {
            File.CreateSymbolicLink(link, file);
        }
        catch (IOException) when (OperatingSystem.IsWindows())
        {
            // A right that not every user has there.
            return;
        }

        Assert.Equal(Abc, hash.Compute(link));
        Assert.Equal(Abc, hash.Recall(link));
        File.WriteAllText(file, "other");
        Age(file, minutes: 3);
        Assert.Equal(FileHash.OfText("other"), hash.Compute(link));
    }

    [Fact]
    public void A_file_of_another_time_or_length_is_hashed_again()
    {
        hash.Compute(file);
        File.WriteAllText(file, "xyz");
        Age(file, minutes: 3);
        Assert.Null(hash.Recall(file));
        Assert.Equal(FileHash.OfText("xyz"), hash.Compute(file));

        DateTime time = File.GetLastWriteTimeUtc(file);
        File.WriteAllText(file, "longer");
        File.SetLastWriteTimeUtc(file, time);
        Assert.Equal(FileHash.OfText("longer"), hash.Compute(file));
        Assert.Equal(FileHash.OfText("longer"), hash.Recall(file));
    }

    [Fact]
    public void A_file_written_just_now_is_not_remembered_yet()
    {
        string fresh = folder.File("fresh", "abc");
        Assert.Equal(Abc, hash.Compute(fresh));
        Assert.Null(hash.Recall(fresh));
    }

    [Fact]
    public void A_folder_that_cannot_be_written_only_costs_time()
    {
        FileHash forgetful = new(Path.Combine(folder.File("not-a-folder", ""), "hashes"));
        Assert.Equal(Abc, forgetful.Compute(file));
        Assert.Null(forgetful.Recall(file));
        Assert.Equal(Abc, forgetful.Compute(file));
    }

    [Fact]
    public void A_damaged_memory_is_not_trusted()
    {
        hash.Compute(file);
        string memory = Assert.Single(Directory.GetFiles(Path.Combine(folder.Path, "hashes")));
        File.WriteAllText(memory, "damaged");
        Assert.Null(hash.Recall(file));
        Assert.Equal(Abc, hash.Compute(file));
        File.WriteAllLines(memory, [File.ReadAllLines(memory)[0], "abc"]);
        Assert.Null(hash.Recall(file));
    }

    [Fact]
    public void A_missing_file_has_no_remembered_hash_and_computing_it_fails()
    {
        string missing = Path.Combine(folder.Path, "missing");
        Assert.Null(hash.Recall(missing));
        Assert.Throws<FileNotFoundException>(() => hash.Compute(missing));
    }

    [Fact]
    public void Many_threads_may_hash_one_file()
    {
        string[] results = new string[32];
        Parallel.For(0, results.Length, i => results[i] = new FileHash(Path.Combine(folder.Path, "hashes")).Compute(file));
        Assert.All(results, result => Assert.Equal(Abc, result));
        Assert.Single(Directory.GetFiles(Path.Combine(folder.Path, "hashes")));
        Assert.Equal(Abc, hash.Recall(file));
    }

    private static void Age(string path, int minutes = 5)
    {
        File.SetLastWriteTimeUtc(path, DateTime.UtcNow.AddMinutes(-minutes));
        Assert.True(File.GetLastWriteTimeUtc(path) < DateTime.UtcNow, path.ToString(CultureInfo.InvariantCulture));
    }
}
