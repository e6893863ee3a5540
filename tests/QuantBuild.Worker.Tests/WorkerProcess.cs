using System.Diagnostics;
using System.Runtime.InteropServices;

namespace QuantBuild.Worker.Tests;

/// <summary>The real worker, as a build starts it.</summary>
internal sealed class WorkerProcess : IDisposable
{
    private readonly Process process;

    public WorkerProcess(string cache, params string[] arguments)
        : this(cache, [], arguments)
    {
    }

    public WorkerProcess(string cache, IEnumerable<(string Name, string Value)> environment, params string[] arguments)
    {
        // Who runs the tests may ignore Ctrl+C's signal, and the worker would inherit that; `env` becomes the worker, under the same number.
        string[] defaults = OperatingSystem.IsLinux() ? ["env", "--default-signal=INT", "dotnet"] : ["dotnet"];
        ProcessStartInfo start = new(defaults[0], defaults[1..])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, "QuantBuild.Worker.dll"));
        foreach (string argument in arguments) start.ArgumentList.Add(argument);
        start.Environment[ModelCache.RootVariable] = cache;
        foreach ((string name, string value) in environment) start.Environment[name] = value;
        process = Process.Start(start)!;
        Error = process.StandardError.ReadToEndAsync();
    }

    public int Id => process.Id;

    /// <summary>All of standard error, once the process has ended.</summary>
    public Task<string> Error { get; }

    public string? ReadLine() => process.StandardOutput.ReadLine();

    public IReadOnlyList<string> ReadToEnd() => process.StandardOutput.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>The next character of standard output; -1 at its end.</summary>
    public int Read() => process.StandardOutput.Read();

    public void WriteLine(string line)
    {
        process.StandardInput.WriteLine(line);
        process.StandardInput.Flush();
    }

    public void CloseInput() => process.StandardInput.Close();

    /// <summary>What Ctrl+C in a terminal does.</summary>
    public void Interrupt()
    {
        const int interrupt = 2;
        Assert.Equal(0, SendSignal(process.Id, interrupt));
    }

    /// <summary>Ends it at once: SIGKILL.</summary>
    public void Kill() => process.Kill();

    /// <summary>Waits for the end, and gives the exit code.</summary>
    public int Wait()
    {
        Assert.True(process.WaitForExit(TimeSpan.FromMinutes(2)), "The worker did not end.");
        return process.ExitCode;
    }

    public void Dispose()
    {
        if (!process.HasExited) process.Kill();
        process.Dispose();
    }

    [DllImport("libc", EntryPoint = "kill")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int SendSignal(int process, int signal);
}
