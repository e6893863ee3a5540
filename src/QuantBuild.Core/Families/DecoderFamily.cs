namespace QuantBuild;

/// <summary>A family of decoders: how its <c>config.json</c> says what <see cref="DecoderConfig"/> says. A new one is a file like its neighbours, and a line here.</summary>
/// <param name="Architecture">What <c>architectures</c> in <c>config.json</c> names it.</param>
/// <param name="Read">Reads the file.</param>
internal sealed record DecoderFamily(string Architecture, Func<ConfigReader, DecoderConfig> Read)
{
    /// <summary>All families.</summary>
    public static IReadOnlyList<DecoderFamily> All { get; } =
    [
        new("LlamaForCausalLM", Llama.Read),
        new("MistralForCausalLM", Mistral.Read),
        new("Mistral3ForConditionalGeneration", config => Mistral.Read(config.Text())),
        new("MixtralForCausalLM", Mixtral.Read),
        new("Qwen2ForCausalLM", Qwen2.Read),
        new("Qwen2VLForConditionalGeneration", config => Qwen2.Read(config.Text())),
        new("Qwen2_5_VLForConditionalGeneration", config => Qwen2.Read(config.Text())),
        new("Qwen3ForCausalLM", Qwen3.Read),
        new("Qwen3VLForConditionalGeneration", config => Qwen3.Read(config.Text())),
        new("Qwen2MoeForCausalLM", Qwen2Moe.Read),
        new("Qwen3MoeForCausalLM", Qwen3Moe.Read),
        new("GemmaForCausalLM", Gemma.Read),
        new("Gemma2ForCausalLM", Gemma2.Read),
        new("Gemma3ForCausalLM", Gemma3.Read),
        new("Gemma3ForConditionalGeneration", config => Gemma3.Read(config.Text())),
        new("PhiForCausalLM", Phi.Read),
        new("Phi3ForCausalLM", Phi3.Read),
        new("SmolLM3ForCausalLM", SmolLM3.Read),
        new("Olmo2ForCausalLM", Olmo2.Read),
        new("Olmo3ForCausalLM", Olmo3.Read),
        new("OlmoeForCausalLM", Olmoe.Read),
        new("GraniteForCausalLM", Granite.Read),
        new("GraniteMoeForCausalLM", GraniteMoe.Read),
        new("Starcoder2ForCausalLM", Starcoder2.Read),
        new("StableLmForCausalLM", StableLm.Read),
        new("GPTNeoXForCausalLM", GptNeoX.Read),
        new("GPT2LMHeadModel", Gpt2.Read),
        new("GPTBigCodeForCausalLM", GptBigCode.Read),
        new("OPTForCausalLM", Opt.Read),
        new("FalconForCausalLM", Falcon.Read),
        new("BloomForCausalLM", Bloom.Read),
        new("MPTForCausalLM", Mpt.Read),
        new("MptForCausalLM", Mpt.Read),
        new("CohereForCausalLM", Cohere.Read),
        new("Cohere2ForCausalLM", Cohere2.Read),
        new("GlmForCausalLM", Glm.Read),
        new("Glm4ForCausalLM", Glm4.Read),
        new("ExaoneForCausalLM", Exaone.Read),
        new("Exaone4ForCausalLM", Exaone4.Read),
        new("Ernie4_5ForCausalLM", Ernie45.Read),
        new("NemotronForCausalLM", Nemotron.Read),
        new("ArceeForCausalLM", Arcee.Read),
        new("SeedOssForCausalLM", SeedOss.Read),
        new("InternLM2ForCausalLM", InternLM2.Read),
        new("InternLM3ForCausalLM", InternLM3.Read),
        new("MiniCPMForCausalLM", MiniCpm.Read),
        new("GPTNeoForCausalLM", GptNeo.Read),
        new("GptOssForCausalLM", GptOss.Read),
    ];
}
