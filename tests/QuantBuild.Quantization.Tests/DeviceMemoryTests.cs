using System.Globalization;
using TorchSharp;

namespace QuantBuild.Quantization.Tests;

/// <summary>What happens where a device has no memory for a batch. The device is a CPU here, and the error one that a step throws.</summary>
public sealed class DeviceMemoryTests
{
    private const int Context = 32;

    private readonly List<string> said = [];
    private readonly DeviceMemory memory;

    public DeviceMemoryTests()
    {
        NativeLibraries.Load();
        memory = new DeviceMemory(text => said.Add(text.ToString(CultureInfo.InvariantCulture)));
    }

    [Fact]
    public void Torchs_own_errors_are_known_by_their_text()
    {
        Exception error = Assert.ThrowsAny<Exception>(() => torch.empty(1L << 50));
        Assert.True(DeviceMemory.IsExhausted(error), error.Message);
        Assert.StartsWith("The memory of this machine ran out", DeviceMemory.Exhausted(error).Message, StringComparison.Ordinal);
        Assert.Contains("End other programs that use the GPU", DeviceMemory.Exhausted(OnCpu.OutOfMemory).Message, StringComparison.Ordinal);
        Assert.True(DeviceMemory.IsExhausted(OnCpu.OutOfMemory));
        Assert.False(DeviceMemory.IsExhausted(Assert.ThrowsAny<Exception>(() => torch.ones(2, 3).mm(torch.ones(2, 3)))));
    }

    [Fact]
    public void Streams_that_go_through_in_smaller_pieces_have_the_same_bits_and_it_is_said_once_for_each_size()
    {
        using HiddenStates all = Embed(), pieces = Embed(memory), mapped = Embed(memory);
        all.Update(Layer, default);
        all.Update(mapped, (a, b) => a.mul(b), default);
        pieces.Update(Limited(Layer, windows: 5), default);
        pieces.Update(mapped, (a, b) => Limited(x => x.mul(b), windows: 2)(a), default);
        Assert.Equal(Values(all), Values(pieces));
        Assert.Equal(
            [
                "the memory of the device ran out: it gets 256 tokens at a time from here on",
                "the memory of the device ran out: it gets 128 tokens at a time from here on",
                "the memory of the device ran out: it gets 64 tokens at a time from here on",
            ],
            said);
        using HiddenStates again = all.Map(Layer, default), inPieces = pieces.Map(Limited(Layer, windows: 2), default);
        Assert.Equal(Values(again), Values(inPieces));
        Assert.Equal(3, said.Count);
    }

    [Fact]
    public void Sums_over_smaller_parts_are_the_same_but_for_the_order_of_their_terms()
    {
        using HiddenStates states = Embed(memory);
        using Hessian all = new(8, torch.CPU), pieces = new(8, torch.CPU);
        states.VisitTokens((_, _, tokens) => tokens.clone().DetachFromDisposeScope(), (_, tokens) => all.Add(tokens), default);
        long seen = 0;
        states.VisitTokens(
            (_, part, tokens) =>
            {
                Assert.Equal(part.Count, tokens.shape[1]);
                return part.Count > 100 ? throw OnCpu.OutOfMemory : tokens.clone().DetachFromDisposeScope();
            },
            (_, tokens) =>
            {
                seen += tokens.shape[1];
                pieces.Add(tokens);
            },
            default);
        Assert.Equal(40 * Context, seen);
        Assert.Equal(all.Matrix.data<float>().ToArray(), pieces.Matrix.data<float>().ToArray(), (a, b) => Math.Abs(a - b) < 1e-3);
    }

    [Fact]
    public void Where_not_even_one_window_fits_the_error_is_QB1056_with_what_torch_said()
    {
        using HiddenStates states = Embed(memory);
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => states.Update(Limited(Layer, windows: 0), default));
        Assert.Equal(DiagnosticIds.GpuMemoryExhausted, error.Id);
        Assert.Contains("Torch says: CUDA out of memory. Tried to allocate 462.00 MiB.", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("Exception raised from", error.Message, StringComparison.Ordinal);
    }

    private static torch.Tensor Layer(torch.Tensor hidden) => hidden.softmax(-1).cumsum(1).tanh();

    private static Func<torch.Tensor, torch.Tensor> Limited(Func<torch.Tensor, torch.Tensor> step, int windows) =>
        batch => batch.shape[0] > windows ? throw OnCpu.OutOfMemory : step(batch);

    private static HiddenStates Embed(DeviceMemory? memory = null)
    {
        const int windows = 40, vocabulary = 50;
        using torch.Tensor table = torch.tensor(RandomData.Normal(new Random(5), vocabulary * 8)).view(vocabulary, 8);
        TokenWindows text = new([.. Enumerable.Range(0, windows * Context).Select(i => i * 7 % vocabulary)], Context);
        return HiddenStates.Embed(text, new(table), new Devices(torch.CPU, memory), ActivationStore.InMemory);
    }

    private static float[] Values(HiddenStates states) => [.. Enumerable.Range(0, states.Count).SelectMany(i => states.Batch(i).contiguous().data<float>().ToArray())];
}
