using static QuantBuild.Quantization.Tests.Families.ReferenceMath;

namespace QuantBuild.Quantization.Tests.Families;

/// <summary>
/// A small model of each family: its <c>config.json</c> in the form that the family publishes, and its decoder from the papers and the published configuration, in float64, each
/// equation for all tokens after the other, with the names that its checkpoints have. Nothing here knows of <see cref="DecoderConfig"/>.
/// </summary>
internal sealed partial record FamilyReference(string Name, string Config, Func<Checkpoint, int[], double[][]> Logits)
{
    /// <summary>What the model is to be loaded for, where that is not what a text of it usually has.</summary>
    public int? Context { get; init; }

    // The sizes of all of them, where a family does not need others.
    private const int Width = 64, Heads = 4, KvHeads = 2, HeadDim = 16, Mlp = 96, Layers = 2, Vocabulary = 258;

    private const string Shape =
        """ "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 258 """;

    private const string Sizes = Shape + """, "max_position_embeddings": 96 """;

    public static IReadOnlyList<FamilyReference> All { get; } =
    [
        new("Llama2", $$"""{"architectures": ["LlamaForCausalLM"], {{Sizes}}, "rms_norm_eps": 1e-5, "hidden_act": "silu", "rope_scaling": null}""",
            (w, tokens) => Llama(w, tokens, Frequencies(10000, HeadDim))),
        new("Llama-with-biases", $$"""{"architectures": ["LlamaForCausalLM"], {{Sizes}}, "rms_norm_eps": 1e-5, "attention_bias": true, "mlp_bias": true}""",
            (w, tokens) => Llama(w, tokens, Frequencies(10000, HeadDim), biases: true)),
        new("Llama3.1", $$"""
            {"architectures": ["LlamaForCausalLM"], {{Sizes}}, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
             "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32, "rope_type": "llama3"} }
            """,
            (w, tokens) => Llama(w, tokens, [.. Frequencies(500000, HeadDim).Select(Llama3)])),
        new("Llama-linear", $$"""{"architectures": ["LlamaForCausalLM"], {{Sizes}}, "rms_norm_eps": 1e-5, "rope_scaling": {"type": "linear", "factor": 4.0} }""",
            (w, tokens) => Llama(w, tokens, [.. Frequencies(10000, HeadDim).Select(f => f / 4)])),
        new("Llama-dynamic", $$"""{"architectures": ["LlamaForCausalLM"], {{Sizes}}, "rms_norm_eps": 1e-5, "rope_scaling": {"type": "dynamic", "factor": 4.0} }""",
            (w, tokens) => Llama(w, tokens, Frequencies(10000 * Math.Pow((4.0 * 96 / 96) - (4 - 1), HeadDim / (HeadDim - 2.0)), HeadDim))),
        new("Qwen2.5-yarn", $$"""
            {"architectures": ["Qwen2ForCausalLM"], {{Sizes}}, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "use_sliding_window": false, "sliding_window": 16, "max_window_layers": 1,
             "rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 24, "type": "yarn"} }
            """,
            (w, tokens) => Llama(w, tokens, Yarn(1000000, 4, 24), ropeScale: 1 + (0.1 * Math.Log(4)), epsilon: 1e-6, qkvBias: true)),
        new("Mistral", $$"""{"architectures": ["MistralForCausalLM"], {{Sizes}}, "rms_norm_eps": 1e-5, "head_dim": 24, "sliding_window": 12}""",
            (w, tokens) => Llama(w, tokens, Frequencies(10000, 24), window: _ => 12, headDim: 24)),
        new("Qwen2", $$"""
            {"architectures": ["Qwen2ForCausalLM"], {{Sizes}}, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "tie_word_embeddings": true,
             "use_sliding_window": true, "sliding_window": 10, "max_window_layers": 1}
            """,
            (w, tokens) => Llama(w, tokens, Frequencies(1000000, HeadDim), epsilon: 1e-6, qkvBias: true, tied: true, window: layer => layer >= 1 ? 10 : int.MaxValue)),
        new("Qwen3", $$"""{"architectures": ["Qwen3ForCausalLM"], {{Sizes}}, "head_dim": 24, "rms_norm_eps": 1e-6, "rope_theta": 1000000, "tie_word_embeddings": true}""",
            (w, tokens) => Llama(w, tokens, Frequencies(1000000, 24), epsilon: 1e-6, headDim: 24, headNorms: true, tied: true)),
        new("SmolLM3", $$"""
            {"architectures": ["SmolLM3ForCausalLM"], "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 258,
             "max_position_embeddings": 96, "rms_norm_eps": 1e-6, "rope_theta": 5000000.0, "no_rope_layer_interval": 4, "no_rope_layers": [1, 1, 1, 0], "use_sliding_window": false}
            """,
            (w, tokens) => Llama(w, tokens, Frequencies(5000000, HeadDim), epsilon: 1e-6, tied: true, layers: 4, turns: layer => layer != 3)),
        new("Granite", $$"""
            {"architectures": ["GraniteForCausalLM"], {{Sizes}}, "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
             "embedding_multiplier": 3.0, "residual_multiplier": 0.22, "attention_multiplier": 0.125, "logits_scaling": 2.0}
            """,
            (w, tokens) => Scale(Llama(w, tokens, Frequencies(10000, HeadDim), tied: true, embedding: 3, residual: 0.22, scale: 0.125), 1 / 2.0)),
        new("Mixtral", MixtralOf(each: 2), (w, tokens) => Mixtral(w, tokens, each: 2)),
        new("Mixtral-every-expert", MixtralOf(each: 4), (w, tokens) => Mixtral(w, tokens, each: 4)),
        new("Qwen3Moe", $$"""
            {"architectures": ["Qwen3MoeForCausalLM"], {{Sizes}}, "head_dim": 16, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "num_experts": 8, "num_experts_per_tok": 3,
             "moe_intermediate_size": 32, "norm_topk_prob": false, "decoder_sparse_step": 1, "mlp_only_layers": []}
            """,
            (w, tokens) => Llama(w, tokens, Frequencies(1000000, HeadDim), epsilon: 1e-6, headNorms: true, mlp: (x, p) => Experts(
                x, w.Matrix(p + "mlp.gate.weight", 8, Width), 3, false, (e, row) => Gated(w, row, p + $"mlp.experts.{e}.", "gate_proj", "up_proj", "down_proj", 32)))),
        new("Gemma", $$"""
            {"architectures": ["GemmaForCausalLM"], {{Sizes}}, "head_dim": 24, "rms_norm_eps": 1e-6, "hidden_act": "gelu", "hidden_activation": null}
            """,
            (w, tokens) => Gemma(w, tokens, 1)),
        new("Gemma2", $$"""
            {"architectures": ["Gemma2ForCausalLM"], "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 258,
             "max_position_embeddings": 96, "head_dim": 24, "rms_norm_eps": 1e-6, "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 20, "attn_logit_softcapping": 5.0,
             "final_logit_softcapping": 3.0, "sliding_window": 9}
            """,
            (w, tokens) => Cap(Gemma(w, tokens, 2, layers: 3), 3)),
        new("Gemma3", $$"""
            {"architectures": ["Gemma3ForCausalLM"], "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 258,
             "max_position_embeddings": 96, "head_dim": 24, "rms_norm_eps": 1e-6, "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 20, "rope_theta": 1000000.0,
             "rope_local_base_freq": 10000.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0}, "sliding_window": 9, "sliding_window_pattern": 3,
             "attn_logit_softcapping": null, "final_logit_softcapping": null}
            """,
            (w, tokens) => Gemma(w, tokens, 3, layers: 4)),
        new("Phi3", $$"""
            {"architectures": ["Phi3ForCausalLM"], {{Sizes}}, "rms_norm_eps": 1e-5, "hidden_act": "silu", "sliding_window": 11, "rope_scaling": null, "original_max_position_embeddings": 96}
            """,
            (w, tokens) => Phi3(w, tokens, Frequencies(10000, HeadDim), 1, 11)),
        new("Phi4-mini-longrope", $$"""
            {"architectures": ["Phi3ForCausalLM"], {{Shape}}, "max_position_embeddings": 384, "rms_norm_eps": 1e-5, "sliding_window": null, "partial_rotary_factor": 0.75,
             "original_max_position_embeddings": 96, "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.1, 1.25, 1.5, 2.0, 3.0], "long_factor": [1, 2, 3, 5, 9, 17]} }
            """,
            (w, tokens) => Phi3(
                w, tokens, [.. Frequencies(10000, 12).Zip([1.0, 1.1, 1.25, 1.5, 2.0, 3.0], (f, by) => f / by)], Math.Sqrt(1 + (Math.Log(384 / 96.0) / Math.Log(96))), int.MaxValue)),
        new("Phi3.5-longrope-long", $$"""
            {"architectures": ["Phi3ForCausalLM"], {{Shape}}, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "sliding_window": 262144, "original_max_position_embeddings": 32,
             "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.0, 1.1, 1.2, 1.4, 1.8, 2.0, 2.0], "long_factor": [1, 1.1, 1.3, 2, 4, 9, 14, 16]} }
            """,
            (w, tokens) => Phi3(
                w, tokens, [.. Frequencies(10000, HeadDim).Zip([1, 1.1, 1.3, 2, 4, 9, 14, 16], (f, by) => f / by)], Math.Sqrt(1 + (Math.Log(512 / 32.0) / Math.Log(32))), int.MaxValue))
        {
            Context = 200,
        },
        new("Olmo2", $$"""{"architectures": ["Olmo2ForCausalLM"], {{Sizes}}, "rms_norm_eps": 1e-6, "rope_theta": 500000}""", Olmo2),
        new("Starcoder2", $$"""
            {"architectures": ["Starcoder2ForCausalLM"], {{Sizes}}, "norm_epsilon": 1e-5, "hidden_act": "gelu_pytorch_tanh", "use_bias": true, "rope_theta": 100000, "sliding_window": 14}
            """, Starcoder2),
        new("StableLM", $$"""
            {"architectures": ["StableLmForCausalLM"], {{Sizes}}, "layer_norm_eps": 1e-5, "partial_rotary_factor": 0.25, "use_qkv_bias": true, "use_parallel_residual": false, "qk_layernorm": false}
            """,
            (w, tokens) => StableLm(w, tokens, parallel: false)),
        new("StableLM-parallel", $$"""
            {"architectures": ["StableLmForCausalLM"], {{Sizes}}, "layer_norm_eps": 1e-5, "partial_rotary_factor": 0.25, "use_qkv_bias": true, "use_parallel_residual": true}
            """,
            (w, tokens) => StableLm(w, tokens, parallel: true)),
        new("StableLM-12b", $$"""
            {"architectures": ["StableLmForCausalLM"], {{Sizes}}, "layer_norm_eps": 1e-5, "partial_rotary_factor": 0.25, "use_qkv_bias": false, "use_parallel_residual": true, "qk_layernorm": true}
            """,
            (w, tokens) => StableLm(w, tokens, parallel: true, bias: false, headNorms: true)),
        new("Pythia", $$"""
            {"architectures": ["GPTNeoXForCausalLM"], "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 258,
             "max_position_embeddings": 96, "layer_norm_eps": 1e-5, "rotary_pct": 0.25, "rotary_emb_base": 10000, "hidden_act": "gelu", "use_parallel_residual": true}
            """,
            (w, tokens) => GptNeoX(w, tokens, parallel: true)),
        new("GPT-NeoX-sequential", $$"""
            {"architectures": ["GPTNeoXForCausalLM"], "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 258,
             "max_position_embeddings": 96, "layer_norm_eps": 1e-5, "rotary_pct": 0.25, "rotary_emb_base": 10000, "hidden_act": "gelu", "use_parallel_residual": false}
            """,
            (w, tokens) => GptNeoX(w, tokens, parallel: false)),
        new("GPT-2", """
            {"architectures": ["GPT2LMHeadModel"], "n_embd": 64, "n_head": 4, "n_layer": 2, "n_positions": 96, "n_ctx": 96, "n_inner": null, "vocab_size": 258,
             "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new"}
            """, Gpt2),
        new("OPT", """
            {"architectures": ["OPTForCausalLM"], "hidden_size": 64, "ffn_dim": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 258, "max_position_embeddings": 96,
             "word_embed_proj_dim": 64, "do_layer_norm_before": true, "activation_function": "relu", "_remove_final_layer_norm": false}
            """, (w, tokens) => Opt(w, tokens)),
        new("OPT-350m", """
            {"architectures": ["OPTForCausalLM"], "hidden_size": 64, "ffn_dim": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 258, "max_position_embeddings": 96,
             "word_embed_proj_dim": 40, "do_layer_norm_before": false, "activation_function": "relu", "_remove_final_layer_norm": false}
            """, (w, tokens) => Opt(w, tokens, embedding: 40, before: false)),
        new("OPT-without-last-norm", """
            {"architectures": ["OPTForCausalLM"], "hidden_size": 64, "ffn_dim": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 258, "max_position_embeddings": 96,
             "word_embed_proj_dim": 64, "do_layer_norm_before": true, "activation_function": "relu", "_remove_final_layer_norm": true}
            """, (w, tokens) => Opt(w, tokens, last: false)),
        new("Falcon-7b", """
            {"architectures": ["FalconForCausalLM"], "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_kv_heads": 4, "vocab_size": 258, "alibi": false, "bias": false,
             "multi_query": true, "parallel_attn": true, "new_decoder_architecture": false, "layer_norm_epsilon": 1e-5, "max_position_embeddings": 96}
            """,
            (w, tokens) => Falcon(w, tokens, keyHeads: 1, norms: 1)),
        new("Falcon-40b", """
            {"architectures": ["FalconForCausalLM"], "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_kv_heads": 2, "vocab_size": 258, "alibi": false, "bias": false,
             "multi_query": true, "parallel_attn": true, "new_decoder_architecture": true, "layer_norm_epsilon": 1e-5, "max_position_embeddings": 96}
            """,
            (w, tokens) => Falcon(w, tokens, keyHeads: 2, norms: 2)),
        new("Cohere", CohereOf("false"), (w, tokens) => Cohere(w, tokens, headNorms: false)),
        new("Command-R-plus", CohereOf("true"), (w, tokens) => Cohere(w, tokens, headNorms: true)),
        .. Variations,
        .. WithAlibi,
        .. WithBiasedHeads,
        .. OfExperts,
    ];

    /// <summary>For the test's name.</summary>
    public override string ToString() => Name;

    private static double[][] Embed(float[] table, int[] tokens, int width) => [.. tokens.Select(token => table[(token * width)..((token + 1) * width)].Select(v => (double)v).ToArray())];

    private static double[][] Gated(Checkpoint w, double[][] x, string prefix, string gate, string up, string down, int inner) => Linear(
        Times(Silu(Linear(x, w.Matrix(prefix + gate + ".weight", inner, Width))), Linear(x, w.Matrix(prefix + up + ".weight", inner, Width))),
        w.Matrix(prefix + down + ".weight", Width, inner));

    private static string MixtralOf(int each) => $$"""
        {"architectures": ["MixtralForCausalLM"], {{Sizes}}, "rms_norm_eps": 1e-5, "rope_theta": 1000000.0, "sliding_window": null, "num_local_experts": 4, "num_experts_per_tok": {{each}}}
        """;

    // Jiang et al., 2024.
    private static double[][] Mixtral(Checkpoint w, int[] tokens, int each) => Llama(w, tokens, Frequencies(1000000, HeadDim), mlp: (x, p) => Experts(
        x, w.Matrix(p + "block_sparse_moe.gate.weight", 4, Width), each, true, (e, row) => Gated(w, row, p + $"block_sparse_moe.experts.{e}.", "w1", "w3", "w2", Mlp)));

    // Touvron et al., 2023, and what is that but for a part.
    private static double[][] Llama(
        Checkpoint w, int[] tokens, double[] frequencies, double epsilon = 1e-5, bool biases = false, bool qkvBias = false, bool headNorms = false, bool tied = false, int headDim = HeadDim,
        int layers = Layers, double ropeScale = 1, Func<int, int>? window = null, Func<int, bool>? turns = null, double embedding = 1, double residual = 1, double? scale = null,
        Func<double[][], string, double[][]>? mlp = null, bool wholeNorms = false)
    {
        float[] table = w.Table("model.embed_tokens.weight", Vocabulary, Width);
        double[][] x = Scale(Embed(table, tokens, Width), embedding);
        for (int layer = 0; layer < layers; layer++)
        {
            string p = $"model.layers.{layer}.";
            double[][] Project(double[][] from, string name, int outputs, int inputs, bool bias) =>
                Linear(from, w.Matrix(p + name + ".weight", outputs, inputs), bias ? w.Vector(p + name + ".bias", outputs, 0) : null);
            double[][] h = Rms(x, w.Vector(p + "input_layernorm.weight", Width, 1), epsilon);
            double[][] q = Project(h, "self_attn.q_proj", Heads * headDim, Width, biases || qkvBias);
            double[][] k = Project(h, "self_attn.k_proj", KvHeads * headDim, Width, biases || qkvBias);
            double[][] v = Project(h, "self_attn.v_proj", KvHeads * headDim, Width, biases || qkvBias);
            if (headNorms)
            {
                q = RmsHeads(q, w.Vector(p + "self_attn.q_norm.weight", headDim, 1), epsilon);
                k = RmsHeads(k, w.Vector(p + "self_attn.k_norm.weight", headDim, 1), epsilon);
            }

            if (wholeNorms)
            {
                q = Rms(q, w.Vector(p + "self_attn.q_norm.weight", Heads * headDim, 1), epsilon);
                k = Rms(k, w.Vector(p + "self_attn.k_norm.weight", KvHeads * headDim, 1), epsilon);
            }

            if (turns?.Invoke(layer) != false) (q, k) = (Rotate(q, headDim, frequencies, ropeScale), Rotate(k, headDim, frequencies, ropeScale));
            double[][] attended = Attention(q, k, v, headDim, scale, window?.Invoke(layer) ?? int.MaxValue);
            x = Add(x, Scale(Project(attended, "self_attn.o_proj", Width, Heads * headDim, biases), residual));
            h = Rms(x, w.Vector(p + "post_attention_layernorm.weight", Width, 1), epsilon);
            double[][] made = mlp is not null ? mlp(h, p) : Project(
                Times(Silu(Project(h, "mlp.gate_proj", Mlp, Width, biases)), Project(h, "mlp.up_proj", Mlp, Width, biases)), "mlp.down_proj", Width, Mlp, biases);
            x = Add(x, Scale(made, residual));
        }

        x = Rms(x, w.Vector("model.norm.weight", Width, 1), epsilon);
        return Linear(x, tied ? table : w.Matrix("lm_head.weight", Vocabulary, Width));
    }

    // The wavelengths between a half and all of the original context are mixed: Llama 3.1's published rule for factor 8, factors 1 and 4, here for a context of 32.
    private static double Llama3(double frequency)
    {
        double wavelength = 2 * Math.PI / frequency;
        if (wavelength < 32 / 4.0) return frequency;
        if (wavelength > 32 / 1.0) return frequency / 8;
        double smooth = ((32 / wavelength) - 1) / (4 - 1);
        return ((1 - smooth) * frequency / 8) + (smooth * frequency);
    }

    // Peng et al., 2023, section 3.2, with 32 and 1 rotations.
    private static double[] Yarn(double theta, double factor, double context, bool truncate = true)
    {
        double Dimension(double rotations) => HeadDim * Math.Log(context / (2 * Math.PI * rotations)) / (2 * Math.Log(theta));
        double low = Dimension(32), high = Dimension(1);
        if (truncate) (low, high) = (Math.Floor(low), Math.Ceiling(high));
        (low, high) = (Math.Max(0, low), Math.Min(HeadDim - 1, high));
        return [.. Frequencies(theta, HeadDim).Select((frequency, i) =>
        {
            double ramp = Math.Clamp((i - low) / (high - low), 0, 1);
            return (frequency * (1 - ramp)) + (frequency / factor * ramp);
        })];
    }

    // Gemma 1, 2 and 3: technical reports of 2024 and 2025.
    private static double[][] Gemma(Checkpoint w, int[] tokens, int version, int layers = Layers)
    {
        const int headDim = 24;
        const double epsilon = 1e-6;
        float[] table = w.Table("model.embed_tokens.weight", Vocabulary, Width);
        double[][] x = Scale(Embed(table, tokens, Width), Math.Sqrt(Width));
        for (int layer = 0; layer < layers; layer++)
        {
            string p = $"model.layers.{layer}.";
            double[][] Norm(double[][] from, string name) => Rms(from, w.Vector(p + name + ".weight", Width, 0), epsilon, offset: 1);
            double[][] Project(double[][] from, string name, int outputs, int inputs) => Linear(from, w.Matrix(p + name + ".weight", outputs, inputs));
            // Gemma 2: every other layer, beginning with the first; Gemma 3: all but every third, here.
            bool local = version == 2 ? layer % 2 == 0 : version == 3 && layer % 3 != 2;
            double[] frequencies = version == 3 && !local ? [.. Frequencies(1000000, headDim).Select(f => f / 8)] : Frequencies(10000, headDim);
            double[][] h = Norm(x, "input_layernorm");
            double[][] q = Project(h, "self_attn.q_proj", Heads * headDim, Width), k = Project(h, "self_attn.k_proj", KvHeads * headDim, Width);
            double[][] v = Project(h, "self_attn.v_proj", KvHeads * headDim, Width);
            if (version == 3)
            {
                q = RmsHeads(q, w.Vector(p + "self_attn.q_norm.weight", headDim, 0), epsilon, offset: 1);
                k = RmsHeads(k, w.Vector(p + "self_attn.k_norm.weight", headDim, 0), epsilon, offset: 1);
            }

            double[][] attended = Attention(
                Rotate(q, headDim, frequencies), Rotate(k, headDim, frequencies), v, headDim, 1 / Math.Sqrt(version == 1 ? headDim : 20), local ? 9 : int.MaxValue, version == 2 ? 5 : 0);
            double[][] made = Project(attended, "self_attn.o_proj", Width, Heads * headDim);
            x = Add(x, version == 1 ? made : Norm(made, "post_attention_layernorm"));
            h = Norm(x, version == 1 ? "post_attention_layernorm" : "pre_feedforward_layernorm");
            made = Project(Times(GeluTanh(Project(h, "mlp.gate_proj", Mlp, Width)), Project(h, "mlp.up_proj", Mlp, Width)), "mlp.down_proj", Width, Mlp);
            x = Add(x, version == 1 ? made : Norm(made, "post_feedforward_layernorm"));
        }

        return Linear(Rms(x, w.Vector("model.norm.weight", Width, 0), epsilon, offset: 1), table);
    }

    // Abdin et al., 2024.
    private static double[][] Phi3(Checkpoint w, int[] tokens, double[] frequencies, double ropeScale, int window)
    {
        const int queries = Heads * HeadDim, keys = KvHeads * HeadDim;
        double[][] x = Embed(w.Table("model.embed_tokens.weight", Vocabulary, Width), tokens, Width);
        for (int layer = 0; layer < Layers; layer++)
        {
            string p = $"model.layers.{layer}.";
            double[][] qkv = Linear(Rms(x, w.Vector(p + "input_layernorm.weight", Width, 1), 1e-5), w.Matrix(p + "self_attn.qkv_proj.weight", queries + (2 * keys), Width));
            double[][] q = Rotate(Columns(qkv, 0, queries), HeadDim, frequencies, ropeScale), k = Rotate(Columns(qkv, queries, keys), HeadDim, frequencies, ropeScale);
            x = Add(x, Linear(Attention(q, k, Columns(qkv, queries + keys, keys), HeadDim, window: window), w.Matrix(p + "self_attn.o_proj.weight", Width, queries)));
            double[][] both = Linear(Rms(x, w.Vector(p + "post_attention_layernorm.weight", Width, 1), 1e-5), w.Matrix(p + "mlp.gate_up_proj.weight", 2 * Mlp, Width));
            x = Add(x, Linear(Times(Columns(both, Mlp, Mlp), Silu(Columns(both, 0, Mlp))), w.Matrix(p + "mlp.down_proj.weight", Width, Mlp)));
        }

        return Linear(Rms(x, w.Vector("model.norm.weight", Width, 1), 1e-5), w.Matrix("lm_head.weight", Vocabulary, Width));
    }

    // 2 OLMo 2 Furious, 2025.
    private static double[][] Olmo2(Checkpoint w, int[] tokens)
    {
        const int queries = Heads * HeadDim, keys = KvHeads * HeadDim;
        double[] frequencies = Frequencies(500000, HeadDim);
        double[][] x = Embed(w.Table("model.embed_tokens.weight", Vocabulary, Width), tokens, Width);
        for (int layer = 0; layer < Layers; layer++)
        {
            string p = $"model.layers.{layer}.";
            double[][] q = Rms(Linear(x, w.Matrix(p + "self_attn.q_proj.weight", queries, Width)), w.Vector(p + "self_attn.q_norm.weight", queries, 1), 1e-6);
            double[][] k = Rms(Linear(x, w.Matrix(p + "self_attn.k_proj.weight", keys, Width)), w.Vector(p + "self_attn.k_norm.weight", keys, 1), 1e-6);
            double[][] v = Linear(x, w.Matrix(p + "self_attn.v_proj.weight", keys, Width));
            double[][] made = Linear(Attention(Rotate(q, HeadDim, frequencies), Rotate(k, HeadDim, frequencies), v, HeadDim), w.Matrix(p + "self_attn.o_proj.weight", Width, queries));
            x = Add(x, Rms(made, w.Vector(p + "post_attention_layernorm.weight", Width, 1), 1e-6));
            made = Gated(w, x, p + "mlp.", "gate_proj", "up_proj", "down_proj", Mlp);
            x = Add(x, Rms(made, w.Vector(p + "post_feedforward_layernorm.weight", Width, 1), 1e-6));
        }

        return Linear(Rms(x, w.Vector("model.norm.weight", Width, 1), 1e-6), w.Matrix("lm_head.weight", Vocabulary, Width));
    }

    // Lozhkov et al., 2024.
    private static double[][] Starcoder2(Checkpoint w, int[] tokens)
    {
        double[] frequencies = Frequencies(100000, HeadDim);
        float[] table = w.Table("model.embed_tokens.weight", Vocabulary, Width);
        double[][] x = Embed(table, tokens, Width);
        for (int layer = 0; layer < Layers; layer++)
        {
            string p = $"model.layers.{layer}.";
            double[][] Norm(double[][] from, string name) => LayerNorm(from, w.Vector(p + name + ".weight", Width, 1), w.Vector(p + name + ".bias", Width, 0), 1e-5);
            double[][] Project(double[][] from, string name, int outputs, int inputs) => Linear(from, w.Matrix(p + name + ".weight", outputs, inputs), w.Vector(p + name + ".bias", outputs, 0));
            double[][] h = Norm(x, "input_layernorm");
            double[][] q = Rotate(Project(h, "self_attn.q_proj", Heads * HeadDim, Width), HeadDim, frequencies);
            double[][] k = Rotate(Project(h, "self_attn.k_proj", KvHeads * HeadDim, Width), HeadDim, frequencies);
            double[][] v = Project(h, "self_attn.v_proj", KvHeads * HeadDim, Width);
            x = Add(x, Project(Attention(q, k, v, HeadDim, window: 14), "self_attn.o_proj", Width, Heads * HeadDim));
            x = Add(x, Project(GeluTanh(Project(Norm(x, "post_attention_layernorm"), "mlp.c_fc", Mlp, Width)), "mlp.c_proj", Width, Mlp));
        }

        return Linear(LayerNorm(x, w.Vector("model.norm.weight", Width, 1), w.Vector("model.norm.bias", Width, 0), 1e-5), table);
    }

    // Bellagente et al., 2024.
    private static double[][] StableLm(Checkpoint w, int[] tokens, bool parallel, bool bias = true, bool headNorms = false)
    {
        // A quarter of each head.
        double[] frequencies = Frequencies(10000, HeadDim / 4);
        double[][] x = Embed(w.Table("model.embed_tokens.weight", Vocabulary, Width), tokens, Width);
        for (int layer = 0; layer < Layers; layer++)
        {
            string p = $"model.layers.{layer}.";
            double[][] Norm(double[][] from, string name) => LayerNorm(from, w.Vector(p + name + ".weight", Width, 1), w.Vector(p + name + ".bias", Width, 0), 1e-5);
            double[][] Project(double[][] from, string name, int outputs) => Linear(from, w.Matrix(p + name + ".weight", outputs, Width), bias ? w.Vector(p + name + ".bias", outputs, 0) : null);
            // Of each head by itself: a module each, without a bias.
            double[][] HeadNorm(double[][] from, string name) => !headNorms ? from : Each(
                from, row => [.. row.Chunk(HeadDim).SelectMany((head, i) => LayerNorm([head], w.Vector(p + $"self_attn.{name}.norms.{i}.weight", HeadDim, 1), null, 1e-5)[0])]);
            double[][] h = Norm(x, "input_layernorm");
            double[][] q = Rotate(HeadNorm(Project(h, "self_attn.q_proj", Heads * HeadDim), "q_layernorm"), HeadDim, frequencies);
            double[][] k = Rotate(HeadNorm(Project(h, "self_attn.k_proj", KvHeads * HeadDim), "k_layernorm"), HeadDim, frequencies);
            double[][] attended = Attention(q, k, Project(h, "self_attn.v_proj", KvHeads * HeadDim), HeadDim);
            double[][] after = Add(x, Linear(attended, w.Matrix(p + "self_attn.o_proj.weight", Width, Heads * HeadDim)));
            x = Add(after, Gated(w, parallel ? h : Norm(after, "post_attention_layernorm"), p + "mlp.", "gate_proj", "up_proj", "down_proj", Mlp));
        }

        return Linear(LayerNorm(x, w.Vector("model.norm.weight", Width, 1), w.Vector("model.norm.bias", Width, 0), 1e-5), w.Matrix("lm_head.weight", Vocabulary, Width));
    }

    // Black et al., 2022.
    private static double[][] GptNeoX(Checkpoint w, int[] tokens, bool parallel)
    {
        double[] frequencies = Frequencies(10000, HeadDim / 4);
        double[][] x = Embed(w.Table("gpt_neox.embed_in.weight", Vocabulary, Width), tokens, Width);
        for (int layer = 0; layer < Layers; layer++)
        {
            string p = $"gpt_neox.layers.{layer}.";
            double[][] Norm(double[][] from, string name) => LayerNorm(from, w.Vector(p + name + ".weight", Width, 1), w.Vector(p + name + ".bias", Width, 0), 1e-5);
            double[][] Project(double[][] from, string name, int outputs, int inputs) => Linear(from, w.Matrix(p + name + ".weight", outputs, inputs), w.Vector(p + name + ".bias", outputs, 0));
            double[][] qkv = Project(Norm(x, "input_layernorm"), "attention.query_key_value", 3 * Width, Width);
            // [heads, 3, headDim].
            double[][] Part(int part) => Each(qkv, row => [.. row.Chunk(3 * HeadDim).SelectMany(head => head[(part * HeadDim)..((part + 1) * HeadDim)])]);
            double[][] attended = Project(
                Attention(Rotate(Part(0), HeadDim, frequencies), Rotate(Part(1), HeadDim, frequencies), Part(2), HeadDim), "attention.dense", Width, Width);
            double[][] after = Add(x, attended);
            double[][] h = Norm(parallel ? x : after, "post_attention_layernorm");
            x = Add(after, Project(Gelu(Project(h, "mlp.dense_h_to_4h", Mlp, Width)), "mlp.dense_4h_to_h", Width, Mlp));
        }

        x = LayerNorm(x, w.Vector("gpt_neox.final_layer_norm.weight", Width, 1), w.Vector("gpt_neox.final_layer_norm.bias", Width, 0), 1e-5);
        return Linear(x, w.Matrix("embed_out.weight", Vocabulary, Width));
    }

    // Radford et al., 2019. The hub's own files lack the first part of the names.
    private static double[][] Gpt2(Checkpoint w, int[] tokens)
    {
        float[] table = w.Table("wte.weight", Vocabulary, Width), positions = w.Table("wpe.weight", 96, Width);
        double[][] x = Add(Embed(table, tokens, Width), Embed(positions, [.. Enumerable.Range(0, tokens.Length)], Width));
        for (int layer = 0; layer < Layers; layer++)
        {
            string p = $"h.{layer}.";
            double[][] Norm(double[][] from, string name) => LayerNorm(from, w.Vector(p + name + ".weight", Width, 1), w.Vector(p + name + ".bias", Width, 0), 1e-5);
            double[][] Project(double[][] from, string name, int inputs, int outputs) => Conv1D(from, w.Matrix(p + name + ".weight", inputs, outputs), w.Vector(p + name + ".bias", outputs, 0));
            double[][] qkv = Project(Norm(x, "ln_1"), "attn.c_attn", Width, 3 * Width);
            double[][] attended = Attention(Columns(qkv, 0, Width), Columns(qkv, Width, Width), Columns(qkv, 2 * Width, Width), HeadDim);
            x = Add(x, Project(attended, "attn.c_proj", Width, Width));
            x = Add(x, Project(GeluTanh(Project(Norm(x, "ln_2"), "mlp.c_fc", Width, 4 * Width)), "mlp.c_proj", 4 * Width, Width));
        }

        return Linear(LayerNorm(x, w.Vector("ln_f.weight", Width, 1), w.Vector("ln_f.bias", Width, 0), 1e-5), table);
    }

    // Zhang et al., 2022.
    private static double[][] Opt(Checkpoint w, int[] tokens, int embedding = Width, bool before = true, bool last = true)
    {
        const string d = "model.decoder.";
        float[] table = w.Table(d + "embed_tokens.weight", Vocabulary, embedding), positions = w.Table(d + "embed_positions.weight", 96 + 2, Width);
        double[][] x = Embed(table, tokens, embedding);
        if (embedding != Width) x = Linear(x, w.Matrix(d + "project_in.weight", Width, embedding));
        x = Add(x, Embed(positions, [.. Enumerable.Range(2, tokens.Length)], Width));
        for (int layer = 0; layer < Layers; layer++)
        {
            string p = $"{d}layers.{layer}.";
            double[][] Norm(double[][] from, string name) => LayerNorm(from, w.Vector(p + name + ".weight", Width, 1), w.Vector(p + name + ".bias", Width, 0), 1e-5);
            double[][] Project(double[][] from, string name, int outputs, int inputs) => Linear(from, w.Matrix(p + name + ".weight", outputs, inputs), w.Vector(p + name + ".bias", outputs, 0));
            double[][] h = before ? Norm(x, "self_attn_layer_norm") : x;
            double[][] attended = Attention(Project(h, "self_attn.q_proj", Width, Width), Project(h, "self_attn.k_proj", Width, Width), Project(h, "self_attn.v_proj", Width, Width), HeadDim);
            x = Add(x, Project(attended, "self_attn.out_proj", Width, Width));
            if (!before) x = Norm(x, "self_attn_layer_norm");
            x = Add(x, Project(Relu(Project(before ? Norm(x, "final_layer_norm") : x, "fc1", Mlp, Width)), "fc2", Width, Mlp));
            if (!before) x = Norm(x, "final_layer_norm");
        }

        if (before && last) x = LayerNorm(x, w.Vector(d + "final_layer_norm.weight", Width, 1), w.Vector(d + "final_layer_norm.bias", Width, 0), 1e-5);
        return Linear(embedding == Width ? x : Linear(x, w.Matrix(d + "project_out.weight", embedding, Width)), table);
    }

    // Almazrouei et al., 2023.
    private static double[][] Falcon(Checkpoint w, int[] tokens, int keyHeads, int norms)
    {
        int shared = Heads / keyHeads;
        double[] frequencies = Frequencies(10000, HeadDim);
        float[] table = w.Table("transformer.word_embeddings.weight", Vocabulary, Width);
        double[][] x = Embed(table, tokens, Width);
        for (int layer = 0; layer < Layers; layer++)
        {
            string p = $"transformer.h.{layer}.";
            double[][] Norm(double[][] from, string name) => LayerNorm(from, w.Vector(p + name + ".weight", Width, 1), w.Vector(p + name + ".bias", Width, 0), 1e-5);
            double[][] Project(double[][] from, string name, int outputs, int inputs) => Linear(from, w.Matrix(p + name + ".weight", outputs, inputs));
            double[][] h = Norm(x, norms == 2 ? "ln_attn" : "input_layernorm"), g = norms == 2 ? Norm(x, "ln_mlp") : h;
            double[][] qkv = Project(h, "self_attention.query_key_value", (Heads + (2 * keyHeads)) * HeadDim, Width);
            // [keyHeads, shared + 2, headDim].
            double[][] Part(int first, int count) => Each(qkv, row => [.. row.Chunk((shared + 2) * HeadDim).SelectMany(group => group[(first * HeadDim)..((first + count) * HeadDim)])]);
            double[][] q = Rotate(Part(0, shared), HeadDim, frequencies), k = Rotate(Part(shared, 1), HeadDim, frequencies);
            double[][] attended = Project(Attention(q, k, Part(shared + 1, 1), HeadDim), "self_attention.dense", Width, Width);
            x = Add(Add(x, attended), Project(Gelu(Project(g, "mlp.dense_h_to_4h", 4 * Width, Width)), "mlp.dense_4h_to_h", Width, 4 * Width));
        }

        return Linear(LayerNorm(x, w.Vector("transformer.ln_f.weight", Width, 1), w.Vector("transformer.ln_f.bias", Width, 0), 1e-5), table);
    }

    private static string CohereOf(string norms) =>
        $$"""{"architectures": ["CohereForCausalLM"], {{Sizes}}, "layer_norm_eps": 1e-5, "logit_scale": 0.25, "use_qk_norm": {{norms}}, "rope_theta": 10000.0}""";

    // Cohere's Command R and R+, 2024.
    private static double[][] Cohere(Checkpoint w, int[] tokens, bool headNorms)
    {
        double[] frequencies = Frequencies(10000, HeadDim);
        float[] table = w.Table("model.embed_tokens.weight", Vocabulary, Width);
        double[][] x = Embed(table, tokens, Width);
        for (int layer = 0; layer < Layers; layer++)
        {
            string p = $"model.layers.{layer}.";
            double[][] h = LayerNorm(x, w.Vector(p + "input_layernorm.weight", Width, 1), null, 1e-5);
            // Of each head by itself: one tensor [heads, headDim].
            double[][] Turned(string name, int heads)
            {
                double[][] projected = Linear(h, w.Matrix(p + $"self_attn.{name}_proj.weight", heads * HeadDim, Width));
                float[][] norms = headNorms ? [.. w.Matrix(p + $"self_attn.{name}_norm.weight", heads, HeadDim).Chunk(HeadDim)] : [];
                double[][] normed = headNorms ? Each(projected, row => [.. row.Chunk(HeadDim).SelectMany((head, i) => LayerNorm([head], norms[i], null, 1e-5)[0])]) : projected;
                return Rotate(normed, HeadDim, frequencies, neighbours: true);
            }

            double[][] q = Turned("q", Heads), k = Turned("k", KvHeads);
            double[][] v = Linear(h, w.Matrix(p + "self_attn.v_proj.weight", KvHeads * HeadDim, Width));
            double[][] attended = Linear(Attention(q, k, v, HeadDim), w.Matrix(p + "self_attn.o_proj.weight", Width, Heads * HeadDim));
            x = Add(Add(x, attended), Gated(w, h, p + "mlp.", "gate_proj", "up_proj", "down_proj", Mlp));
        }

        return Scale(Linear(LayerNorm(x, w.Vector("model.norm.weight", Width, 1), null, 1e-5), table), 0.25);
    }
}
