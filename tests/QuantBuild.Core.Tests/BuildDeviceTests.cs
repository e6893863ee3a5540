namespace QuantBuild.Core.Tests;

public sealed class BuildDeviceTests
{
    private const string Linux = "linux-x64";
    private static readonly Gpu H100 = new("NVIDIA H100", 80_000_000_000, new Version(9, 0));
    private static readonly DriverReport Missing = new(DriverState.Missing, "this machine has no NVIDIA driver");
    private static readonly DriverReport Broken = new(DriverState.Broken, "the NVIDIA driver does not start (cuInit gives the error 999)");
    private static readonly DriverReport Empty = new(DriverState.Answers, "the NVIDIA driver supports CUDA 12.8 and has no GPU", new Version(12, 8), []);
    private static readonly DriverReport Old = new(DriverState.Answers, "the NVIDIA driver supports CUDA 12.4 and has one GPU", new Version(12, 4), [H100]);
    private static readonly DriverReport Two = new(DriverState.Answers, "the NVIDIA driver supports CUDA 13.0 and has 2 GPUs", new Version(13, 0), [H100, H100]);

    public static TheoryData<string, string> Unusable => new()
    {
        { nameof(Missing), DiagnosticIds.CudaUnavailable },
        { nameof(Broken), DiagnosticIds.CudaUnavailable },
        { nameof(Empty), DiagnosticIds.GpuMissing },
        { nameof(Old), DiagnosticIds.DriverTooOld },
    };

    [Theory]
    [MemberData(nameof(Unusable))]
    public void Auto_takes_the_cpu_where_no_gpu_can_be_used_and_says_why_and_cuda_is_an_error(string name, string id)
    {
        DriverReport driver = name switch { nameof(Missing) => Missing, nameof(Broken) => Broken, nameof(Empty) => Empty, _ => Old };
        BuildDevice choice = BuildDevice.Of("auto", () => driver, Linux);
        Assert.Equal("cpu", choice.Device);
        Assert.False(choice.IsCuda);
        Assert.Contains("NVIDIA driver", choice.Reason, StringComparison.Ordinal);
        foreach (string device in new[] { "cuda", "cuda:0" })
        {
            QuantBuildException error = ErrorAssert.Throws(id, () => BuildDevice.Of(device, () => driver, Linux));
            Assert.Contains(choice.Reason, error.Message, StringComparison.Ordinal);
            Assert.EndsWith("or set the device to auto or cpu.", error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Auto_takes_the_first_gpu_where_the_driver_is_new_enough_and_describes_it()
    {
        BuildDevice choice = BuildDevice.Of("auto", () => Two, Linux);
        Assert.Equal("cuda:0", choice.Device);
        Assert.True(choice.IsCuda);
        Assert.Equal("NVIDIA H100, 80.0 GB, compute capability 9.0; the NVIDIA driver supports CUDA 13.0 and has 2 GPUs (cuda:all takes all)", choice.Reason);
    }

    [Theory]
    [InlineData("cuda", "cuda:0")]
    [InlineData(" CUDA:1 ", "cuda:1")]
    public void Cuda_takes_the_gpu_of_its_number(string device, string expected) => Assert.Equal(expected, BuildDevice.Of(device, () => Two, "win-x64").Device);

    [Fact]
    public void A_number_that_no_gpu_has_is_QB1052_and_says_which_there_are() =>
        Assert.Contains("has 2 GPUs, and numbers begin with 0. Say cuda:1", ErrorAssert.Throws(DiagnosticIds.GpuNumberInvalid, () => BuildDevice.Of("cuda:2", () => Two, Linux)).Message, StringComparison.Ordinal);

    [Fact]
    public void A_gpu_that_is_too_old_or_does_not_answer_is_passed_over_and_is_QB1057_where_it_is_asked_for()
    {
        Gpu old = new("NVIDIA GeForce GTX 1080", 8_000_000_000, new Version(6, 1)), silent = new("a GPU that does not answer", 0, new Version(0, 0));
        DriverReport mixed = Two with { Gpus = [old, silent, H100] }, none = Two with { Gpus = [old, silent] };
        foreach (string device in new[] { "auto", "cuda", "cuda:2" }) Assert.Equal("cuda:2", BuildDevice.Of(device, () => mixed, Linux).Device);
        Assert.Contains("cuda:0 is too old: NVIDIA GeForce GTX 1080 has compute capability 6.1, expected 7.0 or later", ErrorAssert.Throws(DiagnosticIds.GpuTooOld, () => BuildDevice.Of("cuda:0", () => mixed, Linux)).Message, StringComparison.Ordinal);
        ErrorAssert.Throws(DiagnosticIds.GpuTooOld, () => BuildDevice.Of("cuda:1", () => mixed, Linux));
        ErrorAssert.Throws(DiagnosticIds.GpuTooOld, () => BuildDevice.Of("cuda", () => none, Linux));
        BuildDevice choice = BuildDevice.Of("auto", () => none, Linux);
        Assert.Equal("cpu", choice.Device);
        Assert.Contains("cuda:1 is too old: a GPU that does not answer", choice.Reason, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("cuda:0+1", "cuda:0+1")]
    [InlineData("CUDA:1+0", "cuda:1+0")]
    [InlineData("cuda:all", "cuda:0+1")]
    public void Several_gpus_are_taken_in_the_order_in_which_they_are_named(string device, string expected)
    {
        BuildDevice choice = BuildDevice.Of(device, () => Two, Linux);
        Assert.Equal(expected, choice.Device);
        Assert.Equal(expected, BuildDevice.Of(choice.Device, () => Two, Linux).Device);
    }

    [Fact]
    public void All_gpus_are_those_that_are_not_too_old_and_one_of_several_that_is_too_old_or_not_there_is_an_error()
    {
        DriverReport mixed = Two with { Gpus = [H100, new Gpu("NVIDIA GeForce GTX 1080", 8_000_000_000, new Version(6, 1)), H100] };
        BuildDevice all = BuildDevice.Of("cuda:all", () => mixed, Linux);
        Assert.Equal("cuda:0+2", all.Device);
        Assert.Equal("NVIDIA H100, 80.0 GB, compute capability 9.0; NVIDIA H100, 80.0 GB, compute capability 9.0", all.Reason);
        Assert.EndsWith("(cuda:all takes cuda:0+2)", BuildDevice.Of("auto", () => mixed, Linux).Reason, StringComparison.Ordinal);
        Assert.Contains("cuda:1 is too old", ErrorAssert.Throws(DiagnosticIds.GpuTooOld, () => BuildDevice.Of("cuda:0+1", () => mixed, Linux)).Message, StringComparison.Ordinal);
        Assert.Contains("cuda:3 does not exist", ErrorAssert.Throws(DiagnosticIds.GpuNumberInvalid, () => BuildDevice.Of("cuda:0+3", () => mixed, Linux)).Message, StringComparison.Ordinal);
        ErrorAssert.Throws(DiagnosticIds.GpuTooOld, () => BuildDevice.Of("cuda:all", () => mixed with { Gpus = [mixed.Gpus![1]] }, Linux));
        ErrorAssert.Throws(DiagnosticIds.GpuMissing, () => BuildDevice.Of("cuda:all", () => Empty, Linux));
    }

    [Theory]
    [InlineData("osx-arm64")]
    [InlineData("linux-arm64")]
    public void Where_libtorch_has_no_CUDA_the_driver_is_not_asked(string platform)
    {
        static DriverReport Asked() => throw new InvalidOperationException("The driver was asked.");
        Assert.Contains(platform, BuildDevice.Of("auto", Asked, platform).Reason, StringComparison.Ordinal);
        ErrorAssert.Throws(DiagnosticIds.CudaPlatform, () => BuildDevice.Of("cuda", Asked, platform));
    }

    [Fact]
    public void The_cpu_that_is_asked_for_asks_no_driver() => Assert.Equal("cpu", BuildDevice.Of("cpu", () => throw new InvalidOperationException(), Linux).Device);

    [Theory]
    [InlineData("gpu")]
    [InlineData("cuda:x")]
    [InlineData("cuda:0+0")]
    [InlineData("cuda:0,1")]
    [InlineData("cuda:0+")]
    [InlineData("cuda:")]
    public void Another_name_is_QB1006(string device) => ErrorAssert.Throws(DiagnosticIds.DeviceInvalid, () => BuildDevice.Of(device, () => Two, Linux));
}
