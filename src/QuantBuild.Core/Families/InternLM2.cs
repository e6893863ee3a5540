namespace QuantBuild;

/// <summary>InternLM 2 and 2.5 (Cai et al., 2024): Llama under names of its own, with q, k and v in one tensor, each group of queries before its key and its value.</summary>
internal static class InternLM2
{
    public static DecoderConfig Read(ConfigReader config)
    {
        DecoderConfig decoder = config.Decoder();
        int shared = decoder.Heads / decoder.KvHeads;
        RowBlocks Of(int head, int heads) => RowBlocks.OfHeads(head, heads, shared + 2, decoder.KvHeads, decoder.HeadDim);
        bool bias = config.BooleanOr("bias", true);
        return decoder with
        {
            Activation = config.Activation("hidden_act", "silu"),
            AttentionBias = bias,
            OutputBias = bias,
            Names = new WeightNames()
                .With("model.embed_tokens", "model.tok_embeddings")
                .With("input_layernorm", "attention_norm")
                .With("self_attn.q_proj", "attention.wqkv", Of(0, shared))
                .With("self_attn.k_proj", "attention.wqkv", Of(shared, 1))
                .With("self_attn.v_proj", "attention.wqkv", Of(shared + 1, 1))
                .With("self_attn.o_proj", "attention.wo")
                .With("post_attention_layernorm", "ffn_norm")
                .With("mlp.gate_proj", "feed_forward.w1")
                .With("mlp.up_proj", "feed_forward.w3")
                .With("mlp.down_proj", "feed_forward.w2")
                .With("lm_head", "output"),
        };
    }
}
