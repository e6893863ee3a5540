using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Microsoft.ML.Tokenizers;

namespace QuantBuild.Benchmarks;

/// <summary>
/// Seconds that a megabyte takes to become tokens: a text as it is found, and texts that are hostile to one method or another. Beside it Microsoft.ML.Tokenizers,
/// where it has the same model (byte-level BPE), and where a folder of node modules is given the tokenizers library and its port to JavaScript.
/// </summary>
static class TokenizeBenchmark
{
    private const int Bytes = 1_000_000;
    private const int Runs = 3;

    // What takes quadratic time is measured on this many bytes.
    private const int FewBytes = 20_000;

    private static readonly string[] NodeLibraries = ["tokenizers", "@huggingface/tokenizers"];

    /// <summary>Prints a table.</summary>
    /// <param name="tokenizerFile">The tokenizer.</param>
    /// <param name="nodeModules">A folder node_modules that has the libraries, or none.</param>
    public static void Run(string tokenizerFile, string? nodeModules)
    {
        byte[] bytes = File.ReadAllBytes(tokenizerFile);
        long start = Stopwatch.GetTimestamp();
        TextTokenizer tokenizer = TextTokenizer.Load(bytes, tokenizerFile);
        Console.WriteLine($"{tokenizer.VocabularySize:N0} tokens, loaded in {Stopwatch.GetElapsedTime(start).TotalSeconds:F2} s. Medians of {Runs} runs.");
        Console.WriteLine();
        BpeTokenizer? library = Library(bytes);
        Console.WriteLine($"| text | bytes | tokens | seconds | decoding |{(library is null ? "" : $" Microsoft.ML.Tokenizers, {FewBytes:N0} bytes | ours, as many |")}{(nodeModules is null ? "" : " " + string.Join(" | ", NodeLibraries) + " |")}");
        Console.WriteLine($"|---|---|---|---|---|{(library is null ? "" : "---|---|")}{(nodeModules is null ? "" : "---|---|")}");
        foreach ((string name, string text) in Texts()) PrintRow(name, text, tokenizer, library, tokenizerFile, nodeModules);
    }

    private static void PrintRow(string name, string text, TextTokenizer tokenizer, BpeTokenizer? library, string tokenizerFile, string? nodeModules)
    {
        IReadOnlyList<int> ids = tokenizer.Encode(text);
        double seconds = Figures.Median(Figures.Seconds(Runs, () => tokenizer.Encode(text)));
        double decoding = Figures.Median(Figures.Seconds(Runs, () => tokenizer.Decode(ids)));
        Console.Write($"| {name} | {Encoding.UTF8.GetByteCount(text):N0} | {ids.Count:N0} | {seconds:F3} | {decoding:F3} |");
        if (library is not null)
        {
            string few = text[..(int)((long)text.Length * FewBytes / Encoding.UTF8.GetByteCount(text))];
            double theirs = Figures.Median(Figures.Seconds(Runs, () => library.EncodeToIds(few, considerPreTokenization: true, considerNormalization: false)));
            double ours = Figures.Median(Figures.Seconds(Runs, () => tokenizer.Encode(few)));
            Console.Write($" {theirs:F4} | {ours:F4} |");
        }

        foreach (string peer in nodeModules is null ? [] : NodeLibraries) Console.Write($" {Peer(peer, tokenizerFile, text, nodeModules!)} |");
        Console.WriteLine();
    }

    private static IEnumerable<(string Name, string Text)> Texts()
    {
        string evaluation = File.ReadAllText(Repository.Evaluation);
        yield return ("English prose", Repeated(evaluation));
        yield return ("C# sources", Repeated(string.Concat(Directory.GetFiles(Path.Combine(Repository.Root, "src"), "*.cs", SearchOption.AllDirectories).Order(StringComparer.Ordinal).Take(150).Select(File.ReadAllText))));
        foreach ((string name, string unit) in new[] { ("a", "a"), ("blanks", " "), ("line ends", "\n"), ("😀", "😀"), ("family of emoji", "👨‍👩‍👧"), ("中", "中"), ("é", "é"), ("combining marks", "\u0301"), ("1", "1"), ("=-", "=-"), ("&lt;", "<") })
        {
            yield return (name, Repeated(unit));
        }

        Random random = new(1);
        yield return ("a word of random letters", string.Create(Bytes, random, (text, r) =>
        {
            for (int i = 0; i < text.Length; i++) text[i] = (char)('a' + r.Next(26));
        }));
        yield return ("random code points", string.Concat(Enumerable.Range(0, Bytes / 4).Select(_ => new Rune(RandomCodePoint(random)))));
    }

    private static int RandomCodePoint(Random random)
    {
        int codePoint = random.Next(0x10FFFF - 0x800);
        return codePoint < 0xD800 ? codePoint : codePoint + 0x800;
    }

    private static string Repeated(string unit) => string.Concat(Enumerable.Repeat(unit, Math.Max(1, Bytes / Encoding.UTF8.GetByteCount(unit))));

    /// <summary>The same vocabulary and merges, with the pattern of the file; none where the model is another.</summary>
    private static BpeTokenizer? Library(byte[] json)
    {
        if (json[0] != '{') return null;
        using JsonDocument document = JsonDocument.Parse(json);
        JsonElement model = document.RootElement.GetProperty("model");
        string? pattern = document.RootElement.GetProperty("pre_tokenizer") is { ValueKind: JsonValueKind.Object } p && p.TryGetProperty("pretokenizers", out JsonElement steps)
            && steps[0].TryGetProperty("pattern", out JsonElement split) ? split.GetProperty("Regex").GetString() : null;
        if (pattern is null || !model.TryGetProperty("merges", out JsonElement merges)) return null;
        return BpeTokenizer.Create(new BpeOptions(model.GetProperty("vocab").EnumerateObject().Select(t => KeyValuePair.Create(t.Name, t.Value.GetInt32())))
        {
            Merges = [.. merges.EnumerateArray().Select(m => m.ValueKind == JsonValueKind.Array ? $"{m[0]} {m[1]}" : m.GetString()!)],
            ByteLevel = true,
            PreTokenizer = new RegexPreTokenizer(new System.Text.RegularExpressions.Regex(pattern, System.Text.RegularExpressions.RegexOptions.Compiled), null),
        });
    }

    private static string Peer(string library, string tokenizerFile, string text, string nodeModules)
    {
        using TemporaryFolder folder = new();
        string file = Path.Combine(folder.Path, "text");
        File.WriteAllText(file, text);
        ProcessStartInfo start = new("node", [Path.Combine(AppContext.BaseDirectory, "tokenize_peer.cjs"), library, tokenizerFile, file, Runs.ToString(CultureInfo.InvariantCulture)])
        {
            RedirectStandardOutput = true,
            Environment = { ["NODE_PATH"] = nodeModules },
        };
        using Process process = Process.Start(start)!;
        // A peer that takes quadratic time would take all day.
        if (!process.WaitForExit(TimeSpan.FromSeconds(20)))
        {
            process.Kill();
            return "over 5";
        }

        return process.StandardOutput.ReadToEnd().Trim().Split(' ') is [_, string seconds] ? double.Parse(seconds, CultureInfo.InvariantCulture).ToString("F3", CultureInfo.InvariantCulture) : "fails";
    }
}
