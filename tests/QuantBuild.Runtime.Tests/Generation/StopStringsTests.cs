using System.Text;
using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using QuantBuild.Generation;

namespace QuantBuild.Runtime.Tests.Generation;

public class StopStringsTests
{
    /// <summary>A text in pieces, and what ends it.</summary>
    public sealed record CutText(string[] Pieces, string[] Stops)
    {
        public override string ToString() => $"[{string.Join('|', Pieces)}] [{string.Join('|', Stops)}]";
    }

    public static Arbitrary<CutText> CutTexts()
    {
        // Of two letters, so that stop strings occur, overlap, and contain one another.
        Gen<string> Letters(int least, int most) =>
            from length in Gen.Choose(least, most) from letters in Gen.Elements('a', 'b', 'b', 'b').ArrayOf(length) select new string(letters);
        return Gen.Zip(Letters(0, 5).ArrayOf(), Letters(1, 7).ArrayOf(), (pieces, stops) => new CutText(pieces, stops)).ToArbitrary();
    }

    [Property(Arbitrary = [typeof(StopStringsTests)], MaxTest = 5000)]
    public void Text_ends_before_the_stop_string_that_is_complete_first_wherever_the_pieces_are_cut(CutText cut)
    {
        string text = string.Concat(cut.Pieces);
        string expected = text;
        for (int end = 1; end <= text.Length && expected == text; end++)
        {
            string? stop = cut.Stops.Where(s => text[..end].EndsWith(s, StringComparison.Ordinal)).MaxBy(s => s.Length);
            if (stop is not null) expected = text[..(end - stop.Length)];
        }

        StopStrings filter = new(cut.Stops);
        StringBuilder result = new();
        foreach (string piece in cut.Pieces) result.Append(filter.Append(piece));
        Assert.Equal(expected, result.Append(filter.Finish()).ToString());
        Assert.Equal(expected != text, filter.Found);
    }

    [Fact]
    public void Text_is_held_back_only_while_it_may_begin_a_stop_string()
    {
        StopStrings filter = new(["<end>", "\n\n"]);
        Assert.Equal("Hello", filter.Append("Hello"));
        Assert.Equal(" ", filter.Append(" <e"));
        Assert.Equal("", filter.Append("n"));
        Assert.Equal("<enough", filter.Append("ough"));
        Assert.Equal("!", filter.Append("!\n"));
        Assert.Equal("\nx", filter.Append("x"));
        Assert.Equal("y", filter.Append("y\n\nz"));
        Assert.True(filter.Found);
        Assert.Equal("", filter.Append("more"));
        Assert.Equal("", filter.Finish());
    }

    [Fact]
    public void What_is_held_back_at_the_end_is_given_out()
    {
        StopStrings filter = new(["<end>"]);
        Assert.Equal("a", filter.Append("a<en"));
        Assert.Equal("<en", filter.Finish());
    }

    [Fact]
    public void The_earliest_stop_string_of_a_piece_counts()
    {
        StopStrings filter = new(["two", "one"]);
        Assert.Equal("zero ", filter.Append("zero one two"));
        Assert.True(filter.Found);
    }
}
