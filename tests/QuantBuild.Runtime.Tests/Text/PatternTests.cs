using System.Text.RegularExpressions;
using QuantBuild.Text.Patterns;

namespace QuantBuild.Runtime.Tests.Text;

public class PatternTests
{
    private static readonly string[] Letters =
        ["a", "b", "ab", "A", "S", "s", "'", "'s", "'LL", " ", "  ", "\n", "\r\n", "\t", "1", "23", "٣", "Ⅷ", ".", "-", "/", "_", "é", "ǅ", "ʰ", "ß", "中", "ゴ", "\u0301", "ा", "\u3000", "\u0085", "\u200D", "€", "^"];

    /// <summary>Patterns that .NET reads as the tokenizers' engines do.</summary>
    public static TheoryData<string> Patterns { get; } =
    [
        @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        @"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        @"[!""#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        @"[一-龥぀-ゟ゠-ヿ]+",
        "a|ab|abc", "ab|a", "(a|ab)(b|)a?", "a*?b", "a+?", "a{2,3}", "a{2,3}?", "a{2}", "(?:ab){1,2}a", "(a*)*b", "(a|b)*ab", "a??b", "[^a]+", @"[\d.]+", @"\D+\d", "(?i)AB+", "x*",
        @"(?<=a)b", @"(?<!a)b", @"(?<!\s)a+(?=\s)", @"\s+\z", @"\Aa", "a$", "^a", @"\s+$", "[a-c&&[^b]]+", "a++b", @"\s++", @"a?+b",
    ];

    [Theory]
    [MemberData(nameof(Patterns))]
    public void Matches_are_those_of_a_backtracking_engine(string pattern)
    {
        // What .NET writes in other words.
        Regex expected = new(pattern.Replace("[a-c&&[^b]]", "[a-c-[b]]").Replace("a++b", "(?>a+)b").Replace(@"\s++", @"(?>\s+)").Replace("a?+b", "(?>a?)b"), RegexOptions.CultureInvariant | RegexOptions.Multiline);
        Pattern actual = Pattern.Parse(pattern);
        Random random = new(1);
        for (int trial = 0; trial < 300; trial++)
        {
            string text = string.Concat(Enumerable.Range(0, random.Next(25)).Select(_ => Letters[random.Next(Letters.Length)]));
            List<Range> matches = [];
            actual.FindAll(text, matches);
            // An empty match right after another is none here, as in the tokenizers' engine.
            List<Range> all = [];
            foreach (Match match in expected.Matches(text))
            {
                if (match.Length > 0 || all.Count == 0 || all[^1].End.Value != match.Index) all.Add(match.Index..(match.Index + match.Length));
            }

            Assert.Equal((text, string.Join(' ', all)), (text, string.Join(' ', matches)));
        }
    }

    [Theory]
    [InlineData(@"\p{L}", "𝒜a", "0..2 2..3")]
    [InlineData(@"\p{Nd}+", "𝟘1", "0..3")]
    [InlineData(@"\p{Han}+", "漢字かな𠀀", "0..2 4..6")]
    [InlineData(".", "😀\n", "0..2")]
    [InlineData("(?<=😀)a", "😀a", "2..3")]
    [InlineData(@"\x{1F600}|\u0041\x42", "😀AB", "0..2 2..4")]
    [InlineData("(?i:'s)", "'ſ", "0..2")]
    public void Characters_are_whole_code_points(string pattern, string text, string expected)
    {
        List<Range> matches = [];
        Pattern.Parse(pattern).FindAll(text, matches);
        Assert.Equal(expected, string.Join(' ', matches));
    }

    [Theory]
    [InlineData("(")]
    [InlineData(")")]
    [InlineData("[")]
    [InlineData("[a")]
    [InlineData("*a")]
    [InlineData("a{2000}")]
    [InlineData("a{3,2}")]
    [InlineData("[b-a]")]
    [InlineData(@"\p{Klingon}")]
    [InlineData(@"\p")]
    [InlineData(@"\x{110000}")]
    [InlineData(@"\1")]
    [InlineData("(?=ab)")]
    [InlineData("(?<name>a)")]
    [InlineData("(?>ab)c")]
    [InlineData("(?:ab)++")]
    [InlineData("[a&&]")]
    [InlineData("((((a{100}){100}){100}){100}){100}")]
    public void What_is_not_supported_is_refused(string pattern) => Assert.Throws<FormatException>(() => Pattern.Parse(pattern));

    [Fact]
    public void Deep_nesting_is_refused_and_nothing_repeated_is_nothing()
    {
        Assert.Throws<FormatException>(() => Pattern.Parse(new string('(', 100_000)));
        Assert.Throws<FormatException>(() => Pattern.Parse(new string('[', 100_000)));
        List<Range> matches = [];
        Pattern.Parse("((((){1000}){1000}){1000}){1000}a").FindAll("a", matches);
        Assert.Equal([0..1], matches);
    }

    [Theory]
    [InlineData("(a*)*b")]
    [InlineData("(a|a)*b")]
    [InlineData("(a|aa)+b")]
    public void A_pattern_that_is_slow_by_intent_is_an_error_and_no_hang(string pattern)
    {
        // Backtracking takes 2^n steps here. Without it n are left for each of n beginnings, which is the error.
        Pattern hostile = Pattern.Parse(pattern);
        List<Range> matches = [];
        hostile.FindAll(new string('a', 2000) + "b", matches);
        Assert.Equal([0..2001], matches);
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => hostile.FindAll(new string('a', 1_000_000), []));
        Assert.Equal("QB2028", error.Id);
    }

    [Fact]
    public void A_pattern_with_more_states_than_are_kept_still_matches()
    {
        // Which of the last 14 letters was an a is 2^14 states.
        string pattern = "(?:a|b)*a(?:a|b){13}c";
        Random random = new(1);
        string text = string.Concat(Enumerable.Range(0, 6000).Select(_ => "ab"[random.Next(2)])) + "abbbbbbbbbbbbbc";
        List<Range> matches = [];
        Pattern.Parse(pattern).FindAll(text, matches);
        Assert.Equal([0..text.Length], matches);
    }

    [Theory]
    [InlineData("")]
    [InlineData("&&")]
    public void A_class_of_many_parts_takes_memory_in_proportion_to_them(string between)
    {
        string pattern = $"[{string.Join(between, Enumerable.Range(0, 20_000).Select(i => (char)(0x4E00 + i)))}]+";
        long before = GC.GetAllocatedBytesForCurrentThread();
        List<Range> matches = [];
        Pattern.Parse(pattern).FindAll("a\u4E00\u4E01b", matches);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 64 << 20);
        Assert.Equal(between.Length == 0 ? [1..3] : (Range[])[], matches);
    }
}
