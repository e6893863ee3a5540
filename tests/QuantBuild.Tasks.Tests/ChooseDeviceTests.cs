namespace QuantBuild.Tasks.Tests;

public sealed class ChooseDeviceTests
{
    private readonly RecordingBuildEngine engine = new();

    [Fact]
    public void The_cpu_that_is_asked_for_is_taken_without_a_word()
    {
        ChooseDevice task = Choose("cpu", "linux-x64");
        Assert.Equal(("cpu", "cpu"), (task.Chosen, task.Libraries));
        Assert.Empty(engine.Messages);
    }

    [Fact]
    public void Auto_says_in_one_message_which_device_it_takes_and_why()
    {
        ChooseDevice task = Choose("auto", "osx-arm64");
        Assert.Equal(("cpu", "cpu"), (task.Chosen, task.Libraries));
        Assert.Equal(
            "App: quantizing on the CPU (QuantBuildDevice is auto): libtorch is made with CUDA for linux-x64 and win-x64, and this machine is osx-arm64", Assert.Single(engine.Messages).Message);
    }

    [Fact]
    public void Cuda_without_a_driver_is_an_error_that_says_what_was_looked_for()
    {
        // Where there is a driver there is nothing to see.
        if (NvidiaDriver.Find() is not null) return;
        Choose("cuda:0", BuildDevice.Platform);
        Assert.Equal(["QB1001"], engine.ErrorCodes);
        Assert.Contains(OperatingSystem.IsWindows() ? "nvcuda.dll" : "/proc/driver/nvidia", Assert.Single(engine.Errors).Message, StringComparison.Ordinal);
    }

    private ChooseDevice Choose(string device, string platform)
    {
        ChooseDevice task = new() { BuildEngine = engine, ProjectFile = "/app/App.csproj", Device = device, Platform = platform };
        Assert.Equal(task.Execute(), engine.Errors.IsEmpty);
        return task;
    }
}
