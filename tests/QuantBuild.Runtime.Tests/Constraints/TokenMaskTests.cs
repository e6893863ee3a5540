using System.Text;
using System.Text.Json;
using QuantBuild.Constraints;

namespace QuantBuild.Runtime.Tests.Constraints;

public class TokenMaskTests
{
    private const string Schema = """
        {"type": "object", "properties": {"name": {"type": "string"}, "née": {"type": "integer", "minimum": -50, "maximum": 1200},
         "tags": {"type": "array", "items": {"enum": ["one", "once", "日本"]}, "maxItems": 3}}, "required": ["name", "tags"]}
        """;

    private static readonly TextTokenizer Tokenizer = RandomDecoding.Tokenizer;

    [Fact]
    public void A_mask_is_what_each_token_by_itself_says()
    {
        TokenConstraint constraint = RandomDecoding.Constraint(OutputFormat.JsonSchema(Schema));
        AutomatonRun automaton = new(JsonSchemaGrammar.Make(JsonDocument.Parse(Schema).RootElement));
        string[] texts =
        [
            "", "{", "{\"na", "{\"name\":\"", "{\"name\":\"é \\u0", "{\"name\":\"\",\"n", "{\"name\":\"\",\"née\":1", "{\"name\":\"\",\"tags\":[\"on",
            "{\"name\":\"\",\"tags\":[]", "{\"name\":\"\",\"tags\":[]}",
        ];
        foreach (string text in texts)
        {
            ConstraintState state = After(constraint, text);
            TokenMask mask = state.Allowed();
            byte[] before = Encoding.UTF8.GetBytes(text);
            for (int token = 0; token < 4093; token++)
            {
                bool expected = !automaton.After([.. before, .. Tokenizer.TokenBytes(token)]).IsDead;
                Assert.Equal(expected, mask[token]);
                Assert.Equal(expected, state.Allows(token));
            }

            // Special tokens: only the one that ends the text, where it may end.
            Assert.False(mask[4093] || mask[4095] || mask[4096] || mask[-1]);
            Assert.Equal(automaton.After(before).MayEnd, mask[RandomDecoding.EndToken]);
            Assert.Equal(mask.Count, Enumerable.Range(0, 4096).Count(token => mask[token]));
            Assert.Same(mask, After(constraint, text).Allowed());
        }
    }

    [Fact]
    public void With_few_tokens_left_only_those_may_come_after_which_the_text_can_be_completed()
    {
        TokenConstraint constraint = RandomDecoding.Constraint(OutputFormat.JsonSchema(Schema));
        foreach (string text in new[] { "{", "{\"name\":\"", "{\"name\":\"a", "{\"name\":\"\",\"tags\":[", "{\"name\":\"\",\"tags\":[\"o" })
        {
            ConstraintState state = After(constraint, text);
            for (int left = state.BytesToEnd; left < state.BytesToEnd + 20; left++)
            {
                TokenMask mask = state.Allowed(left);
                for (int token = 0; token < 4093; token++)
                {
                    Assert.Equal(state.Allows(token) && state.Advance(token).BytesToEnd <= left - 1, mask[token]);
                }
            }

            // Fewer than are enough: as short as can be.
            TokenMask shortest = state.Allowed(1);
            int least = Enumerable.Range(0, 4093).Where(state.Allows).Min(token => state.Advance(token).BytesToEnd);
            Assert.All(Enumerable.Range(0, 4093).Where(token => shortest[token]), token => Assert.Equal(least, state.Advance(token).BytesToEnd));
            Assert.True(shortest.Count > 0);
        }
    }

    [Fact]
    public void A_mask_leaves_allowed_logits_as_they_are_and_takes_out_the_others()
    {
        TokenMask mask = After(RandomDecoding.Constraint(OutputFormat.Json), "{\"a\":").Allowed();
        foreach (int length in new[] { 4096, 4000, 4097, 5000, 63, 64, 65 })
        {
            float[] logits = [.. Enumerable.Range(0, length).Select(i => i * 0.5f)];
            mask.Apply(logits);
            Assert.All(logits.Select((logit, token) => (logit, token)), p => Assert.Equal(mask[p.token] ? p.token * 0.5f : float.NegativeInfinity, p.logit));
        }
    }

    [Fact]
    public void A_position_can_be_left_and_come_back_to()
    {
        TokenConstraint constraint = RandomDecoding.Constraint(OutputFormat.JsonSchema(Schema));
        ConstraintState before = After(constraint, "{\"name\":\"");
        ConstraintState first = After(constraint, "x", before);
        ConstraintState second = After(constraint, "yz", before);
        ConstraintState closed = After(constraint, "\"", before);
        Assert.True(first.IsSameAs(second));
        Assert.False(first.IsSameAs(closed));
        Assert.False(closed.Allows(Tokenizer.Encode("x", addSpecialTokens: false)[0]));
        Assert.Throws<ArgumentException>(() => closed.Advance(Tokenizer.Encode("x", addSpecialTokens: false)[0]));
        Assert.Throws<ArgumentException>(() => closed.Advance(RandomDecoding.EndToken));
        Assert.True(first.IsSameAs(After(constraint, "x", before)));
    }

    [Fact]
    public void A_text_that_must_end_says_so()
    {
        ConstraintState state = After(RandomDecoding.Constraint(OutputFormat.Grammar("root ::= \"ab\" \"c\"?")), "ab");
        Assert.True(state.MayEnd);
        Assert.False(state.MustEnd);
        Assert.True(state.Allowed()[RandomDecoding.EndToken]);
        ConstraintState last = After(RandomDecoding.Constraint(OutputFormat.Grammar("root ::= \"ab\" \"c\"?")), "abc");
        Assert.True(last.MustEnd);
        Assert.Equal(1, last.Allowed().Count);
        TokenConstraint endless = OutputFormat.Grammar("root ::= \"ab\"").ConstraintFor(Tokenizer, []);
        Assert.Equal(0, After(endless, "ab").Allowed().Count);
    }

    [Fact]
    public void A_constraint_is_compiled_once_for_a_tokenizer()
    {
        OutputFormat format = OutputFormat.JsonSchema(Schema);
        TokenConstraint made = format.ConstraintFor(Tokenizer, [4094]);
        Assert.Same(made, format.ConstraintFor(Tokenizer, [4094]));
        Assert.NotSame(made, format.ConstraintFor(TextTokenizer.Load(Sample.TokenizerJson, "another"), [4094]));
        Assert.NotSame(made, format.ConstraintFor(Tokenizer, [4094, 4095]));
    }

    [Fact]
    public void Texts_at_once_do_not_disturb_each_other()
    {
        TokenConstraint shared = OutputFormat.JsonSchema(Schema).ConstraintFor(Tokenizer, [RandomDecoding.EndToken]);
        string[] together = new string[16];
        Parallel.For(0, together.Length, new ParallelOptions { MaxDegreeOfParallelism = 8 }, i => together[i] = RandomDecoding.Run(shared, 80, i));
        Assert.All(together.Select((text, i) => (text, i)), p => Assert.Equal(
            RandomDecoding.Run(OutputFormat.JsonSchema(Schema).ConstraintFor(Tokenizer, [RandomDecoding.EndToken]), 80, p.i), p.text));
    }

    [Fact]
    public void A_table_that_is_full_is_replaced_and_the_text_goes_on()
    {
        // Each position of the string is a state of its own, with a mask of its own: more than a table holds.
        TokenConstraint constraint = RandomDecoding.Constraint(OutputFormat.JsonSchema("""{"type": "string", "maxLength": 90000}"""));
        ConstraintState state = After(constraint, "\"");
        int letter = Tokenizer.Encode("a", addSpecialTokens: false)[0];
        ConstraintState? early = null;
        for (int i = 0; i < 90000; i++)
        {
            Assert.True(state.Allows(letter));
            if (i == 100) early = state;
            state = state.Advance(letter);
        }

        Assert.False(state.Allows(letter));
        Assert.True(early!.IsSameAs(After(constraint, "\"" + new string('a', 100))));
        Assert.False(early.IsSameAs(state));
        Assert.True(early.Allowed()[letter]);
    }

    [Fact]
    public void A_byte_that_no_token_spells_is_not_written()
    {
        byte[]?[] tokens = [.. "ab\""u8.ToArray().Select(b => (byte[]?)[b]), [0xC3, 0xA9], null, []];
        TokenConstraint constraint = new(GrammarParser.Parse("root ::= \"\\\"\" [a-z\u00e9]* \"\\\"\""), new TokenTrie(tokens), [5]);
        TokenMask inside = constraint.Start.Advance(2).Allowed();
        Assert.Equal([true, true, true, false, false, false], Enumerable.Range(0, 6).Select(token => inside[token]));
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => new TokenConstraint(GrammarParser.Parse("root ::= \"c\""), new TokenTrie(tokens), []));
        Assert.Contains("no token for a byte", error.Message, StringComparison.Ordinal);
    }

    private static ConstraintState After(TokenConstraint constraint, string text, ConstraintState? from = null) =>
        Tokenizer.Encode(text, addSpecialTokens: false).Aggregate(from ?? constraint.Start, (state, token) => state.Advance(token));
}
