using System.Numerics.Tensors;
using System.Text;
using QuantBuild.Constraints;

namespace QuantBuild.Runtime.Tests.Constraints;

/// <summary>Decodes as a model would that knows nothing: each token by random logits, under a constraint.</summary>
internal static class RandomDecoding
{
    public const int EndToken = 4094;

    public static TextTokenizer Tokenizer { get; } = TextTokenizer.Load(Sample.TokenizerJson, "tokenizer.json");

    public static TokenConstraint Constraint(OutputFormat format) => format.ConstraintFor(Tokenizer, [EndToken]);

    /// <summary>A text of at most so many tokens. Strict UTF-8, or an exception.</summary>
    public static string Run(TokenConstraint constraint, int maxTokens, int seed)
    {
        Random random = new(seed);
        float[] logits = new float[Tokenizer.VocabularySize];
        List<byte> bytes = [];
        ConstraintState state = constraint.Start;
        for (int left = maxTokens; left > 0 && !state.MustEnd; left--)
        {
            for (int i = 0; i < logits.Length; i++) logits[i] = random.NextSingle();
            state.Allowed(left).Apply(logits);
            int token = TensorPrimitives.IndexOfMax<float>(logits);
            Assert.NotEqual(float.NegativeInfinity, logits[token]);
            if (token == EndToken) break;
            bytes.AddRange(Tokenizer.TokenBytes(token));
            state = state.Advance(token);
        }

        Assert.True(state.MayEnd);
        return new UTF8Encoding(false, throwOnInvalidBytes: true).GetString([.. bytes]);
    }
}
