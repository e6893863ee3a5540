using static QuantBuild.Quantization.Tests.Families.ReferenceMath;

namespace QuantBuild.Quantization.Tests.Families;

/// <summary>Families whose scores fall with the distance of a key, by ALiBi.</summary>
internal sealed partial record FamilyReference
{
    private static IEnumerable<FamilyReference> WithAlibi =>
    [
        new("Falcon-RW", """
            {"architectures": ["FalconForCausalLM"], "alibi": true, "bias": true, "hidden_size": 64, "layer_norm_epsilon": 1e-5, "multi_query": false, "new_decoder_architecture": false,
             "num_attention_heads": 8, "num_hidden_layers": 2, "parallel_attn": false, "vocab_size": 258, "bos_token_id": 1, "eos_token_id": 2}
            """,
            // A number of eight bits, added before the scores are divided by the root of the head's width.
            (w, tokens) => HeadByHead(w, tokens, "word_embeddings", null, erf: true, [.. Enumerable.Range(1, 8).Select(j => Math.Pow(2, -j) / Math.Sqrt(8))])),
        new("Falcon-RW-odd-heads", """
            {"architectures": ["FalconForCausalLM"], "alibi": true, "bias": true, "hidden_size": 60, "layer_norm_epsilon": 1e-5, "multi_query": false, "new_decoder_architecture": false,
             "num_attention_heads": 6, "num_hidden_layers": 2, "parallel_attn": false, "vocab_size": 258}
            """,
            // 2^-8/4, ..., and of eight heads the first and the third: 0.5 and 0.125. All of them have eight bits.
            (w, tokens) => HeadByHead(w, tokens, "word_embeddings", null, erf: true, [.. new[] { 0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125 }.Select(slope => slope / Math.Sqrt(10))])),
        new("Falcon-RW-many-heads", """
            {"architectures": ["FalconForCausalLM"], "alibi": true, "bias": true, "hidden_size": 64, "layer_norm_epsilon": 1e-5, "multi_query": false, "new_decoder_architecture": false,
             "num_attention_heads": 16, "num_hidden_layers": 2, "parallel_attn": false, "vocab_size": 258}
            """,
            // 2^-1/2 = 0.70710678 is 181 / 256 in bfloat16, and so are its halves.
            (w, tokens) => HeadByHead(
                w, tokens, "word_embeddings", null, erf: true, [.. Enumerable.Range(1, 16).Select(j => (j % 2 == 0 ? Math.Pow(2, -j / 2) : 181 / 256.0 * Math.Pow(2, -(j - 1) / 2)) / Math.Sqrt(4))])),
        new("BLOOM", """
            {"architectures": ["BloomForCausalLM"], "apply_residual_connection_post_layernorm": false, "attention_softmax_in_fp32": true, "bias_dropout_fusion": true, "hidden_dropout": 0.0,
             "n_embed": 64, "n_head": 4, "n_inner": null, "n_layer": 2, "layer_norm_epsilon": 1e-5, "seq_length": 96, "offset_alibi": 100, "pretraining_tp": 1, "vocab_size": 258}
            """,
            (w, tokens) => HeadByHead(w, tokens, "word_embeddings", "word_embeddings_layernorm", erf: false, [0.25, 0.0625, 0.015625, 0.00390625])),
        new("MPT", """
            {"architectures": ["MPTForCausalLM"], "attn_config": {"alibi": true, "alibi_bias_max": 8, "attn_impl": "torch", "attn_pdrop": 0, "attn_type": "multihead_attention",
             "attn_uses_sequence_id": false, "clip_qkv": null, "prefix_lm": false, "qk_ln": false, "softmax_scale": null}, "d_model": 64, "expansion_ratio": 4, "learned_pos_emb": true,
             "logit_scale": null, "max_seq_len": 96, "n_heads": 4, "n_layers": 2, "no_bias": true, "norm_type": "low_precision_layernorm", "vocab_size": 258}
            """,
            (w, tokens) => Mpt(w, tokens, [0.25, 0.0625, 0.015625, 0.00390625], 0.25)),
        new("MPT-odd-heads", """
            {"architectures": ["MptForCausalLM"], "attn_config": {"alibi": true, "alibi_bias_max": 4, "softmax_scale": 0.3}, "d_model": 60, "expansion_ratio": 2, "max_seq_len": 96,
             "n_heads": 3, "n_layers": 2, "no_bias": true, "vocab_size": 258}
            """,
            // Of 2^-1, 2^-2, 2^-3, 2^-4 every second, and then the others.
            (w, tokens) => Mpt(w, tokens, [0.25, 0.0625, 0.5], 0.3, width: 60, mlp: 120)),
    ];

    // BLOOM (Le Scao et al., 2022) and Falcon RW (Penedo et al., 2023): [heads, 3, headDim] in one tensor.
    private static double[][] HeadByHead(Checkpoint w, int[] tokens, string embedding, string? embeddingNorm, bool erf, double[] slopes)
    {
        // The widths that divide into so many heads.
        int width = slopes.Length == 6 ? 60 : 64, headDim = width / slopes.Length;
        double[][] Norm(double[][] from, string name) => LayerNorm(from, w.Vector(name + ".weight", width, 1), w.Vector(name + ".bias", width, 0), 1e-5);
        float[] table = w.Table($"transformer.{embedding}.weight", Vocabulary, width);
        double[][] x = Embed(table, tokens, width);
        if (embeddingNorm is not null) x = Norm(x, "transformer." + embeddingNorm);
        for (int layer = 0; layer < Layers; layer++)
        {
            string p = $"transformer.h.{layer}.";
            double[][] Project(double[][] from, string name, int outputs, int inputs) => Linear(from, w.Matrix(p + name + ".weight", outputs, inputs), w.Vector(p + name + ".bias", outputs, 0));
            double[][] qkv = Project(Norm(x, p + "input_layernorm"), "self_attention.query_key_value", 3 * width, width);
            double[][] Part(int part) => Each(qkv, row => [.. row.Chunk(3 * headDim).SelectMany(head => head[(part * headDim)..((part + 1) * headDim)])]);
            x = Add(x, Project(AlibiAttention(Part(0), Part(1), Part(2), slopes, 1 / Math.Sqrt(headDim)), "self_attention.dense", width, width));
            double[][] h = Project(Norm(x, p + "post_attention_layernorm"), "mlp.dense_h_to_4h", 4 * width, width);
            x = Add(x, Project(erf ? Gelu(h) : GeluTanh(h), "mlp.dense_4h_to_h", width, 4 * width));
        }

        return Linear(Norm(x, "transformer.ln_f"), table);
    }

    // MosaicML, 2023.
    private static double[][] Mpt(Checkpoint w, int[] tokens, double[] slopes, double scale, int width = Width, int mlp = 4 * Width)
    {
        float[] table = w.Table("transformer.wte.weight", Vocabulary, width);
        double[][] x = Embed(table, tokens, width);
        for (int layer = 0; layer < Layers; layer++)
        {
            string p = $"transformer.blocks.{layer}.";
            double[][] Norm(double[][] from, string name) => LayerNorm(from, w.Vector(p + name + ".weight", width, 1), null, 1e-5);
            double[][] qkv = Linear(Norm(x, "norm_1"), w.Matrix(p + "attn.Wqkv.weight", 3 * width, width));
            double[][] attended = AlibiAttention(Columns(qkv, 0, width), Columns(qkv, width, width), Columns(qkv, 2 * width, width), slopes, scale);
            x = Add(x, Linear(attended, w.Matrix(p + "attn.out_proj.weight", width, width)));
            x = Add(x, Linear(Gelu(Linear(Norm(x, "norm_2"), w.Matrix(p + "ffn.up_proj.weight", mlp, width))), w.Matrix(p + "ffn.down_proj.weight", width, mlp)));
        }

        return Linear(LayerNorm(x, w.Vector("transformer.norm_f.weight", width, 1), null, 1e-5), table);
    }

    // Press et al., 2022, as the families' code has it: a number that grows with the key's place is added, which is the same as one that falls with its distance.
    private static double[][] AlibiAttention(double[][] q, double[][] k, double[][] v, double[] slopes, double scale)
    {
        int headDim = q[0].Length / slopes.Length;
        return [.. q.Select((row, t) => slopes.SelectMany((slope, head) =>
        {
            int own = head * headDim;
            double[] shares = Softmax([.. Enumerable.Range(0, t + 1).Select(s => (Enumerable.Range(own, headDim).Sum(i => row[i] * k[s][i]) * scale) + (slope * s))]);
            return Enumerable.Range(own, headDim).Select(i => shares.Select((share, s) => share * v[s][i]).Sum());
        }).ToArray())];
    }
}
