using static QuantBuild.Quantization.Tests.Families.ReferenceMath;

namespace QuantBuild.Quantization.Tests.Families;

/// <summary>Families that put parts of others together in another way: one decoder for all of them, each part as its family's published configuration has it.</summary>
internal sealed partial record FamilyReference
{
    private const string TextSizes = $$"""{{Shape}}, "max_position_embeddings": 96, "rms_norm_eps": 1e-6 """;

    private static IEnumerable<FamilyReference> Variations =>
    [
        // The language models of models that see images: their configurations apart, and their tensors under both prefixes that are in use.
        new("Gemma3-with-vision", """
            {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "eos_token_id": [1, 106], "mm_tokens_per_image": 256,
             "text_config": {"model_type": "gemma3_text", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 258,
              "max_position_embeddings": 96, "head_dim": 24, "query_pre_attn_scalar": 20, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 9, "sliding_window_pattern": 3},
             "vision_config": {"hidden_size": 1152, "num_attention_heads": 16, "num_hidden_layers": 27} }
            """,
            (w, tokens) => Gemma(w.Within("language_model."), tokens, 3, layers: 4)),
        new("Mistral3-with-vision", $$"""
            {"architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3", "vision_config": {"hidden_size": 1024},
             "text_config": {"model_type": "mistral", {{Sizes}}, "head_dim": 24, "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 1000000000.0, "sliding_window": null} }
            """,
            (w, tokens) => Llama(w.Within("language_model."), tokens, Frequencies(1000000000, 24), headDim: 24)),
        new("Qwen2.5-VL", $$"""
            {"architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl", {{TextSizes}}, "rope_theta": 1000000.0, "use_sliding_window": false, "sliding_window": 16,
             "max_window_layers": 1, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}, "vision_config": {"hidden_size": 1280} }
            """,
            (w, tokens) => Llama(w, tokens, Frequencies(1000000, HeadDim), epsilon: 1e-6, qkvBias: true)),
        new("Qwen3-VL", $$"""
            {"architectures": ["Qwen3VLForConditionalGeneration"], "model_type": "qwen3_vl", "tie_word_embeddings": true, "vision_config": {"hidden_size": 1024},
             "text_config": {"model_type": "qwen3_vl_text", {{TextSizes}}, "head_dim": 24, "rope_theta": 5000000,
              "rope_scaling": {"mrope_interleaved": true, "mrope_section": [4, 4, 4], "rope_type": "default"} } }
            """,
            (w, tokens) => Llama(w.Within("model.language_model.", "model."), tokens, Frequencies(5000000, 24), epsilon: 1e-6, headDim: 24, headNorms: true, tied: true)),
        new("Olmo3", $$"""
            {"architectures": ["Olmo3ForCausalLM"], "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 258,
             "max_position_embeddings": 96, "rms_norm_eps": 1e-6, "rope_theta": 500000, "sliding_window": 9,
             "layer_types": ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"],
             "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 24, "attention_factor": 1.2, "beta_fast": 32, "beta_slow": 1} }
            """,
            (w, tokens) => Blocks(w, tokens, new Parts
            {
                Layers = 4, PreNorms = false, Behind = ("post_attention_layernorm", "post_feedforward_layernorm"), WholeNorms = true, Epsilon = 1e-6,
                Window = layer => layer == 3 ? int.MaxValue : 9, Frequencies = layer => layer == 3 ? Yarn(500000, 4, 24) : Frequencies(500000, HeadDim), RopeScale = layer => layer == 3 ? 1.2 : 1,
            })),
        new("Exaone4", $$"""
            {"architectures": ["Exaone4ForCausalLM"], "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 258,
             "max_position_embeddings": 96, "rms_norm_eps": 1e-5, "rope_theta": 1000000, "sliding_window": 9, "sliding_window_pattern": "LLLG"}
            """,
            (w, tokens) => Blocks(w, tokens, new Parts
            {
                Layers = 4, PreNorms = false, Behind = ("post_attention_layernorm", "post_feedforward_layernorm"), HeadNorms = true,
                Window = layer => layer == 3 ? int.MaxValue : 9, Frequencies = layer => layer == 3 ? [] : Frequencies(1000000, HeadDim),
            })),
        new("Exaone4-without-windows", $$"""
            {"architectures": ["Exaone4ForCausalLM"], {{Sizes}}, "rms_norm_eps": 1e-5, "rope_theta": 1000000, "sliding_window": null, "sliding_window_pattern": null, "tie_word_embeddings": true}
            """,
            (w, tokens) => Blocks(w, tokens, new Parts
            {
                PreNorms = false, Behind = ("post_attention_layernorm", "post_feedforward_layernorm"), HeadNorms = true, Tied = true, Frequencies = _ => Frequencies(1000000, HeadDim),
            })),
        new("GLM-4-0414", $$"""{"architectures": ["Glm4ForCausalLM"], {{Sizes}}, "head_dim": 16, "rms_norm_eps": 1e-5, "partial_rotary_factor": 0.5, "attention_bias": false}""",
            (w, tokens) => Blocks(w, tokens, new Parts
            {
                Behind = ("post_self_attn_layernorm", "post_mlp_layernorm"), Neighbours = true, Frequencies = _ => Frequencies(10000, HeadDim / 2), Mlp = (w, h, p) => GateUp(w, h, p + "mlp."),
            })),
        new("GLM-4", $$"""{"architectures": ["GlmForCausalLM"], {{Sizes}}, "head_dim": 16, "rms_norm_eps": 1.5625e-7, "partial_rotary_factor": 0.5, "attention_bias": true}""",
            (w, tokens) => Blocks(w, tokens, new Parts
            {
                QkvBias = true, Epsilon = 1.5625e-7, Neighbours = true, Frequencies = _ => Frequencies(10000, HeadDim / 2), Mlp = (w, h, p) => GateUp(w, h, p + "mlp."),
            })),
        new("Ernie4.5", $$"""{"architectures": ["Ernie4_5ForCausalLM"], {{Sizes}}, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "use_bias": false, "tie_word_embeddings": true}""",
            (w, tokens) => Blocks(w, tokens, new Parts { Neighbours = true, Tied = true, Frequencies = _ => Frequencies(500000, HeadDim) })),
        new("Nemotron", $$"""{"architectures": ["NemotronForCausalLM"], {{Sizes}}, "norm_eps": 1e-5, "hidden_act": "relu2", "rope_percent": 0.5}""",
            (w, tokens) => Blocks(w, tokens, new Parts
            {
                Norm = (w, x, name) => LayerNorm(x, [.. w.Vector(name + ".weight", Width, 0).Select(v => 1 + v)], w.Vector(name + ".bias", Width, 0), 1e-5),
                Frequencies = _ => Frequencies(10000, HeadDim / 2), Mlp = (w, h, p) => SquaredRelu(w, h, p + "mlp."),
            })),
        new("Arcee", $$"""
            {"architectures": ["ArceeForCausalLM"], {{Sizes}}, "rms_norm_eps": 1e-5, "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 24} }
            """,
            (w, tokens) => Blocks(w, tokens, new Parts { Frequencies = _ => Yarn(10000, 4, 24), RopeScale = _ => 1 + (0.1 * Math.Log(4)), Mlp = (w, h, p) => SquaredRelu(w, h, p + "mlp.") })),
        new("Seed-OSS", $$"""{"architectures": ["SeedOssForCausalLM"], {{Sizes}}, "head_dim": 24, "rms_norm_eps": 1e-6, "rope_theta": 10000000.0, "attention_bias": true, "attention_out_bias": false}""",
            (w, tokens) => Llama(w, tokens, Frequencies(10000000, 24), epsilon: 1e-6, headDim: 24, qkvBias: true)),
        new("InternLM2", $$"""{"architectures": ["InternLM2ForCausalLM"], {{Sizes}}, "rms_norm_eps": 1e-5, "rope_theta": 1000000, "bias": false, "rope_scaling": {"type": "dynamic", "factor": 2.0} }""", InternLM2),
        new("InternLM3", $$"""{"architectures": ["InternLM3ForCausalLM"], {{Sizes}}, "head_dim": 24, "rms_norm_eps": 1e-5, "rope_theta": 50000000, "bias": false, "qkv_bias": true}""",
            (w, tokens) => Llama(w, tokens, Frequencies(50000000, 24), headDim: 24, qkvBias: true)),
        new("MiniCPM", $$"""{"architectures": ["MiniCPMForCausalLM"], {{Sizes}}, "rms_norm_eps": 1e-5, "scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 16}""",
            (w, tokens) => Scale(Llama(w, tokens, Frequencies(10000, HeadDim), tied: true, embedding: 12, residual: 1.4 / Math.Sqrt(Layers)), 16.0 / Width)),
        new("Exaone3.5", """
            {"architectures": ["ExaoneForCausalLM"], "hidden_size": 64, "intermediate_size": 96, "num_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 258,
             "max_position_embeddings": 96, "layer_norm_epsilon": 1e-5, "activation_function": "silu", "tie_word_embeddings": false, "rope_theta": 500000.0,
             "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32, "rope_type": "llama3"} }
            """, Exaone),
        new("Command-R7B", """
            {"architectures": ["Cohere2ForCausalLM"], "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 258,
             "max_position_embeddings": 96, "layer_norm_eps": 1e-5, "logit_scale": 0.25, "rope_theta": 50000, "sliding_window": 9, "sliding_window_pattern": 4, "use_qk_norm": false}
            """, Cohere2),
        new("GPT-Neo", """
            {"architectures": ["GPTNeoForCausalLM"], "hidden_size": 64, "intermediate_size": null, "num_layers": 4, "num_heads": 4, "vocab_size": 258, "max_position_embeddings": 96,
             "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new", "window_size": 9, "attention_types": [[["global", "local"], 2]]}
            """, GptNeo),
        new("GPT-OSS", GptOssConfig(each: 4), (w, tokens) => GptOss(w, tokens, each: 4, packed: false)),
        new("GPT-OSS-MXFP4", GptOssConfig(each: 2, """, "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router"]}"""),
            (w, tokens) => GptOss(w, tokens, each: 2, packed: true)),
    ];

    /// <summary>What a family's decoder is made of.</summary>
    private sealed record Parts
    {
        public int Layers { get; init; } = FamilyReference.Layers;

        public double Epsilon { get; init; } = 1e-5;

        /// <summary>Of a tensor's name without its last part; RMSNorm where none is given.</summary>
        public Func<Checkpoint, double[][], string, double[][]>? Norm { get; init; }

        /// <summary>Whether attention and MLP read the residual stream through a norm.</summary>
        public bool PreNorms { get; init; } = true;

        /// <summary>The norms behind attention and MLP.</summary>
        public (string Attention, string Mlp)? Behind { get; init; }

        public bool HeadNorms { get; init; }

        public bool WholeNorms { get; init; }

        public bool QkvBias { get; init; }

        public bool Tied { get; init; }

        public bool Neighbours { get; init; }

        /// <summary>Of a layer; none turn nothing.</summary>
        public required Func<int, double[]> Frequencies { get; init; }

        public Func<int, double> RopeScale { get; init; } = _ => 1;

        public Func<int, int> Window { get; init; } = _ => int.MaxValue;

        /// <summary>Of what it reads and the prefix of the layer; SwiGLU where none is given.</summary>
        public Func<Checkpoint, double[][], string, double[][]> Mlp { get; init; } = (w, h, p) => Gated(w, h, p + "mlp.", "gate_proj", "up_proj", "down_proj", FamilyReference.Mlp);
    }

    private static double[][] Blocks(Checkpoint w, int[] tokens, Parts of)
    {
        const int queries = Heads * HeadDim, keys = KvHeads * HeadDim;
        double[][] Norm(double[][] x, string name) => of.Norm?.Invoke(w, x, name) ?? Rms(x, w.Vector(name + ".weight", Width, 1), of.Epsilon);
        float[] table = w.Table("model.embed_tokens.weight", Vocabulary, Width);
        double[][] x = Embed(table, tokens, Width);
        for (int layer = 0; layer < of.Layers; layer++)
        {
            string p = $"model.layers.{layer}.";
            double[] frequencies = of.Frequencies(layer);
            double[][] Project(double[][] from, string name, int outputs) =>
                Linear(from, w.Matrix(p + $"self_attn.{name}_proj.weight", outputs, Width), of.QkvBias ? w.Vector(p + $"self_attn.{name}_proj.bias", outputs, 0) : null);
            double[][] Positioned(double[][] from, string name, int outputs)
            {
                string norm = p + $"self_attn.{name}_norm.weight";
                double[][] made = Project(from, name, outputs);
                if (of.HeadNorms) made = RmsHeads(made, w.Vector(norm, HeadDim, 1), of.Epsilon);
                if (of.WholeNorms) made = Rms(made, w.Vector(norm, outputs, 1), of.Epsilon);
                return frequencies.Length == 0 ? made : Rotate(made, HeadDim, frequencies, of.RopeScale(layer), of.Neighbours);
            }

            double[][] h = of.PreNorms ? Norm(x, p + "input_layernorm") : x;
            double[][] attended = Attention(Positioned(h, "q", queries), Positioned(h, "k", keys), Project(h, "v", keys), HeadDim, window: of.Window(layer));
            double[][] made = Linear(attended, w.Matrix(p + "self_attn.o_proj.weight", Width, queries));
            x = Add(x, of.Behind is { } after ? Norm(made, p + after.Attention) : made);
            made = of.Mlp(w, of.PreNorms ? Norm(x, p + "post_attention_layernorm") : x, p);
            x = Add(x, of.Behind is { } last ? Norm(made, p + last.Mlp) : made);
        }

        return Linear(Norm(x, "model.norm"), of.Tied ? table : w.Matrix("lm_head.weight", Vocabulary, Width));
    }

    // Gate and up in one tensor.
    private static double[][] GateUp(Checkpoint w, double[][] h, string prefix)
    {
        double[][] both = Linear(h, w.Matrix(prefix + "gate_up_proj.weight", 2 * Mlp, Width));
        return Linear(Times(Silu(Columns(both, 0, Mlp)), Columns(both, Mlp, Mlp)), w.Matrix(prefix + "down_proj.weight", Width, Mlp));
    }

    // So et al., 2021.
    private static double[][] SquaredRelu(Checkpoint w, double[][] h, string prefix)
    {
        double[][] up = Relu(Linear(h, w.Matrix(prefix + "up_proj.weight", Mlp, Width)));
        return Linear(Times(up, up), w.Matrix(prefix + "down_proj.weight", Width, Mlp));
    }

    // Cai et al., 2024: q, k and v as [key heads, queries of each + 2, width of a head].
    private static double[][] InternLM2(Checkpoint w, int[] tokens)
    {
        double[] frequencies = Frequencies(1000000, HeadDim);
        double[][] x = Embed(w.Table("model.tok_embeddings.weight", Vocabulary, Width), tokens, Width);
        for (int layer = 0; layer < Layers; layer++)
        {
            string p = $"model.layers.{layer}.";
            double[][] qkv = Linear(Rms(x, w.Vector(p + "attention_norm.weight", Width, 1), 1e-5), w.Matrix(p + "attention.wqkv.weight", (Heads + (2 * KvHeads)) * HeadDim, Width));
            const int shared = Heads / KvHeads, group = (shared + 2) * HeadDim;
            double[][] Part(int first, int count) => Each(qkv, row => [.. row.Chunk(group).SelectMany(heads => heads[(first * HeadDim)..((first + count) * HeadDim)])]);
            double[][] attended = Attention(Rotate(Part(0, shared), HeadDim, frequencies), Rotate(Part(shared, 1), HeadDim, frequencies), Part(shared + 1, 1), HeadDim);
            x = Add(x, Linear(attended, w.Matrix(p + "attention.wo.weight", Width, Heads * HeadDim)));
            x = Add(x, Gated(w, Rms(x, w.Vector(p + "ffn_norm.weight", Width, 1), 1e-5), p + "feed_forward.", "w1", "w3", "w2", Mlp));
        }

        return Linear(Rms(x, w.Vector("model.norm.weight", Width, 1), 1e-5), w.Matrix("output.weight", Vocabulary, Width));
    }

    // LG AI Research, 2024: Llama's equations.
    private static double[][] Exaone(Checkpoint w, int[] tokens)
    {
        double[] frequencies = [.. Frequencies(500000, HeadDim).Select(Llama3)];
        double[][] x = Embed(w.Table("transformer.wte.weight", Vocabulary, Width), tokens, Width);
        for (int layer = 0; layer < Layers; layer++)
        {
            string p = $"transformer.h.{layer}.", a = p + "attn.attention.";
            double[][] h = Rms(x, w.Vector(p + "ln_1.weight", Width, 1), 1e-5);
            double[][] q = Linear(h, w.Matrix(a + "q_proj.weight", Heads * HeadDim, Width)), k = Linear(h, w.Matrix(a + "k_proj.weight", KvHeads * HeadDim, Width));
            double[][] attended = Attention(
                Rotate(q, HeadDim, frequencies), Rotate(k, HeadDim, frequencies), Linear(h, w.Matrix(a + "v_proj.weight", KvHeads * HeadDim, Width)), HeadDim);
            x = Add(x, Linear(attended, w.Matrix(a + "out_proj.weight", Width, Heads * HeadDim)));
            x = Add(x, Gated(w, Rms(x, w.Vector(p + "ln_2.weight", Width, 1), 1e-5), p + "mlp.", "c_fc_0", "c_fc_1", "c_proj", Mlp));
        }

        return Linear(Rms(x, w.Vector("transformer.ln_f.weight", Width, 1), 1e-5), w.Matrix("lm_head.weight", Vocabulary, Width));
    }

    // Cohere's Command R7B, 2024: every fourth layer sees the whole text, and no positions.
    private static double[][] Cohere2(Checkpoint w, int[] tokens)
    {
        double[] frequencies = Frequencies(50000, HeadDim);
        float[] table = w.Table("model.embed_tokens.weight", Vocabulary, Width);
        double[][] x = Embed(table, tokens, Width);
        for (int layer = 0; layer < 4; layer++)
        {
            string p = $"model.layers.{layer}.";
            bool local = layer != 3;
            double[][] h = LayerNorm(x, w.Vector(p + "input_layernorm.weight", Width, 1), null, 1e-5);
            double[][] Turned(string name, int outputs)
            {
                double[][] made = Linear(h, w.Matrix(p + $"self_attn.{name}_proj.weight", outputs, Width));
                return local ? Rotate(made, HeadDim, frequencies, neighbours: true) : made;
            }

            double[][] attended = Attention(
                Turned("q", Heads * HeadDim), Turned("k", KvHeads * HeadDim), Linear(h, w.Matrix(p + "self_attn.v_proj.weight", KvHeads * HeadDim, Width)), HeadDim, window: local ? 9 : int.MaxValue);
            x = Add(Add(x, Linear(attended, w.Matrix(p + "self_attn.o_proj.weight", Width, Heads * HeadDim))), Gated(w, h, p + "mlp.", "gate_proj", "up_proj", "down_proj", Mlp));
        }

        return Scale(Linear(LayerNorm(x, w.Vector("model.norm.weight", Width, 1), null, 1e-5), table), 0.25);
    }

    private static string GptOssConfig(int each, string more = "") => $$"""
        {"architectures": ["GptOssForCausalLM"], "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 258,
         "max_position_embeddings": 96, "head_dim": 16, "rms_norm_eps": 1e-5, "rope_theta": 150000, "num_local_experts": 4, "num_experts_per_tok": {{each}}, "attention_bias": true, "sliding_window": 9,
         "layer_types": ["sliding_attention", "full_attention"], "swiglu_limit": 1.5, "hidden_act": "silu",
         "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 24, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": false}{{more}} }
        """;

    // OpenAI's gpt-oss model card, 2025, and its published configuration; the scores beside those of the tokens: Xiao et al., 2023.
    private static double[][] GptOss(Checkpoint w, int[] tokens, int each, bool packed)
    {
        const int experts = 4, queries = Heads * HeadDim, keys = KvHeads * HeadDim;
        const double limit = 1.5;
        double[] frequencies = Yarn(150000, 4, 24, truncate: false);
        double scale = 1 + (0.1 * Math.Log(4));
        double[][] x = Embed(w.Table("model.embed_tokens.weight", Vocabulary, Width), tokens, Width);
        for (int layer = 0; layer < Layers; layer++)
        {
            string p = $"model.layers.{layer}.", e = p + "mlp.experts.";
            double[][] Project(double[][] from, string name, int outputs, int inputs) => Linear(from, w.Matrix(p + name + ".weight", outputs, inputs), w.Vector(p + name + ".bias", outputs, 0));
            double[][] h = Rms(x, w.Vector(p + "input_layernorm.weight", Width, 1), 1e-5);
            double[][] attended = Attention(
                Rotate(Project(h, "self_attn.q_proj", queries, Width), HeadDim, frequencies, scale), Rotate(Project(h, "self_attn.k_proj", keys, Width), HeadDim, frequencies, scale),
                Project(h, "self_attn.v_proj", keys, Width), HeadDim, window: layer == 0 ? 9 : int.MaxValue, sinks: w.Vector(p + "self_attn.sinks", Heads, 0.5));
            x = Add(x, Project(attended, "self_attn.o_proj", Width, queries));
            h = Rms(x, w.Vector(p + "post_attention_layernorm.weight", Width, 1), 1e-5);
            // [experts][outputs, inputs].
            float[][] gateUp = packed ? w.Mxfp4(e + "gate_up_proj", experts, 2 * Mlp, Width) : w.Transposed(e + "gate_up_proj", experts, 2 * Mlp, Width);
            float[][] down = packed ? w.Mxfp4(e + "down_proj", experts, Width, Mlp) : w.Transposed(e + "down_proj", experts, Width, Mlp);
            float[] gateUpBias = w.Matrix(e + "gate_up_proj_bias", experts, 2 * Mlp), downBias = w.Matrix(e + "down_proj_bias", experts, Width);
            x = Add(x, Experts(h, w.Matrix(p + "mlp.router.weight", experts, Width), each, true, bias: w.Vector(p + "mlp.router.bias", experts, 0), expert: (n, row) =>
            {
                double[] both = Linear(row, gateUp[n], gateUpBias[(n * 2 * Mlp)..((n + 1) * 2 * Mlp)])[0];
                double[] mixed = new double[Mlp];
                for (int i = 0; i < Mlp; i++)
                {
                    double gate = Math.Min(both[2 * i], limit), up = Math.Clamp(both[(2 * i) + 1], -limit, limit);
                    mixed[i] = (up + 1) * gate / (1 + Math.Exp(-1.702 * gate));
                }

                return Linear([mixed], down[n], downBias[(n * Width)..((n + 1) * Width)]);
            }));
        }

        return Linear(Rms(x, w.Vector("model.norm.weight", Width, 1), 1e-5), w.Matrix("lm_head.weight", Vocabulary, Width));
    }

    // Black et al., 2021.
    private static double[][] GptNeo(Checkpoint w, int[] tokens)
    {
        float[] table = w.Table("transformer.wte.weight", Vocabulary, Width), positions = w.Table("transformer.wpe.weight", 96, Width);
        double[][] x = Add(Embed(table, tokens, Width), Embed(positions, [.. Enumerable.Range(0, tokens.Length)], Width));
        double[][] Norm(double[][] from, string name) => LayerNorm(from, w.Vector(name + ".weight", Width, 1), w.Vector(name + ".bias", Width, 0), 1e-5);
        for (int layer = 0; layer < 4; layer++)
        {
            string p = $"transformer.h.{layer}.", a = p + "attn.attention.";
            double[][] Project(double[][] from, string name, int outputs, int inputs) => Linear(from, w.Matrix(name + ".weight", outputs, inputs), w.Vector(name + ".bias", outputs, 0));
            double[][] h = Norm(x, p + "ln_1");
            // Queries and keys that were trained without a scale of the scores are as small as the scale would have made them.
            double[][] Head(string name, double gain) => Linear(h, w.Matrix(a + name + ".weight", Width, Width, gain));
            double[][] attended = Attention(Head("q_proj", 0.8), Head("k_proj", 0.8), Head("v_proj", 1.6), HeadDim, scale: 1, window: layer % 2 == 1 ? 9 : int.MaxValue);
            x = Add(x, Project(attended, a + "out_proj", Width, Width));
            x = Add(x, Project(GeluTanh(Project(Norm(x, p + "ln_2"), p + "mlp.c_fc", 4 * Width, Width)), p + "mlp.c_proj", Width, 4 * Width));
        }

        return Linear(Norm(x, "transformer.ln_f"), table);
    }
}
