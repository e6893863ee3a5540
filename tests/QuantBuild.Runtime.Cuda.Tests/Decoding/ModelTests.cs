using QuantBuild.Cuda.Driver;
using QuantBuild.Cuda.Emulator;
using QuantBuild.Runtime.Tests;

namespace QuantBuild.Cuda.Tests.Decoding;

/// <summary>What a model offers on the processor, on the emulated GPU: a small random model, whose texts are those of the processor.</summary>
public sealed class ModelTests : IDisposable
{
    private const string Prompt = "One day";

    private readonly TemporaryFolder folder = new();
    private readonly string path;

    public ModelTests() => path = TestModel.Write(
        folder.File("m"), TestArtifact.Config(layers: 3, context: 256), linear => linear.Name.Contains("layers") ? new IntAffineFormat(4, linear.Inputs % 16 == 0 ? 16 : linear.Inputs, true, false) : null, seed: 3);

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task Texts_that_are_computed_together_are_those_that_each_is_alone()
    {
        using TestGpu gpu = new();
        using LanguageModel processor = LanguageModel.Load(path, new LoadOptions { Device = "cpu" }), model = Load(gpu);
        string[] prompts = [.. Enumerable.Range(0, 12).Select(i => Prompt + (char)('a' + i))];
        string[] texts = await Task.WhenAll(prompts.Select(prompt => model.GenerateAsync(prompt, Greedy(20))));
        Assert.Equal(prompts.Select(prompt => processor.Generate(prompt, Greedy(20))), texts);
        Assert.Empty(gpu.Violations);
    }

    [Fact]
    public void A_session_is_saved_on_one_device_and_goes_on_on_the_other()
    {
        using TestGpu gpu = new();
        using LanguageModel processor = LanguageModel.Load(path, new LoadOptions { Device = "cpu" }), model = Load(gpu);
        foreach ((LanguageModel first, LanguageModel second) in new[] { (processor, model), (model, processor) })
        {
            using MemoryStream saved = new();
            using TextSession session = first.CreateSession();
            session.Generate(Prompt, Greedy(50));
            session.Save(saved);
            string expected = session.Generate("And then", Greedy(20));
            saved.Position = 0;
            using TextSession other = second.LoadSession(saved);
            Assert.Equal(expected, other.Generate("And then", Greedy(20)));
        }
    }

    [Fact]
    public void A_fork_goes_its_own_way()
    {
        using TestGpu gpu = new();
        using LanguageModel model = Load(gpu);
        using TextSession session = model.CreateSession();
        session.Generate(Prompt, Greedy(45));
        using TextSession fork = session.Fork();
        string elsewhere = fork.Generate("But", Greedy(15)), here = session.Generate("And", Greedy(15));
        using TextSession again = model.CreateSession();
        again.Generate(Prompt, Greedy(45));
        Assert.Equal(here, again.Generate("And", Greedy(15)));
        Assert.NotEqual(elsewhere, here);
    }

    [Fact]
    public void Output_is_held_to_a_grammar_and_guesses_do_not_change_it()
    {
        using TestGpu gpu = new();
        using LanguageModel processor = LanguageModel.Load(path, new LoadOptions { Device = "cpu" }), model = Load(gpu);
        GenerationOptions numbers = Greedy(30) with { Format = OutputFormat.Grammar("root ::= [0-9]+ (\",\" [0-9]+)*") };
        string text = model.Generate(Prompt, numbers);
        Assert.Matches("^[0-9]+(,[0-9]+)*,?$", text);
        Assert.Equal(processor.Generate(Prompt, numbers), text);
        string plain = model.Generate(Prompt, Greedy(40));
        Assert.Equal(plain, model.Generate(Prompt, Greedy(40) with { Speculation = Speculation.PromptLookup() }));
        Assert.Equal(plain, model.Generate(Prompt, Greedy(40) with { Speculation = Speculation.DraftModel(processor) }));
    }

    [Fact]
    public void A_vector_for_a_text_is_that_of_the_processor()
    {
        using TestGpu gpu = new();
        using LanguageModel processor = LanguageModel.Load(path, new LoadOptions { Device = "cpu" }), model = Load(gpu);
        string text = string.Concat(Enumerable.Repeat("The old house stood there. ", 20));
        Assert.InRange(processor.Embed(text).Zip(model.Embed(text), (a, b) => a * b).Sum(), 0.9999, 1.0001);
    }

    [Fact]
    public async Task A_thousand_requests_some_of_them_cancelled_leave_no_memory_behind()
    {
        TestGpu gpu = new();
        using (LanguageModel model = Load(gpu, new LoadOptions { PromptCacheTokens = 0, MaxConcurrentTexts = 16 }))
        {
            long before = gpu.Machine.AllocatedBytes;
            Random random = new(1);
            await Parallel.ForEachAsync(Enumerable.Range(0, 1000), new ParallelOptions { MaxDegreeOfParallelism = 24 }, async (i, _) =>
            {
                using CancellationTokenSource source = new();
                if (i % 3 == 0) source.CancelAfter(i % 40);
                try
                {
                    await model.GenerateAsync(Prompt + i, Greedy(1 + (i % 5)), source.Token);
                }
                catch (OperationCanceledException)
                {
                }
            });
            Assert.Equal(0, model.PagesInUse);
            // Pages that nobody has are kept for the next texts, but not many.
            Assert.InRange(gpu.Machine.AllocatedBytes - before, 0, 33 * 1024 * 1024L);
        }

        Assert.Equal(0, gpu.Machine.LiveAllocations);
        Assert.Empty(gpu.Violations);
        gpu.Dispose();
    }

    [Fact]
    public void Layers_that_have_no_room_stay_on_the_processor()
    {
        string large = TestModel.Write(folder.File("l"), TestArtifact.Config(hidden: 504, intermediate: 4096, heads: 8, kvHeads: 8, headDim: 64, layers: 6, context: 64), _ => null, seed: 4);
        using LanguageModel processor = LanguageModel.Load(large, new LoadOptions { Device = "cpu", PromptCacheTokens = 0 });
        string expected = processor.Generate(Prompt, Greedy(5));
        List<int> layers = [];
        foreach (int megabytes in (int[])[385, 420, 800])
        {
            using TestGpu gpu = new(new EmulatedGpuOptions { Devices = [new EmulatedDeviceOptions { TotalMemory = (long)megabytes << 20 }] });
            using LanguageModel model = LanguageModel.Load(large, new LoadOptions { Device = "cuda", PromptCacheTokens = 0, Backend = gpu.Backend });
            Assert.Equal(expected, model.Generate(Prompt, Greedy(5)));
            Assert.InRange(gpu.Machine.AllocatedBytes, model.Placement.DeviceBytes, (long)megabytes << 20);
            layers.Add(model.Placement.DeviceLayers);
            Assert.Contains(model.Placement.DeviceLayers == 6 ? "All 6 layers are on cuda:0" : $"{model.Placement.DeviceLayers} of 6 layers are on cuda:0", model.Placement.Reason);
            using MemoryStream saved = new();
            using TextSession session = model.CreateSession();
            session.Generate(Prompt, Greedy(33));
            session.Save(saved);
            saved.Position = 0;
            using TextSession other = processor.LoadSession(saved);
            Assert.Equal(session.Generate("And", Greedy(3)), other.Generate("And", Greedy(3)));
            Assert.Empty(gpu.Violations);
        }

        Assert.Equal(6, layers[2]);
        Assert.InRange(layers[0], 1, layers[1] - 1);
        Assert.InRange(layers[1], 2, 5);
    }

    [Fact]
    public void Room_is_kept_for_a_text_as_long_as_is_asked_for()
    {
        // 2 * 6 layers * 8 heads * 64 halves are 12 KB a token: 24 MB for 2,000, and 192 MB for 16,000.
        string large = TestModel.Write(folder.File("l"), TestArtifact.Config(hidden: 504, intermediate: 1024, heads: 8, kvHeads: 8, headDim: 64, layers: 6, context: 16000), _ => null, seed: 4);
        int LayersOf(int? context)
        {
            using TestGpu gpu = new(new EmulatedGpuOptions { Devices = [new EmulatedDeviceOptions { TotalMemory = 450L << 20 }] });
            using LanguageModel model = LanguageModel.Load(large, new LoadOptions { Device = "cuda", PromptCacheTokens = 0, Backend = gpu.Backend, ContextLength = context });
            Assert.Equal(context ?? 16000, model.ContextLength);
            return model.Placement.DeviceLayers;
        }

        Assert.Equal((6, 6), (LayersOf(2000), LayersOf(null)));
        Assert.InRange(LayersOf(16000), 1, 5);
    }

    [Fact]
    public void Rows_that_come_back_to_the_processor_are_padded_with_zeros()
    {
        // 520 inputs are padded to 544, and what is packed behind the 520 weights of the head's rows is not 0.
        string config = TestArtifact.Config(hidden: 520, intermediate: 4096, heads: 8, kvHeads: 8, headDim: 64, layers: 6, context: 64);
        string padded = TestModel.Write(folder.File("p"), config, linear => linear.Name.Contains("layers") ? null : new IntAffineFormat(8, linear.Inputs, false, false), seed: 4);
        using TestGpu gpu = new(new EmulatedGpuOptions { Devices = [new EmulatedDeviceOptions { TotalMemory = 385L << 20 }] });
        using LanguageModel expected = LanguageModel.Load(padded, new LoadOptions { Device = "cpu", PromptCacheTokens = 0 });
        using LanguageModel model = LanguageModel.Load(padded, new LoadOptions { Device = "cuda", PromptCacheTokens = 0, Backend = gpu.Backend });
        Assert.InRange(model.Placement.DeviceLayers, 1, 5);
        int[] tokens = [.. Enumerable.Range(100, 6)];
        float[] right = Sequence.Logits(expected, tokens, [5, 1]), found = Sequence.Logits(model, tokens, [5, 1]);
        Assert.InRange(right.Zip(found, (a, b) => Math.Abs(a - b)).Max() / right.Max(Math.Abs), 0, 1e-2);
    }

    [Fact]
    public void A_model_that_is_disposed_leaves_nothing_in_a_context_that_others_use()
    {
        using TestGpu gpu = new();
        using CudaDevice other = new(gpu.Driver(), 0);
        int before = gpu.Machine.LiveObjects;
        using (LanguageModel model = Load(gpu)) model.Generate(Prompt, Greedy(5));
        Assert.Equal(before, gpu.Machine.LiveObjects);
        Assert.Equal(0, gpu.Machine.LiveAllocations);
    }

    [Theory]
    [InlineData(7, 5)]
    [InlineData(9, 0)]
    public void Older_and_newer_devices_give_the_same_logits(int major, int minor)
    {
        using TestGpu gpu = new(new EmulatedGpuOptions { CheckRaces = true, CheckUninitialised = true, Devices = [new EmulatedDeviceOptions { Major = major, Minor = minor }] }), usual = new();
        using LanguageModel expected = Load(usual), model = Load(gpu);
        int[] tokens = [.. Enumerable.Range(100, 40)];
        // Products of halves are summed eight or sixteen at a time: those of bytes are exact, and equal.
        Assert.Equal(Sequence.Logits(expected, tokens, [16, 9, 1, 8]), Sequence.Logits(model, tokens, [16, 9, 1, 8]));
        float[] first = Sequence.Logits(expected, tokens, [40]), second = Sequence.Logits(model, tokens, [40]);
        Assert.InRange(first.Zip(second, (a, b) => Math.Abs(a - b)).Max() / first.Max(Math.Abs), 0, 2e-2);
        Assert.Empty(gpu.Violations);
    }

    [Fact]
    public void A_driver_without_graphs_is_enough()
    {
        using TestGpu gpu = new(new EmulatedGpuOptions { DriverVersion = 11000, MissingExports = ["cuGraphInstantiateWithFlags"] });
        using LanguageModel processor = LanguageModel.Load(path, new LoadOptions { Device = "cpu" }), model = Load(gpu);
        Assert.Equal(processor.Generate(Prompt, Greedy(20)), model.Generate(Prompt, Greedy(20)));
        Assert.Equal(0, gpu.Machine.GraphLaunches);
    }

    private static GenerationOptions Greedy(int tokens) => new() { MaxTokens = tokens, Temperature = 0 };

    private LanguageModel Load(TestGpu gpu, LoadOptions? options = null) => LanguageModel.Load(path, (options ?? new LoadOptions()) with { Device = "cuda", Backend = gpu.Backend });
}
