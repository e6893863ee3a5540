using System.Text;
using QuantBuild.Generation;

namespace QuantBuild.Runtime.Tests.Generation;

public class StopStringsTests
{
    [Fact]
    public void Text_ends_at_the_first_stop_string_wherever_the_pieces_are_cut()
    {
        // Of one length, so that the stop string that begins first also ends first.
        string[] stops = ["aab", "bcb", "cac"];
        Random random = new(2);
        for (int trial = 0; trial < 2000; trial++)
        {
            string text = string.Concat(Enumerable.Range(0, random.Next(0, 25)).Select(_ => (char)('a' + random.Next(3))));
            string expected = text[..stops.Select(s => text.IndexOf(s, StringComparison.Ordinal)).Where(i => i >= 0).DefaultIfEmpty(text.Length).Min()];
            StopStrings filter = new(stops);
            StringBuilder result = new();
            for (int i = 0, length; i < text.Length && !filter.Found; i += length)
            {
                length = random.Next(1, Math.Min(5, text.Length - i + 1));
                result.Append(filter.Append(text.Substring(i, length)));
            }

            Assert.Equal(expected, result.Append(filter.Finish()).ToString());
        }
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
