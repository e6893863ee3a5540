using System.Diagnostics;

namespace QuantBuild.Worker.Tests;

/// <summary>The real worker, as a build starts it.</summary>
internal sealed class WorkerProcess : IDisposable
{
    private readonly Process process;

    public WorkerProcess(string cache, params string[] arguments)
    {
        ProcessStartInfo start = new("dotnet")
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, "QuantBuild.Worker.dll"));
        foreach (string argument in arguments) start.ArgumentList.Add(argument);
        start.Environment[ModelCache.RootVariable] = cache;
        process = Process.Start(start)!;
        Error = process.StandardError.ReadToEndAsync();
    }

    public int Id => process.Id;

    /// <summary>All of standard error, once the process has ended.</summary>
    public Task<string> Error { get; }

    public string? ReadLine() => process.StandardOutput.ReadLine();

    public IReadOnlyList<string> ReadToEnd() => process.StandardOutput.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries);

    public void CloseInput() => process.StandardInput.Close();

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
}
