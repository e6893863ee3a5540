using System.Runtime.InteropServices;
using QuantBuild.Decoding;

namespace QuantBuild.Generation;

/// <summary>Lowers the logits of tokens that the context has already: repetition, frequency and presence penalties.</summary>
internal sealed class Penalties
{
    private readonly SamplingSettings settings;

    // How often each token occurs in the window of the repetition penalty, and, if the window is less than the context, its tokens from the oldest on.
    private readonly Dictionary<int, int>? window;
    private readonly Queue<int>? order;

    // How often each token was generated.
    private readonly Dictionary<int, int>? generated;

    public Penalties(SamplingSettings settings, ReadOnlySpan<int> prompt)
    {
        this.settings = settings;
        if (settings.RepetitionPenalty != 1)
        {
            window = [];
            if (settings.RepetitionWindow is not null) order = [];
            foreach (int token in prompt) AddToWindow(token);
        }

        if (settings.FrequencyPenalty != 0 || settings.PresencePenalty != 0) generated = [];
    }

    /// <summary>Takes a token that was generated.</summary>
    public void Accept(int token)
    {
        AddToWindow(token);
        if (generated is not null) CollectionsMarshal.GetValueRefOrAddDefault(generated, token, out _)++;
    }

    /// <summary>Lowers logits, [vocabulary], in place.</summary>
    public void Apply(Span<float> logits)
    {
        if (window is not null)
        {
            foreach (int token in window.Keys)
            {
                ref float logit = ref logits[token];
                logit = (float)(logit < 0 ? logit * settings.RepetitionPenalty : logit / settings.RepetitionPenalty);
            }
        }

        if (generated is not null)
        {
            foreach ((int token, int count) in generated) logits[token] -= Lowering(count);
        }
    }

    /// <summary>The same, to be done elsewhere.</summary>
    public void Write(LogitChanges changes)
    {
        changes.Repeated.Clear();
        changes.Lowered.Clear();
        if (window is not null) changes.Repeated.AddRange(window.Keys);
        if (generated is null) return;
        foreach ((int token, int count) in generated) changes.Lowered.Add(new(token, Lowering(count)));
    }

    private float Lowering(int count) => (float)((count * settings.FrequencyPenalty) + settings.PresencePenalty);

    private void AddToWindow(int token)
    {
        if (window is null) return;
        CollectionsMarshal.GetValueRefOrAddDefault(window, token, out _)++;
        if (order is null) return;
        order.Enqueue(token);
        if (order.Count <= settings.RepetitionWindow) return;
        int oldest = order.Dequeue();
        if (--CollectionsMarshal.GetValueRefOrNullRef(window, oldest) == 0) window.Remove(oldest);
    }
}
