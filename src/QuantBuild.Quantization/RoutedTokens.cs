using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>Which experts of a layer see each token of a text, kept on the host: two bytes for each of them, little beside the token itself.</summary>
internal sealed class RoutedTokens
{
    private readonly ushort[][] experts; // by batch, [tokens, each]
    private readonly int each;
    private readonly long[] seen;

    /// <summary>Asks the router for all tokens.</summary>
    /// <param name="states">The text.</param>
    /// <param name="config">The decoder.</param>
    /// <param name="route">The experts of some tokens, [tokens, <see cref="DecoderConfig.ExpertsPerToken"/>].</param>
    /// <param name="cancellationToken">Looked at between parts.</param>
    public RoutedTokens(HiddenStates states, DecoderConfig config, Func<Place, torch.Tensor, torch.Tensor> route, CancellationToken cancellationToken)
    {
        each = config.ExpertsPerToken;
        experts = [.. Enumerable.Range(0, states.Count).Select(batch => new ushort[states.TokensOf(batch) * each])];
        states.VisitTokens(
            (at, part, tokens) => (Part: part, Experts: route(at, tokens).reshape(-1).cpu().data<long>().ToArray()),
            (_, made) =>
            {
                Span<ushort> own = experts[made.Part.Batch].AsSpan((int)made.Part.First * each);
                for (int i = 0; i < made.Experts.Length; i++) own[i] = (ushort)made.Experts[i];
            },
            cancellationToken);
        seen = new long[config.Experts];
        foreach (ushort expert in experts.SelectMany(batch => batch)) seen[expert]++;
        Tokens = experts.Sum(batch => (long)batch.Length / each);
    }

    /// <summary>How many tokens there are.</summary>
    public long Tokens { get; }

    /// <summary>How many of them an expert sees.</summary>
    public long SeenBy(int expert) => seen[expert];

    /// <summary>The tokens that an expert sees, in the order of the text.</summary>
    /// <param name="expert">The expert.</param>
    /// <param name="step">Where there is one, every so many of a batch's tokens are among them, whether it sees them or not.</param>
    public TokenPlace[] Of(int expert, long? step = null)
    {
        List<TokenPlace> tokens = new((int)seen[expert]);
        for (int batch = 0; batch < experts.Length; batch++)
        {
            ReadOnlySpan<ushort> own = experts[batch];
            for (int token = 0; token * each < own.Length; token++)
            {
                if (token % step == 0 || own.Slice(token * each, each).Contains((ushort)expert)) tokens.Add(new TokenPlace(batch, token));
            }
        }

        return [.. tokens];
    }
}
