using System.Security.Cryptography;
using QuantBuild.Worker.Synthesis;

namespace QuantBuild.Worker.Tests;

public sealed class SynthesizedModelTests : IDisposable
{
    // Its embedding is three pieces, the last of them not full.
    private static readonly ModelShape Wide = ModelShape.Find("tiny") with { Vocabulary = 9000 };

    private readonly string folder = Directory.CreateTempSubdirectory("quantbuild-").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public async Task The_command_makes_a_folder_that_opens_quantizes_and_generates()
    {
        string model = Path.Combine(folder, "model");
        string artifact = Path.Combine(folder, "out.safetensors");
        using (WorkerProcess synthesize = new(Path.Combine(folder, "cache"), "synthesize", "--shape", "tiny", "--layers", "3", "-o", model))
        {
            Assert.EndsWith("model: 0.2 million random weights in BF16", Assert.Single(synthesize.ReadToEnd()), StringComparison.Ordinal);
            Assert.Equal(0, synthesize.Wait());
            Assert.Contains("[100%] lm_head.weight", await synthesize.Error, StringComparison.Ordinal);
        }

        DecoderConfig config = ModelFolder.Open(model).Config;
        Assert.Equal((64, 192, 3, 4, 2, 16), (config.HiddenSize, config.IntermediateSize, config.Layers, config.Heads, config.KvHeads, config.HeadDim));
        Assert.Equal((512, 128, 256), (config.VocabularySize, config.ContextLength, config.BosTokenId));
        using WorkerProcess quantize = new(
            Path.Combine(folder, "cache"), "quantize", model, "--method", "Rtn", "--group-size", "32", "--device", "cpu", "-o", artifact);
        quantize.ReadToEnd();
        Assert.Equal(0, quantize.Wait());
        using LanguageModel language = LanguageModel.Load(artifact);
        Assert.NotNull(language.Generate("abc", new GenerationOptions { MaxTokens = 4 }));
    }

    [Fact]
    public void A_seed_gives_the_same_bytes_with_any_number_of_threads()
    {
        byte[] one = Weights(new SynthesizedModel { Shape = Wide, Threads = 1 });
        Assert.Equal(one, Weights(new SynthesizedModel { Shape = Wide, Threads = 2 }));
        Assert.Equal(one, Weights(new SynthesizedModel { Shape = Wide, Threads = 5 }));
        Assert.NotEqual(one, Weights(new SynthesizedModel { Shape = Wide, Threads = 1, Seed = 1 }));
    }

    [Fact]
    public void A_seed_gives_the_same_bytes_on_every_machine() => Assert.Equal(
        "2fdd6bc5e04d89eaffa886900a6ed633ec62c504c0d43b5a20eafc01bcc22bf8",
        Convert.ToHexStringLower(SHA256.HashData(Weights(new SynthesizedModel { Shape = ModelShape.Find("tiny"), Seed = 7 }))));

    [Fact]
    public void Values_are_normal_with_the_deviation_of_their_weight()
    {
        SynthesizedModel model = new() { Shape = Wide, Type = ElementType.F32 };
        model.Write(Path.Combine(folder, "model"), _ => { }, CancellationToken.None);
        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(folder, "model", "model.safetensors"), DiagnosticIds.WeightsMalformed);
        foreach (string name in new[] { DecoderConfig.EmbeddingName, "model.layers.0.mlp.up_proj.weight", "model.layers.1.mlp.down_proj.weight" })
        {
            double expected = name.Contains("down_proj", StringComparison.Ordinal) ? 0.02 / 2 : 0.02;
            float[] values = Singles(file, name);
            int inputs = (int)file.Tensors[name].Shape[1];
            bool[] salient = new RandomTensor(name, values.Length / inputs, inputs, expected, ElementType.F32, 0).SalientColumns();
            Assert.Equal(1, salient.Count(column => column));
            AssertNormal(values.Where((_, i) => !salient[i % inputs]), expected);
            AssertNormal(values.Where((_, i) => salient[i % inputs]), 4 * expected);
        }
    }

    [Fact]
    public void Norms_are_1_in_every_type()
    {
        foreach (ElementType type in new[] { ElementType.F32, ElementType.F16, ElementType.BF16 })
        {
            string model = Path.Combine(folder, type.ToString());
            new SynthesizedModel { Shape = ModelShape.Find("tiny"), Type = type }.Write(model, _ => { }, CancellationToken.None);
            using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(model, "model.safetensors"), DiagnosticIds.WeightsMalformed);
            Assert.All(Singles(file, DecoderConfig.FinalNormName), value => Assert.Equal(1, value));
        }
    }

    [Fact]
    public void The_16_bit_types_are_the_32_bit_values_rounded()
    {
        float[] exact = Of(ElementType.F32);
        // 8 and 11 bits of significand, rounded to nearest; below its normal numbers F16 has steps of 2^-24.
        Assert.All(exact.Zip(Of(ElementType.BF16)), pair => Assert.InRange(Math.Abs(pair.First - pair.Second), 0, Math.ScaleB(Math.Abs(pair.First), -8)));
        Assert.All(exact.Zip(Of(ElementType.F16)), pair =>
            Assert.InRange(Math.Abs(pair.First - pair.Second), 0, Math.Max(Math.ScaleB(Math.Abs(pair.First), -11), Math.ScaleB(1, -25))));

        float[] Of(ElementType type)
        {
            string model = Path.Combine(folder, type.ToString());
            new SynthesizedModel { Shape = ModelShape.Find("tiny"), Type = type }.Write(model, _ => { }, CancellationToken.None);
            using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(model, "model.safetensors"), DiagnosticIds.WeightsMalformed);
            return Singles(file, DecoderConfig.HeadName);
        }
    }

    [Fact]
    public void The_logarithm_is_the_natural_one()
    {
        Random random = new(1);
        for (int i = 0; i < 10_000; i++)
        {
            double value = Math.ScaleB(1 + random.NextDouble(), random.Next(-64, 1));
            Assert.InRange(NormalDistribution.Logarithm(value), Math.Log(value) - 1e-11, Math.Log(value) + 1e-11);
        }
    }

    [Fact]
    public void Without_another_tokenizer_each_byte_is_a_token()
    {
        TextTokenizer tokenizer = TextTokenizer.Load(System.Text.Encoding.UTF8.GetBytes(ByteTokenizer.Json()), "tokenizer.json");
        Assert.Equal(ByteTokenizer.Size, tokenizer.VocabularySize);
        Assert.Equal([256, 'a', ' ', 0xC3, 0xA9, '\n'], tokenizer.Encode("a é\n"));
        Assert.Equal("a é\n", tokenizer.Decode(tokenizer.Encode("a é\n")));
        Assert.Equal([257], tokenizer.Encode("<|end_of_text|>", addSpecialTokens: false));
    }

    [Fact]
    public void The_tokenizer_of_another_model_is_copied()
    {
        string model = Path.Combine(folder, "model");
        DecoderConfig config = new SynthesizedModel { Shape = ModelShape.Find("tiny") with { Vocabulary = 4096 }, TokenizerFolder = SampleFiles.Model }
            .Write(model, _ => { }, CancellationToken.None);
        Assert.Equal(4093, config.BosTokenId);
        foreach (string name in new[] { "tokenizer.json", "tokenizer_config.json" })
        {
            Assert.Equal(File.ReadAllBytes(Path.Combine(SampleFiles.Model, name)), File.ReadAllBytes(Path.Combine(model, name)));
        }
    }

    [Fact]
    public void A_run_that_is_cancelled_leaves_nothing()
    {
        using CancellationTokenSource source = new();
        SynthesizedModel model = new() { Shape = Wide, Threads = 1 };
        Assert.Throws<OperationCanceledException>(() => model.Write(Path.Combine(folder, "model"), _ => source.Cancel(), source.Token));
        Assert.Empty(Directory.GetFileSystemEntries(folder));
    }

    [Fact]
    public void A_folder_with_files_is_not_touched_and_an_empty_one_is_filled()
    {
        string model = Path.Combine(folder, "model");
        Directory.CreateDirectory(model);
        SynthesizedModel tiny = new() { Shape = ModelShape.Find("tiny") };
        tiny.Write(model + Path.DirectorySeparatorChar, _ => { }, CancellationToken.None);
        Assert.Equal(4, Directory.GetFiles(model).Length);
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => tiny.Write(model, _ => { }, CancellationToken.None));
        Assert.Equal(DiagnosticIds.NotWritable, error.Id);
        Assert.Contains("is not an empty folder", error.Message, StringComparison.Ordinal);
        Assert.Equal([model], Directory.GetFileSystemEntries(folder));
    }

    [Fact]
    public void What_a_run_that_was_stopped_at_once_left_is_found()
    {
        string left = Directory.CreateDirectory(Path.Combine(folder, "model.0123.tmp")).FullName;
        Directory.CreateDirectory(Path.Combine(folder, "other.0123.tmp"));
        Assert.Equal([left], SynthesizedModel.Leftovers(Path.Combine(folder, "model") + Path.DirectorySeparatorChar));
        Assert.Empty(SynthesizedModel.Leftovers(Path.Combine(folder, "none", "model")));
    }

    [Theory]
    [InlineData("QB0006", "--shape huge is not a shape", "--shape", "huge")]
    [InlineData("QB0006", "--layers 0 is not a whole number from 1 to 4096", "--layers", "0")]
    [InlineData("QB0006", "--context long is not a whole number", "--context", "long")]
    [InlineData("QB0006", "--heads 5 does not divide --hidden 64", "--heads", "5")]
    [InlineData("QB0006", "--kv-heads 3 does not divide --heads 4", "--kv-heads", "3")]
    [InlineData("QB0006", "--hidden 4 over --heads 4 is 1", "--hidden", "4")]
    [InlineData("QB0006", "--vocabulary 200 is smaller than the 258 tokens", "--vocabulary", "200")]
    [InlineData("QB0006", "--type I8 is not a type of weights", "--type", "I8")]
    [InlineData("QB0006", "--seed -1 is not a whole number", "--seed", "-1")]
    [InlineData("QB2001", "that --tokenizer names does not exist", "--tokenizer", "/none")]
    public async Task A_wrong_option_is_an_error_that_names_it(string id, string message, params string[] options)
    {
        string model = Path.Combine(folder, "model");
        using WorkerProcess worker = new(folder, ["synthesize", "-o", model, .. options.Contains("--shape") ? [] : new[] { "--shape", "tiny" }, .. options]);
        Assert.Empty(worker.ReadToEnd());
        Assert.Equal(1, worker.Wait());
        string error = await worker.Error;
        Assert.StartsWith($"error {id}: ", error, StringComparison.Ordinal);
        Assert.Contains(message, error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(model));
    }

    private byte[] Weights(SynthesizedModel model)
    {
        string target = Path.Combine(folder, Guid.NewGuid().ToString("N"));
        model.Write(target, _ => { }, CancellationToken.None);
        return File.ReadAllBytes(Path.Combine(target, "model.safetensors"));
    }

    private static unsafe float[] Singles(SafetensorsFile file, string name)
    {
        TensorEntry entry = file.Tensors[name];
        byte* bytes = file.Pointer(entry);
        return
        [
            .. Enumerable.Range(0, (int)(entry.ByteLength / entry.Type.Size())).Select(i => entry.Type switch
            {
                ElementType.F32 => ((float*)bytes)[i],
                ElementType.F16 => (float)((Half*)bytes)[i],
                _ => BitConverter.UInt32BitsToSingle((uint)((ushort*)bytes)[i] << 16),
            }),
        ];
    }

    /// <summary>The first four moments, each within five of its standard errors.</summary>
    private static void AssertNormal(IEnumerable<float> sample, double deviation)
    {
        double[] values = [.. sample.Select(value => value / deviation)];
        double count = values.Length;
        double Moment(int power) => values.Sum(value => Math.Pow(value, power)) / count;
        Assert.InRange(Moment(1), -5 / Math.Sqrt(count), 5 / Math.Sqrt(count));
        Assert.InRange(Moment(2), 1 - (5 * Math.Sqrt(2 / count)), 1 + (5 * Math.Sqrt(2 / count)));
        Assert.InRange(Moment(3), -5 * Math.Sqrt(15 / count), 5 * Math.Sqrt(15 / count));
        Assert.InRange(Moment(4), 3 - (5 * Math.Sqrt(96 / count)), 3 + (5 * Math.Sqrt(96 / count)));
    }
}
