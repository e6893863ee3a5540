using static QuantBuild.Quantization.Tests.Families.ReferenceMath;

namespace QuantBuild.Quantization.Tests.Families;

/// <summary>Families of experts: Llama's decoder with what each has in the MLP's place.</summary>
internal sealed partial record FamilyReference
{
    private static IEnumerable<FamilyReference> OfExperts =>
    [
        // Layer 1 has an MLP, wider than the experts.
        new("Qwen3Moe-dense-layers", $$"""
            {"architectures": ["Qwen3MoeForCausalLM"], "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 258,
             "max_position_embeddings": 96, "head_dim": 16, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
             "norm_topk_prob": true, "decoder_sparse_step": 1, "mlp_only_layers": [1]}
            """,
            (w, tokens) => Llama(w, tokens, Frequencies(1000000, HeadDim), epsilon: 1e-6, headNorms: true, layers: 3, mlp: (x, p) => p == "model.layers.1."
                ? Gated(w, x, p + "mlp.", "gate_proj", "up_proj", "down_proj", Mlp)
                : Experts(x, w.Matrix(p + "mlp.gate.weight", 4, Width), 2, true, (e, row) => Gated(w, row, p + $"mlp.experts.{e}.", "gate_proj", "up_proj", "down_proj", 32)))),
        new("Qwen2Moe", Qwen2MoeOf(experts: 6, each: 2, step: 1), (w, tokens) => Qwen2Moe(w, tokens, experts: 6, each: 2, step: 1)),
        new("Qwen2Moe-every-other-layer", Qwen2MoeOf(experts: 3, each: 3, step: 2), (w, tokens) => Qwen2Moe(w, tokens, experts: 3, each: 3, step: 2)),
        new("OLMoE", $$"""
            {"architectures": ["OlmoeForCausalLM"], "hidden_size": 64, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 258,
             "max_position_embeddings": 96, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "clip_qkv": null, "num_experts": 8, "num_experts_per_tok": 3, "norm_topk_prob": false}
            """,
            (w, tokens) => Llama(w, tokens, Frequencies(10000, HeadDim), wholeNorms: true, mlp: (x, p) => Experts(
                x, w.Matrix(p + "mlp.gate.weight", 8, Width), 3, false, (e, row) => Gated(w, row, p + $"mlp.experts.{e}.", "gate_proj", "up_proj", "down_proj", 32)))),
        new("GraniteMoe", $$"""
            {"architectures": ["GraniteMoeForCausalLM"], {{Sizes}}, "rms_norm_eps": 1e-6, "tie_word_embeddings": true, "num_local_experts": 5, "num_experts_per_tok": 2,
             "embedding_multiplier": 3.0, "residual_multiplier": 0.22, "attention_multiplier": 0.125, "logits_scaling": 2.0}
            """,
            GraniteMoe),
    ];

    private static string Qwen2MoeOf(int experts, int each, int step) => $$"""
        {"architectures": ["Qwen2MoeForCausalLM"], {{Sizes}}, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "use_sliding_window": false, "sliding_window": 16, "max_window_layers": 1,
         "decoder_sparse_step": {{step}}, "mlp_only_layers": [], "num_experts": {{experts}}, "num_experts_per_tok": {{each}}, "moe_intermediate_size": 48,
         "shared_expert_intermediate_size": 80, "norm_topk_prob": false}
        """;

    // Yang et al., 2024, section 2.2.2, with the gate of the shared expert that the published models have.
    private static double[][] Qwen2Moe(Checkpoint w, int[] tokens, int experts, int each, int step) => Llama(w, tokens, Frequencies(1000000, HeadDim), epsilon: 1e-6, qkvBias: true, mlp: (x, p) =>
    {
        double[][] Part(double[][] from, string name, int width) => Gated(w, from, p + "mlp." + name, "gate_proj", "up_proj", "down_proj", width);
        if (step == 2 && p == "model.layers.0.") return Part(x, "", Mlp);
        double[][] chosen = Experts(x, w.Matrix(p + "mlp.gate.weight", experts, Width), each, false, (e, row) => Part(row, $"experts.{e}.", 48));
        double[][] gates = Linear(x, w.Matrix(p + "mlp.shared_expert_gate.weight", 1, Width)), shared = Part(x, "shared_expert.", 80);
        return Add(chosen, [.. shared.Zip(gates, (row, gate) => row.Select(v => v / (1 + Math.Exp(-gate[0]))).ToArray())]);
    });

    // Granite 3.0 Language Models, 2024; shares are the softmax of the scores that are chosen.
    private static double[][] GraniteMoe(Checkpoint w, int[] tokens) => Scale(
        Llama(w, tokens, Frequencies(10000, HeadDim), epsilon: 1e-6, tied: true, embedding: 3, residual: 0.22, scale: 0.125, mlp: (x, p) =>
        {
            float[][] into = w.Stacked(p + "block_sparse_moe.input_linear.weight", 5, 2 * Mlp, Width), outOf = w.Stacked(p + "block_sparse_moe.output_linear.weight", 5, Width, Mlp);
            float[] router = w.Matrix(p + "block_sparse_moe.router.layer.weight", 5, Width);
            return Each(x, row =>
            {
                double[] scores = Linear([row], router)[0];
                int[] chosen = [.. Enumerable.Range(0, 5).OrderByDescending(e => scores[e]).Take(2)];
                double[] shares = Softmax([.. chosen.Select(e => scores[e])]), mixed = new double[Width];
                for (int i = 0; i < 2; i++)
                {
                    double[][] both = Linear([row], into[chosen[i]]);
                    double[] given = Linear(Times(Silu(Columns(both, 0, Mlp)), Columns(both, Mlp, Mlp)), outOf[chosen[i]])[0];
                    for (int k = 0; k < Width; k++) mixed[k] += shares[i] * given[k];
                }

                return mixed;
            });
        }),
        1 / 2.0);
}
