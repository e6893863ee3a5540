namespace QuantBuild.Core.Tests;

public sealed class MemoryLimitTests
{
    [Theory]
    [InlineData("8GB", 8_000_000_000)]
    [InlineData(" 1.5 gib ", 1_610_612_736)]
    [InlineData("700MB", 700_000_000)]
    [InlineData("64 MiB", 67_108_864)]
    [InlineData("2tb", 2_000_000_000_000)]
    [InlineData("0.5KB", 500)]
    [InlineData("123456789", 123_456_789)]
    [InlineData("16B", 16)]
    public void An_amount_is_a_number_with_a_unit_or_of_bytes(string text, long bytes) => Assert.Equal(bytes, MemoryLimit.Read(text));

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData(" ")]
    public void Nothing_is_no_limit(string? text) => Assert.Null(MemoryLimit.Read(text));

    [Theory]
    [InlineData("0")]
    [InlineData("0.1B")]
    [InlineData("-1GB")]
    [InlineData("8 gallons")]
    [InlineData("GB")]
    [InlineData("1,5GB")]
    [InlineData("1e9")]
    [InlineData("99999999TB")]
    public void Anything_else_is_QB0006(string text) => ErrorAssert.Throws(DiagnosticIds.MetadataInvalid, () => MemoryLimit.Read(text));

    [Theory]
    [InlineData(0, "0 MB")]
    [InlineData(1, "1 MB")]
    [InlineData(1_150_000_000, "1,150 MB")]
    [InlineData(22_340_000_000, "22.3 GB")]
    public void An_amount_is_shown_in_few_digits(long bytes, string text) => Assert.Equal(text, MemoryLimit.Text(bytes));
}
