using System.Diagnostics;
using System.Text;
using FsCheck;
using FsCheck.Fluent;
using QuantBuild.Constraints;

namespace QuantBuild.Runtime.Tests.Constraints;

public class AutomatonTests
{
    // The last two begin with the same byte, in UTF-8.
    private static readonly string[] Alphabet = ["a", "b", "é", "è"];

    // Everything up to four characters.
    private static readonly string[] Texts = [.. Enumerable.Range(0, 5).SelectMany(length => Enumerable.Range(0, (int)Math.Pow(4, length)).Select(i =>
        string.Concat(Enumerable.Range(0, length).Select(k => Alphabet[(i >> (2 * k)) & 3]))))];

    [Fact]
    public void Random_grammars_match_what_their_definition_says()
    {
        int compared = 0;
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(500), Prop.ForAll(Arb.From(Grammars()), grammar =>
        {
            AutomatonRun run;
            try
            {
                run = new AutomatonRun(grammar);
            }
            catch (QuantBuildException e)
            {
                Assert.Equal("QB4007", e.Id);
                return;
            }

            compared++;
            ReferenceMatcher reference = new(grammar);
            HashSet<string> prefixes = [];
            foreach (string text in Texts)
            {
                bool matches = reference.Matches(text);
                Assert.Equal(matches, run.Matches(text));
                if (matches) prefixes.UnionWith(Enumerable.Range(0, text.Length + 1).Select(length => text[..length]));
            }

            foreach (string text in Texts.Where(text => text.Length <= 3))
            {
                AutomatonState state = run.After(text);
                Assert.False(state.IsDead && prefixes.Contains(text));
                if (state.IsDead) continue;
                // A state that lives can be completed, with as many bytes as it says.
                byte[] completion = run.Shortest(state);
                Assert.Equal(state.BytesToEnd, completion.Length);
                string complete = Encoding.UTF8.GetString([.. Encoding.UTF8.GetBytes(text), .. completion]);
                Assert.True(complete.Length > 12 || reference.Matches(complete));
            }
        }));
        Assert.True(compared > 100);
    }

    [Fact]
    public void A_character_class_matches_its_characters_and_no_others()
    {
        Random random = new(1);
        for (int trial = 0; trial < 20; trial++)
        {
            (int, int)[] ranges = [.. Enumerable.Range(0, random.Next(1, 6)).Select(_ =>
            {
                int first = random.Next(1 << random.Next(1, 21));
                return (first, Math.Min(first + random.Next(1 << random.Next(1, 20)), 0x10FFFF));
            })];
            Grammar grammar = new(DiagnosticIds.GrammarInvalid);
            grammar.Rules[Grammar.Root] = new GrammarExpression.Characters(CodePointSet.Of(ranges).Union(CodePointSet.OfText("a")));
            AutomatonRun run = new(grammar);
            byte[] utf8 = new byte[4];
            for (int value = 0; value <= 0x10FFFF; value += value < 0x3000 ? 1 : 61)
            {
                if (!Rune.IsValid(value)) continue;
                bool expected = value == 'a' || ranges.Any(r => r.Item1 <= value && value <= r.Item2);
                Assert.Equal(expected, run.After(utf8[..new Rune(value).EncodeToUtf8(utf8)]).MayEnd);
            }

            // Surrogates and what is longer than it need be are not UTF-8.
            Assert.True(run.After([0xED, 0xA0, 0x80]).IsDead);
            Assert.True(run.After([0xC1, 0xA1]).IsDead);
        }
    }

    [Fact]
    public void Ambiguity_does_not_make_it_slow()
    {
        // The first has exponentially many stacks, the second and third exponentially many ways to split a text.
        (string Grammar, string Text)[] hard =
        [
            ("root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"\"", new string('a', 200) + string.Concat(Enumerable.Repeat("bc", 100))),
            ("root ::= (\"a\" | \"aa\" | \"aaa\")* \"b\"", new string('a', 400) + "b"),
            ("root ::= x{0,200} \"b\"\nx ::= \"a\" | \"a\" \"a\" | \"a\" x", new string('a', 200) + "b"),
            ("root ::= x x | x\nx ::= \"a\" x \"a\" | \"a\" | \"aa\"", new string('a', 150)),
        ];
        foreach ((string grammar, string text) in hard)
        {
            long start = Stopwatch.GetTimestamp();
            AutomatonRun run = new(grammar);
            Assert.True(run.Matches(text), grammar);
            Assert.InRange(Stopwatch.GetElapsedTime(start).TotalSeconds, 0, 20);
        }
    }

    [Fact]
    public void A_list_that_ends_with_itself_comes_back_to_the_same_state()
    {
        AutomatonRun run = new("root ::= item root | \"\"\nitem ::= [a-z]+ \",\"");
        Assert.Same(run.After("a,"), run.After("bcd,e,fg,"));
        AutomatonRun nested = new("root ::= \"[\" (root (\",\" root)*)? \"]\"");
        Assert.Same(nested.After("[[],["), nested.After("[[[],[]],[],["));
        Assert.NotSame(nested.After("[[],["), nested.After("[[],[["));
        Assert.Equal(2, nested.After("[[],[").BytesToEnd);
    }

    [Theory]
    [InlineData("root ::= root \"a\" | \"b\"", "root → root")]
    [InlineData("root ::= \"x\" a\na ::= b \"y\" | \"z\"\nb ::= \"\"? a", "a → b → a")]
    [InlineData("root ::= \"x\"? c root | \"y\"\nc ::= \"z\"*", "root → root")]
    public void Left_recursion_is_an_error(string grammar, string cycle)
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => new AutomatonRun(grammar));
        Assert.Equal("QB4007", error.Id);
        Assert.Contains(cycle, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("root ::= \"a\" root")]
    [InlineData("root ::= [^\\x00-\\U0010FFFF]")]
    public void A_grammar_without_a_text_is_an_error(string grammar)
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => new AutomatonRun(grammar));
        Assert.Equal("QB4007", error.Id);
        Assert.Contains("No finite text", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_grammar_that_is_too_large_is_an_error()
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => new AutomatonRun("root ::= ((\"a\"{1000}){1000}){1000}"));
        Assert.Contains("states", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_branch_that_has_no_end_is_not_entered()
    {
        AutomatonRun run = new("root ::= \"a\" endless | \"b\"\nendless ::= \"c\" endless");
        Assert.True(run.After("a").IsDead);
        Assert.True(run.Matches("b"));
    }

    [Fact]
    public void Nesting_stops_where_it_could_not_be_closed_any_more()
    {
        Grammar grammar = new(DiagnosticIds.GrammarInvalid) { MaxDepth = 5 };
        grammar.NestingRules.Add("list");
        Grammar unbounded = GrammarParser.Parse("root ::= list\nlist ::= \"[\" (list | \"{\" list \"}\" | \"<\" list list \">\")? \"]\"");
        foreach ((string name, GrammarExpression rule) in unbounded.Rules) grammar.Rules[name] = rule;
        AutomatonRun run = new(grammar);
        Assert.True(run.Matches("[[[[[]]]]]"));
        Assert.True(run.After("[[[[[[").IsDead);
        Assert.True(run.After("[[[[[{").IsDead);
        Assert.True(run.Matches("[[[[<[][]>]]]]"));
        Assert.True(run.After("[[[[<[[").IsDead);
    }

    private static Gen<Grammar> Grammars()
    {
        string[] names = [Grammar.Root, "x", "y"];
        Gen<GrammarExpression> leaf = Gen.OneOf(
            Gen.Elements(Alphabet.Append("").Append("ab")).Select(text => (GrammarExpression)new GrammarExpression.Literal(text)),
            Gen.SubListOf(Alphabet).Select(set => (GrammarExpression)new GrammarExpression.Characters(CodePointSet.OfText(string.Concat(set)))),
            Gen.Elements(names).Select(name => (GrammarExpression)new GrammarExpression.Reference(name)));
        Gen<GrammarExpression> Expression(int size) => size == 0 ? leaf : Gen.Frequency(
            (1, leaf),
            (3, Gen.ListOf(Expression(size - 1), 2).Select(parts => GrammarExpression.Join(parts))),
            (2, Gen.ListOf(Expression(size - 1), 2).Select(options => GrammarExpression.Any(options))),
            (2, from body in Expression(size - 1)
                from min in Gen.Choose(0, 2)
                from more in Gen.Choose(-1, 2)
                select body.Times(min, more < 0 ? null : min + more)));
        return Gen.ListOf(Expression(3), names.Length).Select(expressions =>
        {
            Grammar grammar = new(DiagnosticIds.GrammarInvalid);
            foreach ((string name, GrammarExpression expression) in names.Zip(expressions)) grammar.Rules[name] = expression;
            return grammar;
        });
    }
}
