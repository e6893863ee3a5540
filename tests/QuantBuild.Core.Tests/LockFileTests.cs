namespace QuantBuild.Core.Tests;

public sealed class LockFileTests : IDisposable
{
    private static readonly LockedModel Model = new(new string('a', 64), [new("Method", "Gptq"), new("model/a \"b\".json", new string('1', 64)), new("Override", "")]);
    private readonly TemporaryFolder folder = new();

    private string Path => System.IO.Path.Combine(folder.Path, LockFile.DefaultName);

    public void Dispose() => folder.Dispose();

    [Fact]
    public void What_is_written_is_read_back_in_one_order_whatever_the_order_of_locking()
    {
        LockFile one = new(), other = new();
        one.Set("B", Model);
        one.Set("A", Model with { Fingerprint = new string('b', 64) });
        other.Set("A", Model with { Fingerprint = new string('b', 64) });
        other.Set("B", Model);
        Assert.Equal(one.ToJson(), other.ToJson());

        File.WriteAllText(Path, one.ToJson());
        LockFile read = LockFile.Read(Path);
        Assert.Equal(["A", "B"], read.Models.Keys);
        Assert.Equal(Model.Inputs, read.Models["B"].Inputs);
        Assert.Equal(one.ToJson(), read.ToJson());
        using System.Text.Json.JsonDocument _ = System.Text.Json.JsonDocument.Parse(one.ToJson());
    }

    [Fact]
    public void A_file_that_does_not_exist_locks_nothing() => Assert.Empty(LockFile.Read(Path).Models);

    [Theory]
    [InlineData("")]
    [InlineData("<<<<<<< HEAD")]
    [InlineData("{}")]
    [InlineData("""{ "version": 2, "models": {} }""")]
    [InlineData("""{ "version": 1 }""")]
    [InlineData("""{ "version": 1, "models": { "A": {} } }""")]
    [InlineData("""{ "version": 1, "models": { "A": { "fingerprint": "x" } } }""")]
    [InlineData("""{ "version": 1, "models": ["A"] }""")]
    public void What_is_no_lock_file_is_QB0011(string text)
    {
        File.WriteAllText(Path, text);
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => LockFile.Read(Path));
        Assert.Equal("QB0011", error.Id);
        Assert.Contains(Path, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_difference_names_the_input_and_both_values()
    {
        LockedModel declared = new(new string('c', 64), [new("Method", "Rtn"), new("model/a \"b\".json", new string('2', 64)), new("Override", ""), new("calibration", new string('3', 64))]);
        Assert.Equal(
            ["Method is Rtn, locked is Gptq", "model/a \"b\".json is 222222222222…, locked is 111111111111…", "calibration is 333333333333…, locked is absent"],
            Model.DifferencesTo(declared));
        Assert.Empty(Model.DifferencesTo(Model));
    }
}
