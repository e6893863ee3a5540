using System.Diagnostics;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using QuantBuild.Cuda;
using QuantBuild.Cuda.Driver;
using QuantBuild.Decoding;

namespace QuantBuild.Benchmarks;

/// <summary>
/// A model on a GPU: how fast it loads, takes a prompt and answers, beside the ceiling of one token at a time, the bytes that a token reads over the rate at which the device copies, measured in the
/// same run. Without an artifact, random weights in the shape of Llama 2 7B, or of a fourth of Qwen3 30B A3B with its experts, 4 bits in groups of 128.
/// </summary>
static class GpuBenchmark
{
    private const int Steps = 64;
    private const int PromptTokens = 2048;
    private const int AtOnce = 8;

    private static readonly int[] Contexts = [1, 2048];

    private const string Llama = """
        {"architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
         "vocab_size": 32000, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": false}
        """;

    // Of its 48 layers 12: what a layer takes is seen in them.
    private const string Qwen = """
        {"architectures": ["Qwen3MoeForCausalLM"], "hidden_size": 2048, "intermediate_size": 6144, "moe_intermediate_size": 768, "num_hidden_layers": 12, "num_attention_heads": 32,
         "num_key_value_heads": 4, "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8, "norm_topk_prob": true, "decoder_sparse_step": 1, "mlp_only_layers": [], "vocab_size": 151936,
         "max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "hidden_act": "silu", "tie_word_embeddings": false, "attention_bias": false}
        """;

    public static int Run(string? artifact, bool withExperts)
    {
        using TemporaryFolder folder = new();
        CudaDriver driver;
        try
        {
            driver = CudaDriver.Load();
        }
        catch (QuantBuildException e)
        {
            Console.Error.WriteLine(e.Message);
            return 1;
        }

        double copied = CopyBytesPerSecond(driver, out string device);
        Console.WriteLine($"{device}, driver for CUDA {driver.DriverVersion / 1000}.{driver.DriverVersion % 1000 / 10}, {DateTime.UtcNow:yyyy-MM-dd}; copies {copied / 1e9:F0} GB/s (read and written bytes).");
        artifact ??= Make(folder.File("model.safetensors"), withExperts ? Qwen : Llama);
        long start = Stopwatch.GetTimestamp();
        using LanguageModel model = LanguageModel.Load(artifact, new LoadOptions { Device = "cuda:0", PromptCacheTokens = 0 });
        double load = Stopwatch.GetElapsedTime(start).TotalSeconds;
        Console.WriteLine($"{model.Placement.Reason}; {model.Placement.DeviceBytes / 1e9:F2} GB, loaded in {load:F2} s.");
        Console.WriteLine();
        Console.WriteLine("| texts | context | tokens/s | ms a step | of the ceiling |");
        Console.WriteLine("|---|---|---|---|---|");
        foreach (int texts in (int[])[1, AtOnce])
        {
            long bytes = DecodeBenchmark.BytesPerStep(artifact, texts);
            foreach (int context in Contexts.Where(context => context + Steps < model.ContextLength))
            {
                double step = Figures.Median(StepSeconds(model, texts, context)), cache = (double)texts * context * KvPages.BytesPerToken(model.Config, KvPrecision.Float16);
                Console.WriteLine($"| {texts} | {context} | {texts / step:F1} | {1e3 * step:F3} | {(bytes + cache) / copied / step:P0} |");
            }
        }

        int prompt = Math.Min(PromptTokens, model.ContextLength - 1);
        double seconds = Figures.Median(Figures.Seconds(5, () => Prompt(model, prompt)));
        // Two operations for each weight and token, of experts for those that see the token; the head is for the last token alone.
        double unseen = model.Config.Experts == 0 ? 0 : 1 - ((double)model.Config.ExpertsPerToken / model.Config.Experts);
        long experts = model.Config.QuantizableLinears().Where(linear => DecodeBenchmark.IsOfExpert(linear.Name)).Sum(linear => (long)linear.Inputs * linear.Outputs);
        double operations = 2.0 * prompt * (model.Config.Parameters - (unseen * experts) - ((long)model.Config.VocabularySize * model.Config.HiddenSize * (model.Config.TieWordEmbeddings ? 1 : 2)));
        Console.WriteLine();
        Console.WriteLine($"Prompt of {prompt}: {prompt / seconds:F0} tokens/s, {operations / seconds / 1e12:F0} TFLOP/s.");
        return 0;
    }

    private static List<double> StepSeconds(LanguageModel model, int texts, int context)
    {
        int vocabulary = model.Config.VocabularySize;
        KvCache[] caches = [.. Enumerable.Range(0, texts).Select(_ => model.CreateCache())];
        float[][] logits = [.. caches.Select(_ => new float[vocabulary])];
        int[] tokens = Tokens(model, context);
        foreach (KvCache cache in caches) model.Feed(cache, tokens, logits[0], CancellationToken.None);
        List<double> seconds = [];
        int[][] next = [.. caches.Select((_, i) => new[] { (i * 7919) % vocabulary })];
        for (int step = 0; step < Steps; step++)
        {
            long start = Stopwatch.GetTimestamp();
            model.Forward([.. caches.Select((cache, i) => new BatchPart(cache, next[i]) { Logits = logits[i] })]);
            // The first of each kind is queued kernel by kernel, and captured.
            if (step >= 4) seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
            for (int i = 0; i < texts; i++) next[i] = [TensorPrimitives.IndexOfMax<float>(logits[i])];
        }

        foreach (KvCache cache in caches) cache.Dispose();
        return seconds;
    }

    private static void Prompt(LanguageModel model, int tokens)
    {
        using KvCache cache = model.CreateCache();
        model.Feed(cache, Tokens(model, tokens), new float[model.Config.VocabularySize], CancellationToken.None);
    }

    // Tokens that differ, so that no part of the work is done once for all.
    private static int[] Tokens(LanguageModel model, int count) => [.. Enumerable.Range(0, count).Select(i => (int)((i * 7919L) % model.Config.VocabularySize))];

    private static double CopyBytesPerSecond(CudaDriver driver, out string name)
    {
        const long bytes = 1L << 30;
        const int copies = 20;
        using CudaDevice device = new(driver, 0);
        name = device.Name;
        IntPtr from = device.Allocate(bytes), to = device.Allocate(bytes);
        double seconds = Figures.Median(Figures.Seconds(3, () =>
        {
            for (int i = 0; i < copies; i++) device.Copy(to, from, bytes);
            device.Synchronize();
        }));
        return 2.0 * bytes * copies / seconds;
    }

    /// <summary>Random weights: every byte is a valid weight of a packed linear.</summary>
    private static string Make(string path, string config)
    {
        const int bits = 4, groupSize = 128;
        Random random = new(1);
        byte[] RandomBytes(long count)
        {
            byte[] values = new byte[count];
            random.NextBytes(values);
            return values;
        }

        DecoderConfig parsed = DecoderConfig.Parse(config, "config.json");
        Dictionary<string, LinearShape> linears = parsed.QuantizableLinears().Where(linear => linear.Name != DecoderConfig.EmbeddingLinearName).ToDictionary(linear => linear.WeightName);
        List<TensorSource> tensors = [ArtifactWriter.TokenizerTensor(File.ReadAllBytes(Path.Combine(Repository.Model, "tokenizer.json")))];
        foreach ((string name, IReadOnlyList<int> shape) in parsed.Tensors())
        {
            if (linears.GetValueOrDefault(name) is { } linear)
            {
                long tiles = PackedTiles.Count(linear.Outputs), groups = linear.Inputs / groupSize;
                Half[] scales = new Half[tiles * groups * PackedTiles.Rows];
                Array.Fill(scales, (Half)(0.2 / Math.Sqrt(linear.Inputs)));
                tensors.Add(TensorSource.FromBytes(linear.Name + IntAffine.WeightSuffix, ElementType.U8, [tiles, PackedTiles.Bytes(linear.Inputs, bits)], RandomBytes(tiles * PackedTiles.Bytes(linear.Inputs, bits))));
                tensors.Add(TensorSource.FromBytes(linear.Name + IntAffine.ScalesSuffix, ElementType.F16, [tiles, groups, PackedTiles.Rows], MemoryMarshal.AsBytes(scales.AsSpan()).ToArray()));
                continue;
            }

            // Norms of one, and embeddings and routers of numbers near it.
            Half[] values = [.. Enumerable.Range(0, shape.Aggregate((a, b) => a * b)).Select(i => (Half)(shape.Count == 1 ? 1 : Math.Sin(i)))];
            tensors.Add(TensorSource.FromBytes(name, ElementType.F16, [.. shape.Select(size => (long)size)], MemoryMarshal.AsBytes(values.AsSpan()).ToArray()));
        }

        ArtifactManifest manifest = new()
        {
            Fingerprint = new string('0', 64),
            ModelName = "random",
            QuantizerVersion = "0",
            Spec = new QuantizationSpec().ToMetadata().ToDictionary(),
            ConfigJson = config,
            ModelFiles = [],
            OriginalBytes = 1,
            Layers = linears.Values.ToDictionary(linear => linear.Name, LayerFormat (_) => new IntAffineFormat(bits, groupSize, Symmetric: true, Ordered: false)),
        };
        ArtifactWriter.Write(path, manifest, tensors);
        return path;
    }
}
