using System.Diagnostics;
using System.Text.Json;

namespace QuantBuild.Benchmarks;

/// <summary>The other side of <see cref="GptqPeerBenchmark"/>, in Python: a line is a task, a line of JSON the answer. It sleeps while ours runs.</summary>
sealed class PeerProcess : IDisposable
{
    private readonly Process process;

    public PeerProcess(string python, int threads, params string[] arguments)
    {
        ProcessStartInfo start = new(python, [Path.Combine(AppContext.BaseDirectory, "gptq_peer.py"), .. arguments])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        foreach (string variable in new[] { "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS" }) start.Environment[variable] = $"{threads}";
        // As ours has it: under any other load, threads that spin would make it many times slower than it is.
        start.Environment["OMP_WAIT_POLICY"] = "PASSIVE";
        process = Process.Start(start)!;
        Version = Answer().GetProperty("version").GetString()!;
    }

    /// <summary>Version of its torch.</summary>
    public string Version { get; }

    /// <summary>Has a task done.</summary>
    /// <returns>Its seconds, and the error where it is one that quantizes.</returns>
    public (double Seconds, double Error) Ask(string task)
    {
        process.StandardInput.WriteLine(task);
        process.StandardInput.Flush();
        JsonElement answer = Answer();
        return (answer.GetProperty("seconds").GetDouble(), answer.TryGetProperty("error", out JsonElement error) ? error.GetDouble() : 0);
    }

    public void Dispose()
    {
        process.StandardInput.Close();
        process.WaitForExit();
        process.Dispose();
    }

    private JsonElement Answer()
    {
        while (process.StandardOutput.ReadLine() is { } line)
        {
            // A library may print too.
            if (line.StartsWith('{')) return JsonDocument.Parse(line).RootElement;
        }

        throw new InvalidOperationException("The Python process ended; its error is above.");
    }
}
