using QuantBuild.Cuda.Driver;
using QuantBuild.Cuda.Emulator;
using QuantBuild.Runtime.Tests;

namespace QuantBuild.Cuda.Tests.Driver;

/// <summary>What a program hears on machines whose GPU cannot be used.</summary>
public sealed class DeviceChoiceTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly string path;

    public DeviceChoiceTests() => path = TestModel.Write(folder.File("m"), TestArtifact.Config(), _ => null);

    public void Dispose() => folder.Dispose();

    public static TheoryData<string, EmulatedGpuOptions, string, string> Unusable { get; } = new()
    {
        { "no device", new() { FailInit = 100 }, "cuda", "the driver sees no GPU (CUDA_ERROR_NO_DEVICE)" },
        { "empty", new() { Devices = [] }, "cuda", "the driver sees no GPU" },
        { "mismatch", new() { FailInit = 803 }, "cuda", "of different versions" },
        { "broken", new() { FailInit = 999 }, "cuda", "the driver does not start (CUDA_ERROR_UNKNOWN" },
        { "old driver", new() { DriverVersion = 10020 }, "cuda", "its driver is for CUDA 10.2, expected at least 11.0" },
        { "older driver", new() { MissingExports = ["cuDevicePrimaryCtxRelease_v2"] }, "cuda", "its driver lacks cuDevicePrimaryCtxRelease_v2" },
        { "old device", new() { Devices = [new() { Name = "Old", Major = 7, Minor = 0 }] }, "cuda", "cuda:0 (Old) has the compute capability 7.0, expected at least 7.5" },
        { "bad number", new(), "cuda:1", "cuda:1 does not exist: the driver sees 1 GPU, cuda:0" },
        { "bad number of two", new() { Devices = [new(), new()] }, "cuda:7", "the driver sees 2 GPUs, cuda:0 to cuda:1" },
    };

    [Theory]
    [MemberData(nameof(Unusable))]
    public void What_cannot_be_used_is_an_error_that_says_why_and_auto_takes_the_processor(string what, EmulatedGpuOptions options, string device, string expected)
    {
        _ = what;
        using TestGpu gpu = new(options);
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => LanguageModel.Load(path, new LoadOptions { Device = device, Backend = gpu.Backend }));
        Assert.Equal(DiagnosticIds.GpuUnavailable, error.Id);
        Assert.Contains(expected, error.Message);
        Assert.Contains("LoadOptions.Device to cpu", error.Message);
        Assert.Equal(0, gpu.Machine.LiveAllocations);
        if (device != "cuda") return;
        using LanguageModel model = LanguageModel.Load(path, new LoadOptions { Backend = gpu.Backend });
        Assert.Equal("cpu", model.Placement.Device);
        Assert.Equal(error.Message, model.Placement.Reason);
        Assert.NotEmpty(model.Generate("One", new() { MaxTokens = 3, Temperature = 0 }));
    }

    [Fact]
    public void This_machine_has_no_driver_or_one_that_works()
    {
        using LanguageModel model = LanguageModel.Load(path, new LoadOptions { Backend = new CudaBackend() });
        if (model.Placement.Device == "cpu") Assert.Contains("No GPU can be used on this machine", model.Placement.Reason);
        else Assert.Equal("cuda:0", model.Placement.Device);
    }

    [Fact]
    public void The_package_is_found_by_its_name()
    {
        // The tests' program has it, as one that references the package.
        using LanguageModel model = LanguageModel.Load(path);
        Assert.DoesNotContain("does not have the package", model.Placement.Reason);
    }

    [Theory]
    [InlineData(" cuda:0\n", "cuda:0")]
    [InlineData("CUDA ", "cuda:0")]
    [InlineData(" cpu", "cpu")]
    public void Blanks_around_a_device_are_nothing(string device, string expected)
    {
        using TestGpu gpu = new();
        using LanguageModel model = LanguageModel.Load(path, new LoadOptions { Device = device, Backend = gpu.Backend });
        Assert.Equal(expected, model.Placement.Device);
    }

    [Theory]
    [InlineData("gpu", "Probably cuda is meant")]
    [InlineData("cuda:x", "expected auto, cpu, cuda")]
    [InlineData("cuda:-1", "expected auto, cpu, cuda")]
    [InlineData("", "expected auto, cpu, cuda")]
    public void A_device_that_is_none_is_an_error(string device, string expected)
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => LanguageModel.Load(path, new LoadOptions { Device = device }));
        Assert.Equal(DiagnosticIds.OptionInvalid, error.Id);
        Assert.Contains(expected, error.Message);
    }

    [Fact]
    public void A_device_that_is_full_is_an_error_and_auto_takes_the_processor()
    {
        using TestGpu gpu = new(new EmulatedGpuOptions { Devices = [new EmulatedDeviceOptions { Name = "Small", TotalMemory = 64 << 20 }] });
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => LanguageModel.Load(path, new LoadOptions { Device = "cuda", Backend = gpu.Backend }));
        Assert.Equal(DiagnosticIds.GpuMemoryFull, error.Id);
        Assert.Contains("The memory of cuda:0 (Small) is full: 6", error.Message);
        using LanguageModel model = LanguageModel.Load(path, new LoadOptions { Backend = gpu.Backend });
        Assert.Equal("cpu", model.Placement.Device);
    }

    [Theory]
    [InlineData(719, "CUDA_ERROR_LAUNCH_FAILED")]
    [InlineData(214, "CUDA_ERROR_ECC_UNCORRECTABLE")]
    public void A_device_that_is_lost_is_an_error_of_each_text_and_the_process_lives(int fault, string name)
    {
        bool lost = false;
        using TestGpu gpu = new(new EmulatedGpuOptions { LaunchFault = (launch, _) => launch > 200 && !lost ? fault : 0 });
        using (LanguageModel model = LanguageModel.Load(path, new LoadOptions { Device = "cuda", Backend = gpu.Backend }))
        {
            for (int i = 0; i < 2; i++)
            {
                QuantBuildException error = Assert.Throws<QuantBuildException>(() => model.Generate("One", new() { MaxTokens = 60, Temperature = 0 }));
                Assert.Equal(DiagnosticIds.GpuFailed, error.Id);
                Assert.Contains(name, error.Message);
            }
        }

        // Loaded again, it works again.
        lost = true;
        using LanguageModel again = LanguageModel.Load(path, new LoadOptions { Device = "cuda", Backend = gpu.Backend });
        Assert.NotEmpty(again.Generate("One", new() { MaxTokens = 60, Temperature = 0 }));
    }

    public static TheoryData<string, string> OutOfBounds { get; } = new()
    {
        { TestArtifact.Config(hidden: 16, intermediate: 16, heads: 1, kvHeads: 1, headDim: 258, layers: 1, vocabulary: 300), "its heads have 258 dimensions" },
        { TestArtifact.Config(hidden: 16400, intermediate: 16, heads: 1, kvHeads: 1, headDim: 16, layers: 1, vocabulary: 300), "its residual stream is 16400 numbers wide" },
        { MixtureOfMany, "33 experts see each token" },
    };

    /// <summary>Models that the kernels do not take: an error where a GPU is asked for, and the processor where any device will do.</summary>
    [Theory]
    [MemberData(nameof(OutOfBounds))]
    public void A_model_that_kernels_do_not_take_is_QB1070_or_left_to_the_processor(string config, string says)
    {
        string path = TestModel.Write(folder.File("o"), config, _ => null);
        using TestGpu gpu = new();
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => LanguageModel.Load(path, new LoadOptions { Device = "cuda", Backend = gpu.Backend }));
        Assert.Equal(DiagnosticIds.GpuUnavailable, error.Id);
        Assert.Contains(says, error.Message);
        using LanguageModel model = LanguageModel.Load(path, new LoadOptions { Device = "auto", Backend = gpu.Backend });
        Assert.Equal("cpu", model.Placement.Device);
        Assert.Contains(says, model.Placement.Reason);
    }

    private const string MixtureOfMany = """
        {"architectures": ["MixtralForCausalLM"], "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "max_position_embeddings": 64,
         "vocab_size": 300, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "sliding_window": null, "num_local_experts": 34, "num_experts_per_tok": 33}
        """;

    [Fact]
    public async Task A_text_that_finds_no_room_for_its_keys_and_values_ends_and_the_others_go_on()
    {
        string large = TestModel.Write(folder.File("l"), TestArtifact.Config(heads: 32, kvHeads: 32, headDim: 256, layers: 4, context: 64), _ => null);
        // 32 tokens take a megabyte of each of four layers.
        using TestGpu gpu = new(new EmulatedGpuOptions { Devices = [new EmulatedDeviceOptions { TotalMemory = 480 << 20 }] });
        using LanguageModel model = LanguageModel.Load(large, new LoadOptions { Device = "cuda", PromptCacheTokens = 0, Backend = gpu.Backend });
        Assert.Equal(4, model.Placement.DeviceLayers);
        // Somebody else takes all but room for a few texts.
        using CudaDevice other = new(gpu.Driver(), 0);
        other.Allocate(other.FreeMemory() - (14 << 20));
        List<TextSession> sessions = [];
        QuantBuildException error = Assert.Throws<QuantBuildException>(() =>
        {
            for (int i = 0; i < 1000; i++)
            {
                sessions.Add(model.CreateSession());
                sessions[^1].Generate("One", new() { MaxTokens = 1, Temperature = 0 });
            }
        });
        Assert.Equal(DiagnosticIds.GpuMemoryFull, error.Id);
        Assert.InRange(sessions.Count, 3, 5);
        Assert.NotEmpty(sessions[0].Generate(" day", new() { MaxTokens = 5, Temperature = 0 }));
        // Now there is room for one of several that are computed together.
        sessions[0].Dispose();
        sessions.RemoveAt(0);
        QuantBuildException?[] errors = await Task.WhenAll(Enumerable.Range(0, 3).Select(async _ =>
        {
            try
            {
                await model.GenerateAsync("One", new() { MaxTokens = 20, Temperature = 0 });
                return null;
            }
            catch (QuantBuildException e)
            {
                return e;
            }
        }));
        Assert.Contains(null, errors);
        Assert.Contains(errors, e => e?.Id == DiagnosticIds.GpuMemoryFull);
        foreach (TextSession session in sessions) session.Dispose();
        Assert.Equal(0, model.PagesInUse);
        Assert.NotEmpty(model.Generate("One", new() { MaxTokens = 5, Temperature = 0 }));
    }
}
