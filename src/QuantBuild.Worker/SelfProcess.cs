using System.ComponentModel;
using System.Diagnostics;
using System.Reflection;
using System.Text;

namespace QuantBuild.Worker;

/// <summary>
/// This program once more, as a process of its own: what it holds in memory and how long it takes are then its own too. It ends when this one does, since its
/// standard input ends with it.
/// </summary>
internal static class SelfProcess
{
    /// <summary>Runs a verb and waits for its end.</summary>
    /// <param name="arguments">The verb and its arguments.</param>
    /// <param name="line">Called with each line of its standard output.</param>
    /// <param name="cancellationToken">Asks it to end, and waits for that.</param>
    /// <returns>The exit code, and the end of its standard error.</returns>
    /// <exception cref="OperationCanceledException">It was cancelled, and the process has ended.</exception>
    public static (int ExitCode, string Error) Run(IEnumerable<string> arguments, Action<string> line, CancellationToken cancellationToken)
    {
        ProcessStartInfo start = new(Environment.ProcessPath!, [.. Host(), .. arguments])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = Encoding.UTF8,
            StandardErrorEncoding = Encoding.UTF8,
        };
        // Threads that spin while they wait slow everything else down, and themselves.
        start.Environment.TryAdd("OMP_WAIT_POLICY", "PASSIVE");
        using Process process = Process.Start(start) ?? throw new InvalidOperationException("The process did not start.");
        try
        {
            Task<string> error = process.StandardError.ReadToEndAsync(CancellationToken.None);
            using (cancellationToken.Register(() => CloseInput(process)))
            {
                while (process.StandardOutput.ReadLine() is { } text) line(text);
                process.WaitForExit();
            }

            cancellationToken.ThrowIfCancellationRequested();
            const int kept = 1000;
            string said = error.GetAwaiter().GetResult().Trim();
            return (process.ExitCode, said.Length <= kept ? said : said[^kept..]);
        }
        finally
        {
            if (!process.HasExited) Kill(process);
        }
    }

    // dotnet exec, with the folders of packages that a build gave this process; or a program that needs no host.
    private static IEnumerable<string> Host()
    {
        if (!Path.GetFileNameWithoutExtension(Environment.ProcessPath!).Equals("dotnet", StringComparison.OrdinalIgnoreCase)) return [];
        string folders = AppContext.GetData("PROBING_DIRECTORIES") as string ?? "";
        return
        [
            "exec",
            .. folders.Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries).SelectMany(folder => new[] { "--additionalprobingpath", folder }),
            Assembly.GetEntryAssembly()!.Location,
        ];
    }

    private static void CloseInput(Process process)
    {
        try
        {
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It has ended already.
        }
    }

    private static void Kill(Process process)
    {
        try
        {
            process.Kill();
            process.WaitForExit();
        }
        catch (Exception e) when (e is InvalidOperationException or Win32Exception)
        {
            // It ended meanwhile.
        }
    }
}
