using QuantBuild.Constraints;

namespace QuantBuild.Runtime.Tests.Constraints;

public class GrammarParserTests
{
    [Theory]
    [InlineData("root ::= \"a\" \"b\"", "ab", "a b")]
    [InlineData("root ::= \"a\" | \"b\" |\n  \"c\"", "c", "d")]
    [InlineData("root ::= x y # a comment\n# another\n\nx ::= \"1\"\r\ny ::= \"2\"", "12", "1")]
    [InlineData("root ::=\n  \"a\"\nx ::= \"b\"", "a", "b")]
    [InlineData("root ::= (\n \"a\" # inside\n | \"b\"\n)\n", "b", "")]
    [InlineData("root ::= \"ab\"*", "abab", "aba")]
    [InlineData("root ::= [a-c]+", "abc", "")]
    [InlineData("root ::= [^a-c\\n]?", "d", "a")]
    [InlineData("root ::= [^a]", "\U0001F600", "aa")]
    [InlineData("root ::= [a-]{2}", "-a", "b-")]
    [InlineData("root ::= [+\\-*/]", "-", ",")]
    [InlineData("root ::= .", "\n", "ab")]
    [InlineData("root ::= \"a\"{2}", "aa", "aaa")]
    [InlineData("root ::= \"a\"{2,}", "aaaaa", "a")]
    [InlineData("root ::= \"a\"{ 1 , 3 }", "aaa", "aaaa")]
    [InlineData("root ::= \"a\"{0}", "", "a")]
    [InlineData("root ::= \"a\"?{2}", "a", "aaa")]
    [InlineData("root ::= \"\\x41\\u00e9\\U0001F600\\t\\\"\\\\\"", "Aé\U0001F600\t\"\\", "A")]
    [InlineData("root ::= [\\]\\[\\\\\\^]", "]", "a")]
    [InlineData("root ::= | \"x\"", "", "y")]
    [InlineData("root ::= \"\"", "", "a")]
    [InlineData("root ::= my-rule_2\nmy-rule_2 ::= \"z\"", "z", "y")]
    public void A_grammar_matches_what_its_notation_says(string grammar, string matching, string other)
    {
        AutomatonRun run = new(grammar);
        Assert.True(run.Matches(matching));
        Assert.False(run.Matches(other));
    }

    [Theory]
    [InlineData("root ::= \"a", "line 1, column 10", "closing")]
    [InlineData("root ::= [a", "line 1, column 10", "closing")]
    [InlineData("root ::= \"a\"\nx = \"b\"", "line 2, column 3", "::=")]
    [InlineData("root ::= (\"a\"", "line 1, column 14", ")")]
    [InlineData("root ::= \"a\")", "line 1, column 13", "end of the rule")]
    [InlineData("root ::= * \"a\"", "line 1, column 10", "nothing before")]
    [InlineData("root ::= \"a\"{3,2}", "line 1, column 13", "never")]
    [InlineData("root ::= \"a\"{x}", "line 1, column 14", "number")]
    [InlineData("root ::= \"a\"{1000000}", "line 1, column 14", "too many")]
    [InlineData("root ::= \"a\"{1", "line 1, column 15", "}")]
    [InlineData("root ::= \"\\q\"", "line 1, column 11", "escape")]
    [InlineData("root ::= \"\\u12\"", "line 1, column 11", "4 hexadecimal")]
    [InlineData("root ::= \"\\ud800\"", "line 1, column 11", "no character")]
    [InlineData("root ::= [z-a]", "line 1, column 11", "empty")]
    [InlineData("root ::= a\n\n  b ::= \"\"", "line 1, column 10", "no rule a")]
    [InlineData("x ::= \"a\"", "line 1, column 1", "root")]
    [InlineData("", "line 1, column 1", "root")]
    [InlineData("root ::= \"a\"\nroot ::= \"b\"", "line 2, column 1", "twice")]
    [InlineData("root ::= <[12]>", "line 1, column 10", "tokens")]
    [InlineData("::= \"a\"", "line 1, column 1", "name")]
    public void A_mistake_is_named_with_its_place(string grammar, string place, string named)
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => GrammarParser.Parse(grammar));
        Assert.Equal("QB4007", error.Id);
        Assert.Contains(place, error.Message, StringComparison.Ordinal);
        Assert.Contains(named, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Deep_groups_are_an_error_and_no_overflow()
    {
        string grammar = "root ::= " + new string('(', 100_000) + "\"a\"" + new string(')', 100_000);
        Assert.Equal("QB4007", Assert.Throws<QuantBuildException>(() => GrammarParser.Parse(grammar)).Id);
    }
}
