using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace QuantBuild.Benchmarks;

/// <summary>llama.cpp's own benchmark, beside ours in the same run. <c>LLAMA_BENCH</c> names its binary, then models of the same shape, with blanks between.</summary>
/// <param name="Model">What it says of the model.</param>
/// <param name="Bytes">Bytes of the model's tensors.</param>
/// <param name="PromptTokensPerSecond">With a prompt of 512 tokens.</param>
/// <param name="DecodeTokensPerSecond">One token at a time, from the beginning.</param>
sealed record LlamaBench(string Model, long Bytes, double PromptTokensPerSecond, double DecodeTokensPerSecond)
{
    /// <summary>Measures each model, or nothing where none is named.</summary>
    public static IEnumerable<LlamaBench> Run(int threads)
    {
        string[] named = (Environment.GetEnvironmentVariable("LLAMA_BENCH") ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries);
        foreach (string model in named.Skip(1))
        {
            string[] arguments = ["-m", model, "-p", "512", "-n", "32", "-r", "3", "-t", threads.ToString(CultureInfo.InvariantCulture), "-o", "json"];
            using Process process = Process.Start(new ProcessStartInfo(named[0], arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            process.ErrorDataReceived += (_, _) => { };
            process.BeginErrorReadLine();
            using JsonDocument results = JsonDocument.Parse(process.StandardOutput.ReadToEnd());
            process.WaitForExit();
            double Speed(string counted) => results.RootElement.EnumerateArray()
                .Single(result => result.GetProperty(counted).GetInt32() > 0).GetProperty("avg_ts").GetDouble();
            JsonElement first = results.RootElement[0];
            yield return new LlamaBench(
                first.GetProperty("model_type").GetString()!, first.GetProperty("model_size").GetInt64(), Speed("n_prompt"), Speed("n_gen"));
        }
    }
}
