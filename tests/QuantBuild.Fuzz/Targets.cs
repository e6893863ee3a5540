extern alias Generators;

using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Generators::QuantBuild.Generators.Jinja;
using Microsoft.Extensions.AI;
using QuantBuild.Chat;
using QuantBuild.Quantization;
using QuantBuild.Quantization.Tests;

namespace QuantBuild.Fuzz;

/// <summary>The parsers.</summary>
internal static class Targets
{
    private const string Config = """
        {"architectures":["LlamaForCausalLM"],"hidden_size":64,"num_attention_heads":2,"num_key_value_heads":1,"intermediate_size":64,"head_dim":32,"bos_token_id":1,"eos_token_id":[1,2],
         "num_hidden_layers":1,"vocab_size":32,"max_position_embeddings":8,"hidden_act":"silu","rope_theta":10000.0,"rms_norm_eps":1e-5,"tie_word_embeddings":true,"rope_scaling":null}
        """;

    /// <summary>All of them; another one is another line.</summary>
    public static IReadOnlyList<FuzzTarget> All { get; } =
    [
        new("safetensors", "model.safetensors", [Safetensors()], (path, _) => ReadSafetensors(path)),
        new("safetensors header", "model.safetensors", [HeaderOf(Safetensors())], (path, _) => ReadSafetensors(path), IsText: true, Wrap: WithLength),
        new("GGUF", "model.gguf", [Gguf(), GgufWithTokenizer()], (path, _) => ReadGguf(path)),
        new("pickle", "data.pkl", [Pickle()], (_, bytes) => TensorPickle.Read(bytes)) { Documented = [typeof(InvalidDataException), typeof(TensorPickle.ForbiddenException)] },
        new("PyTorch checkpoint", "pytorch_model.bin", [Asset("torch_checkpoint.bin")], (path, _) => ReadPyTorch(path)),
        new("PyTorch checkpoint's pickle", "pytorch_model.bin", [Pickle()], (path, _) => ReadPyTorch(path), Wrap: InCheckpoint),
        new("index", "model.safetensors.index.json", [Index()], (path, _) => ReadIndex(path), IsText: true),
        new("tokenizer.json", "tokenizer.json", [Tokenizer()], (_, bytes) => ReadTokenizer(bytes), IsText: true),
        new("SentencePiece", "tokenizer.model", [SentencePiece(model: 1), SentencePiece(model: 2)], (_, bytes) => ReadTokenizer(bytes)),
        new("config.json", "config.json", [.. Configs().Select(Encoding.UTF8.GetBytes)], (_, bytes) => ReadConfig(bytes), IsText: true),
        new("generation_config.json", "generation_config.json", ["""{"temperature":0.6,"top_p":0.9,"top_k":50,"do_sample":true,"eos_token_id":[1,2],"repetition_penalty":1.1}"""u8.ToArray()],
            (_, bytes) => GenerationDefaults.Parse(Encoding.UTF8.GetString(bytes), "generation_config.json", DiagnosticIds.ConfigMalformed), IsText: true),
        new("chat template", "chat_template.jinja", [.. Directory.GetFiles(Path.Combine(AppContext.BaseDirectory, "templates")).Order(StringComparer.Ordinal).Select(File.ReadAllBytes)],
            (_, bytes) => JinjaEmitter.Write(JinjaParser.Parse(Encoding.UTF8.GetString(bytes).Replace("\r", "", StringComparison.Ordinal))), IsText: true) { Documented = [typeof(JinjaException)] },
        new("answer with tool calls", "answer.txt", [.. Answers.Select(Encoding.UTF8.GetBytes)], (_, bytes) => ReadAnswer(Encoding.UTF8.GetString(bytes)), IsText: true) { Refuses = false },
    ];

    // What a model writes is no more to be trusted than a file: a message can talk it into anything.
    private static string[] Answers =>
    [
        "<think>\nHm.\n</think>\n\nI look.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, \"\\u00e9\\n\"], \"b\": null}}\n</tool_call>\n<tool_call>{\"name\":\"f\"}</tool_call> Done.",
        "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\"}, {\"name\": \"g\", \"arguments\": 1}] {\"name\": \"f\", \"parameters\": {}}; {\"type\": \"function\", \"function\": {\"name\": \"f\"}}",
        "[TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]g[ARGS]{}", "<tool_call>\n<function=f>\n<parameter=a>\n[1, 2]\n</parameter>\n<parameter=b>\nx\n</parameter>\n</function>\n</tool_call>",
    ];

    private static readonly ToolCallSyntax[] Syntaxes =
    [
        new("<tool_call>\n", "\n</tool_call>"), new("", "") { ArgumentsMember = "parameters" }, new("[TOOL_CALLS]", "") { IsList = true, OtherStarts = ["functools", ""] }, new("[TOOL_CALLS]", "") { AfterName = "[ARGS]" },
        new("<function=", "</function>") { Open = "<tool_call>\n", Close = "\n</tool_call>", AfterName = ">\n", Arguments = new("<parameter=", ">\n", "\n</parameter>\n") },
    ];

    private static readonly AIFunctionDeclaration Function = AIFunctionFactory.CreateDeclaration(
        "f", "", JsonDocument.Parse("""{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}}}""").RootElement);

    private static byte[] Asset(string name) => File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, name));

    private static byte[] Written(string name, Action<string> write)
    {
        string folder = Directory.CreateTempSubdirectory().FullName, path = Path.Combine(folder, name);
        write(path);
        byte[] bytes = File.ReadAllBytes(path);
        Directory.Delete(folder, recursive: true);
        return bytes;
    }

    private static byte[] Safetensors() => Written("seed.safetensors", path => SafetensorsWriter.Write(path, new Dictionary<string, string> { ["format"] = "pt" },
    [
        TensorSource.FromBytes("model.embed_tokens.weight", ElementType.F32, [4, 4], new byte[64]), TensorSource.FromBytes("model.norm.weight", ElementType.BF16, [4], new byte[8]),
        TensorSource.FromBytes("x", ElementType.F8E4M3, [3], new byte[3]), TensorSource.FromBytes("scalar", ElementType.I64, [], new byte[8]),
    ]));

    private static byte[] HeaderOf(byte[] file) => file[8..(8 + (int)BinaryPrimitives.ReadInt64LittleEndian(file))];

    private static byte[] WithLength(byte[] header) => [.. BitConverter.GetBytes((long)header.Length), .. header, .. new byte[64 + 8 + 3 + 8]];

    private static void ReadSafetensors(string path)
    {
        using SafetensorsFile file = SafetensorsFile.Open(path, DiagnosticIds.WeightsMalformed);
        foreach (TensorEntry entry in file.Tensors.Values)
        {
            foreach (byte _ in file.Bytes(entry)) { }
            file.Read(entry, 0, new byte[entry.ByteLength]);
        }
    }

    private static byte[] Gguf() => Written("seed.gguf", path => new GgufWriter()
        .Add("general.architecture", "llama").Add("general.alignment", 32u).Add("list", new[] { 1, 2, 3 }).Add("float", 1f).Add("flag", true)
        .Add("blk.0.attn_q.weight", GgufType.F16, [4, 4], new byte[32]).Add("token_embd.weight", GgufType.Q8, [2, 32], new byte[68]).Write(path));

    private static byte[] GgufWithTokenizer() => Written("seed.gguf", path => new GgufWriter()
        .Add("general.architecture", "llama").Add("llama.embedding_length", 64u).Add("llama.feed_forward_length", 64u).Add("llama.block_count", 1u).Add("llama.attention.head_count", 2u)
        .Add("llama.attention.head_count_kv", 1u).Add("llama.rope.dimension_count", 32u).Add("llama.context_length", 8u).Add("llama.rope.freq_base", 10000f)
        .Add("llama.attention.layer_norm_rms_epsilon", 1e-5f).Add("tokenizer.ggml.model", "gpt2").Add("tokenizer.ggml.pre", "llama-bpe").Add("tokenizer.ggml.tokens", new[] { "a", "b", "ab", "<s>" })
        .Add("tokenizer.ggml.token_type", new[] { 1, 1, 1, 3 }).Add("tokenizer.ggml.merges", new[] { "a b" }).Add("tokenizer.ggml.bos_token_id", 3u).Add("tokenizer.ggml.add_bos_token", true)
        .Add("tokenizer.chat_template", "{{ x }}").Add("token_embd.weight", GgufType.BF16, [4, 64], new byte[512]).Add("blk.0.attn_q.weight", GgufType.F16, [64, 64], new byte[8192]).Write(path));

    private static void ReadGguf(string path)
    {
        using (GgufCheckpoint file = GgufCheckpoint.Open(path)) ReadTensors(file);
        ModelFolder model = ModelFolder.Open(path);
        _ = model.ReadTokenizer();
        _ = model.TokenizerConfigJson;
    }

    private static void ReadTensors(ICheckpointFile file)
    {
        foreach (CheckpointTensor tensor in file.Tensors)
        {
            byte[] some = new byte[Math.Min(tensor.ByteLength, 1 << 16)];
            tensor.Read(0, some);
            tensor.Read(tensor.ByteLength - some.Length, some);
        }
    }

    private static byte[] Pickle()
    {
        using ZipArchive archive = new(new MemoryStream(Asset("torch_checkpoint.bin")));
        using MemoryStream bytes = new();
        using (Stream stream = archive.Entries.Single(entry => entry.Name == "data.pkl").Open()) stream.CopyTo(bytes);
        return bytes.ToArray();
    }

    private static byte[] InCheckpoint(byte[] pickle)
    {
        MemoryStream file = new();
        using (ZipArchive source = new(new MemoryStream(Asset("torch_checkpoint.bin"))))
        using (ZipArchive target = new(file, ZipArchiveMode.Create, leaveOpen: true))
        {
            foreach (ZipArchiveEntry entry in source.Entries)
            {
                using Stream to = target.CreateEntry(entry.FullName, CompressionLevel.NoCompression).Open();
                using Stream from = entry.Name == "data.pkl" ? new MemoryStream(pickle) : entry.Open();
                from.CopyTo(to);
            }
        }

        return file.ToArray();
    }

    private static void ReadPyTorch(string path)
    {
        using PyTorchFile file = PyTorchFile.Open(path);
        ReadTensors(file);
    }

    private static byte[] Index() =>
        """{"metadata":{"total_size":64},"weight_map":{"model.embed_tokens.weight":"weights.safetensors","model.norm.weight":"weights.safetensors","lm_head.weight":"other.safetensors"}}"""u8.ToArray();

    private static void ReadIndex(string path)
    {
        string folder = Path.GetDirectoryName(path)!;
        if (!File.Exists(Path.Combine(folder, "config.json")))
        {
            File.WriteAllText(Path.Combine(folder, "config.json"), Config);
            File.WriteAllText(Path.Combine(folder, "tokenizer.json"), "{}");
            foreach (string name in new[] { "weights.safetensors", "other.safetensors" }) File.WriteAllBytes(Path.Combine(folder, name), Safetensors());
        }

        using Checkpoint checkpoint = Checkpoint.Open(ModelFolder.Open(folder));
    }

    /// <summary>The sample's tokenizer with its first tokens alone, so that a change meets the rest of it too.</summary>
    private static byte[] Tokenizer()
    {
        JsonNode root = JsonNode.Parse(Asset("tokenizer.json"))!;
        JsonObject vocabulary = root["model"]!["vocab"]!.AsObject();
        foreach (string token in vocabulary.Where(token => token.Value!.GetValue<int>() >= 280).Select(token => token.Key).ToArray()) vocabulary.Remove(token);
        JsonArray merges = root["model"]!["merges"]!.AsArray();
        while (merges.Count > 20) merges.RemoveAt(merges.Count - 1);
        return Encoding.UTF8.GetBytes(root.ToJsonString());
    }

    private static void ReadAnswer(string answer)
    {
        foreach (ToolCallSyntax syntax in Syntaxes)
        {
            ReasoningParser thoughts = new(new ReasoningSyntax("<think>\n", "\n</think>\n\n"), isWithin: false);
            ToolCallParser calls = new(syntax, [Function]);
            for (int at = 0; at < answer.Length; at += 100) calls.Append(thoughts.Append(answer[at..Math.Min(at + 100, answer.Length)], isLast: false).Answer);
            calls.Append(thoughts.Append("", isLast: true).Answer);
            calls.Finish();
        }
    }

    private static void ReadTokenizer(byte[] json)
    {
        Encode(TextTokenizer.Load(json, "tokenizer.json"));
    }

    private static void Encode(TextTokenizer tokenizer) =>
        tokenizer.Decode(tokenizer.Encode("It was a dark night: 12345 l'été aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa! <|end_of_text|>"));

    /// <summary>A vocabulary of a few pieces, as sentencepiece_model.proto has it.</summary>
    /// <param name="model">1 is unigram, 2 BPE.</param>
    private static byte[] SentencePiece(byte model)
    {
        MemoryStream file = new();
        void Field(byte number, byte[] bytes) => file.Write([(byte)((number << 3) | 2), (byte)bytes.Length, .. bytes]);
        void Piece(string text, float score, byte type)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(text);
            Field(1, [0x0a, (byte)bytes.Length, .. bytes, 0x15, .. BitConverter.GetBytes(score), 0x18, type]);
        }

        Piece("<unk>", 0, 2);
        Piece("<s>", 0, 3);
        Piece("</s>", 0, 3);
        foreach (string text in new[] { "\u2581", "a", "t", "at", "\u2581a", "aa", "r", "k", "ark" }) Piece(text, -text.Length, 1);
        // The kind of model, and which piece is what; then that a blank is put before a text, and blanks are escaped.
        Field(2, [0x18, model, 0xc0, 2, 0, 0xc8, 2, 1, 0xd0, 2, 2]);
        Field(3, [0x18, 1, 0x20, 1, 0x28, 1]);
        return file.ToArray();
    }

    private static IEnumerable<string> Configs()
    {
        yield return Config;
        foreach (string quantization in new[]
        {
            """{"quant_method":"gptq","bits":4,"group_size":32,"desc_act":true,"sym":false,"checkpoint_format":"gptq","lm_head":false}""",
            """{"quant_method":"awq","bits":4,"group_size":32,"zero_point":true,"version":"gemm","modules_to_not_convert":["down_proj"]}""",
            """{"quant_method":"bitsandbytes","load_in_4bit":true,"bnb_4bit_quant_type":"nf4","bnb_4bit_use_double_quant":true,"llm_int8_skip_modules":["lm_head","mlp"]}""",
            """{"quant_method":"fp8","weight_block_size":[128,128]}""",
        })
        {
            yield return Config.TrimEnd().TrimEnd('}') + ",\"quantization_config\":" + quantization + "}";
        }
    }

    private static void ReadConfig(byte[] json)
    {
        DecoderConfig config = DecoderConfig.Parse(Encoding.UTF8.GetString(json), "config.json");
        new QuantizationPlan(config, config.Quantization is { Spec: not null } quantized ? quantized.Adopt(_ => null, "config.json") : new QuantizationSpec { GroupSize = 32 }).Check();
    }
}
