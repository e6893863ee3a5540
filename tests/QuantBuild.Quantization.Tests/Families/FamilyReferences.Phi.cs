using static QuantBuild.Quantization.Tests.Families.ReferenceMath;

namespace QuantBuild.Quantization.Tests.Families;

/// <summary>Phi 1 to 2, and the first StarCoder.</summary>
internal sealed partial record FamilyReference
{
    private static IEnumerable<FamilyReference> WithBiasedHeads =>
    [
        new("Phi2", """
            {"architectures": ["PhiForCausalLM"], "hidden_act": "gelu_new", "hidden_size": 64, "intermediate_size": 96, "layer_norm_eps": 1e-5, "max_position_embeddings": 96, "num_attention_heads": 4,
             "num_hidden_layers": 2, "num_key_value_heads": 4, "partial_rotary_factor": 0.25, "qk_layernorm": false, "rope_scaling": null, "rope_theta": 10000.0, "tie_word_embeddings": false, "vocab_size": 258}
            """, Phi),
        new("StarCoder", """
            {"architectures": ["GPTBigCodeForCausalLM"], "activation_function": "gelu_pytorch_tanh", "attention_softmax_in_fp32": true, "layer_norm_epsilon": 1e-5, "multi_query": true, "n_embd": 64,
             "n_head": 4, "n_inner": 96, "n_layer": 2, "n_positions": 96, "scale_attention_softmax_in_fp32": true, "scale_attn_weights": true, "vocab_size": 258}
            """,
            (w, tokens) => GptBigCode(w, tokens, shared: true)),
        new("GPT-BigCode-multi-head", """
            {"architectures": ["GPTBigCodeForCausalLM"], "activation_function": "gelu_pytorch_tanh", "layer_norm_epsilon": 1e-5, "multi_query": false, "n_embd": 64, "n_head": 4, "n_inner": 96,
             "n_layer": 2, "n_positions": 96, "scale_attn_weights": true, "vocab_size": 258}
            """,
            (w, tokens) => GptBigCode(w, tokens, shared: false)),
    ];

    // Gunasekar et al., 2023, and the published configuration.
    private static double[][] Phi(Checkpoint w, int[] tokens)
    {
        double[] frequencies = Frequencies(10000, HeadDim / 4);
        double[][] x = Embed(w.Table("model.embed_tokens.weight", Vocabulary, Width), tokens, Width);
        for (int layer = 0; layer < Layers; layer++)
        {
            string p = $"model.layers.{layer}.";
            double[][] Project(double[][] from, string name, int outputs, int inputs) => Linear(from, w.Matrix(p + name + ".weight", outputs, inputs), w.Vector(p + name + ".bias", outputs, 0));
            double[][] h = LayerNorm(x, w.Vector(p + "input_layernorm.weight", Width, 1), w.Vector(p + "input_layernorm.bias", Width, 0), 1e-5);
            double[][] q = Rotate(Project(h, "self_attn.q_proj", Width, Width), HeadDim, frequencies), k = Rotate(Project(h, "self_attn.k_proj", Width, Width), HeadDim, frequencies);
            double[][] attended = Project(Attention(q, k, Project(h, "self_attn.v_proj", Width, Width), HeadDim), "self_attn.dense", Width, Width);
            x = Add(Add(x, attended), Project(GeluTanh(Project(h, "mlp.fc1", Mlp, Width)), "mlp.fc2", Width, Mlp));
        }

        x = LayerNorm(x, w.Vector("model.final_layernorm.weight", Width, 1), w.Vector("model.final_layernorm.bias", Width, 0), 1e-5);
        return Linear(x, w.Matrix("lm_head.weight", Vocabulary, Width), w.Vector("lm_head.bias", Vocabulary, 0));
    }

    // Li et al., 2023.
    private static double[][] GptBigCode(Checkpoint w, int[] tokens, bool shared)
    {
        float[] table = w.Table("transformer.wte.weight", Vocabulary, Width), positions = w.Table("transformer.wpe.weight", 96, Width);
        double[][] x = Add(Embed(table, tokens, Width), Embed(positions, [.. Enumerable.Range(0, tokens.Length)], Width));
        for (int layer = 0; layer < Layers; layer++)
        {
            string p = $"transformer.h.{layer}.";
            double[][] Norm(double[][] from, string name) => LayerNorm(from, w.Vector(p + name + ".weight", Width, 1), w.Vector(p + name + ".bias", Width, 0), 1e-5);
            double[][] Project(double[][] from, string name, int outputs, int inputs) => Linear(from, w.Matrix(p + name + ".weight", outputs, inputs), w.Vector(p + name + ".bias", outputs, 0));
            double[][] qkv = Project(Norm(x, "ln_1"), "attn.c_attn", shared ? Width + (2 * HeadDim) : 3 * Width, Width);
            double[][] Part(int part) => shared ? (part == 0 ? Columns(qkv, 0, Width) : Columns(qkv, Width + ((part - 1) * HeadDim), HeadDim))
                : Each(qkv, row => [.. row.Chunk(3 * HeadDim).SelectMany(head => head[(part * HeadDim)..((part + 1) * HeadDim)])]);
            x = Add(x, Project(Attention(Part(0), Part(1), Part(2), HeadDim), "attn.c_proj", Width, Width));
            x = Add(x, Project(GeluTanh(Project(Norm(x, "ln_2"), "mlp.c_fc", Mlp, Width)), "mlp.c_proj", Width, Mlp));
        }

        return Linear(LayerNorm(x, w.Vector("transformer.ln_f.weight", Width, 1), w.Vector("transformer.ln_f.bias", Width, 0), 1e-5), table);
    }
}
