using System.Diagnostics;
using System.Text.Json;

namespace QuantBuild.Worker.Tests;

/// <summary>Ctrl+C ends a worker at once and leaves nothing half-written.</summary>
public sealed class InterruptTests
{
    [Theory]
    [InlineData(QuantizationMethod.Gptq, 1)]
    [InlineData(QuantizationMethod.Gptq, 2)]
    [InlineData(QuantizationMethod.Rtn, 3)]
    public void A_worker_that_is_interrupted_at_a_random_moment_ends_within_two_seconds_with_exit_code_130(QuantizationMethod method, int seed)
    {
        if (OperatingSystem.IsWindows()) return;
        // The model's whole context: a step takes a while.
        using SampleBuild build = new(new QuantizationSpec { Method = method, Bits = 4, CalibrationSamples = 4 });
        Interrupt(build, new Random(seed).NextDouble());
        Assert.Empty(build.HalfWritten);
        build.Run();
        Assert.Empty(build.Leftovers);
    }

    [Fact]
    public void A_step_of_a_large_layer_that_looks_at_nothing_meanwhile_is_ended_by_force()
    {
        if (OperatingSystem.IsWindows()) return;
        using SampleBuild sample = new(new QuantizationSpec { GroupSize = 16, CalibrationSamples = 1, CalibrationContext = 16, EvaluationContext = 16 });
        // The Hessian of 12,288 inputs takes several seconds to factor.
        using SampleBuild build = new(sample.Request.Spec) { Request = sample.Request with { ModelPath = WriteWideModel(sample) } };
        Interrupt(build, 0.3);
        Assert.Empty(build.HalfWritten);
        Assert.Null(build.Artifact);
    }

    /// <summary>Interrupts a worker after the time that its start took, or a part of it, and waits for its end.</summary>
    private static void Interrupt(SampleBuild build, double starts)
    {
        Stopwatch clock = Stopwatch.StartNew();
        using WorkerProcess worker = build.Start();
        while (!WorkerMessage.TryParse(worker.ReadLine()!)!.Text.StartsWith("memory: ", StringComparison.Ordinal))
        {
        }

        TimeSpan start = clock.Elapsed;
        Thread.Sleep(start * starts);
        clock.Restart();
        worker.Interrupt();
        int exitCode = worker.Wait();
        // A small model may be done by then.
        if (exitCode == 0) return;
        Assert.Equal(130, exitCode);
        // Where other tests slow everything down, the start took longer as well: it is one second on a machine that does nothing else.
        Assert.InRange(clock.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(2) + (2 * start));
    }

    /// <summary>A model of one narrow layer with a wide MLP, and the sample's tokenizer.</summary>
    private static string WriteWideModel(SampleBuild sample)
    {
        const int hidden = 32;
        string folder = Directory.CreateDirectory(Path.Combine(Path.GetDirectoryName(sample.Request.CalibrationFile)!, "wide")).FullName;
        string config = JsonSerializer.Serialize(new Dictionary<string, object>
        {
            ["architectures"] = new[] { "LlamaForCausalLM" },
            ["hidden_size"] = hidden,
            ["intermediate_size"] = 12288,
            ["num_hidden_layers"] = 1,
            ["num_attention_heads"] = 1,
            ["vocab_size"] = 4096,
            ["max_position_embeddings"] = 512,
            ["hidden_act"] = "silu",
            ["tie_word_embeddings"] = true,
        });
        File.WriteAllText(Path.Combine(folder, "config.json"), config);
        File.Copy(Path.Combine(sample.Request.ModelPath, "tokenizer.json"), Path.Combine(folder, "tokenizer.json"));
        Random random = new(1);
        IEnumerable<TensorSource> tensors = DecoderConfig.Parse(config, "config.json").Tensors().Select(tensor =>
        {
            byte[] bytes = new byte[tensor.Value.Aggregate(sizeof(float), (product, size) => product * size)];
            for (int i = 0; i < bytes.Length; i += sizeof(float)) BitConverter.TryWriteBytes(bytes.AsSpan(i), random.NextSingle() - 0.5f);
            return TensorSource.FromBytes(tensor.Key, ElementType.F32, [.. tensor.Value.Select(size => (long)size)], bytes);
        });
        SafetensorsWriter.Write(Path.Combine(folder, "model.safetensors"), new Dictionary<string, string>(), [.. tensors]);
        return folder;
    }
}
