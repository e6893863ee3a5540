namespace QuantBuild.Core.Tests;

public sealed class CacheEvictionTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly ModelCache cache;

    public CacheEvictionTests() => cache = new ModelCache(Path.Combine(folder.Path, "cache"));

    public void Dispose() => folder.Dispose();

    [Fact]
    public void What_was_used_longest_ago_goes_first_and_no_more_than_must()
    {
        Directory.CreateDirectory(Path.Combine(cache.Root, "locks"));
        CacheEntry old = CachedArtifact.Make(cache, 'a', 10_000, TimeSpan.FromDays(9));
        CacheEntry usedAgain = CachedArtifact.Make(cache, 'b', 10_000, TimeSpan.FromDays(10));
        CacheEntry recent = CachedArtifact.Make(cache, 'c', 10_000, TimeSpan.FromDays(2));
        usedAgain.Touch();

        Assert.Empty(new CacheEviction(cache).Trim(31_000));
        Assert.Equal([old.Fingerprint], new CacheEviction(cache).Trim(21_000).Select(removed => removed.Key));
        Assert.False(old.Exists);
        Assert.True(usedAgain.Exists && recent.Exists);
    }

    [Fact]
    public void What_is_being_made_or_was_used_just_now_stays_whatever_the_limit()
    {
        CacheEntry locked = CachedArtifact.Make(cache, 'a', 10_000, TimeSpan.FromDays(9));
        CacheEntry used = CachedArtifact.Make(cache, 'b', 10_000, TimeSpan.FromMinutes(5));
        CacheEntry free = CachedArtifact.Make(cache, 'c', 10_000, TimeSpan.FromDays(1));
        using (cache.Lock(locked.Fingerprint, () => { }, CancellationToken.None))
        {
            Assert.Equal([free.Fingerprint], new CacheEviction(cache).Trim(1).Select(removed => removed.Key));
        }

        Assert.True(locked.Exists && used.Exists);
    }

    [Fact]
    public void Layers_of_a_build_that_was_ended_stay_for_a_week_and_go_then_unless_it_goes_on()
    {
        string Journal(char digit, int days)
        {
            string path = cache.WorkFolder(new string(digit, 64));
            Directory.CreateDirectory(path);
            File.WriteAllText(Path.Combine(path, "layer"), "");
            Directory.SetLastWriteTimeUtc(path, DateTime.UtcNow.AddDays(-days));
            return path;
        }

        string fresh = Journal('a', 3), abandoned = Journal('b', 8), goesOn = Journal('c', 8);
        using (cache.Lock(new string('c', 64), () => { }, CancellationToken.None)) new CacheEviction(cache).Trim(long.MaxValue);
        Assert.True(Directory.Exists(fresh) && Directory.Exists(goesOn));
        Assert.False(Directory.Exists(abandoned));
    }

    [Fact]
    public void Cleaning_empties_the_cache_but_for_what_is_being_made()
    {
        CacheEntry locked = CachedArtifact.Make(cache, 'a', 10_000), free = CachedArtifact.Make(cache, 'b', 20_000);
        Directory.CreateDirectory(cache.HashFolder);
        File.WriteAllText(Path.Combine(cache.HashFolder, "x"), "y");
        long freed;
        using (cache.Lock(locked.Fingerprint, () => { }, CancellationToken.None)) freed = new CacheEviction(cache).Clean();
        Assert.InRange(freed, 20_000, 21_000);
        Assert.True(locked.Exists);
        Assert.False(free.Exists);
        Assert.Empty(Directory.GetFiles(cache.HashFolder));
    }

    [Fact]
    public void An_empty_and_an_absent_cache_have_nothing_to_remove()
    {
        Assert.Empty(new CacheEviction(cache).Trim(1));
        Assert.Equal(0, new CacheEviction(cache).Clean());
        Assert.Equal(0, cache.Bytes());
    }

    [Theory]
    [InlineData("20GB", 20_000_000_000)]
    [InlineData("", 50_000_000_000)]
    public void The_environment_sets_the_limit(string value, long bytes)
    {
        Environment.SetEnvironmentVariable(CacheEviction.LimitVariable, value);
        try
        {
            Assert.Equal(bytes, CacheEviction.Limit());
        }
        finally
        {
            Environment.SetEnvironmentVariable(CacheEviction.LimitVariable, null);
        }
    }

    [Fact]
    public void A_limit_that_is_no_size_is_an_error_that_names_the_variable()
    {
        Environment.SetEnvironmentVariable(CacheEviction.LimitVariable, "much");
        try
        {
            Assert.Contains(CacheEviction.LimitVariable, Assert.Throws<QuantBuildException>(() => CacheEviction.Limit()).Message, StringComparison.Ordinal);
        }
        finally
        {
            Environment.SetEnvironmentVariable(CacheEviction.LimitVariable, null);
        }
    }
}
