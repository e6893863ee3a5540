using System.CommandLine;
using System.Globalization;
using QuantBuild.Worker.Synthesis;

namespace QuantBuild.Worker;

/// <summary>The verb <c>synthesize</c>: a model of random weights, to measure time and memory with.</summary>
internal static class SynthesizeCommand
{
    // As many as a config.json may say.
    private const int LargestSize = 1 << 24;
    private const int MostLayers = 1 << 12;

    /// <summary>The command with its options.</summary>
    public static Command Create()
    {
        Option<string> output = new("--output", "-o") { Description = "The folder to make; it is not there yet, or is empty.", Required = true };
        Option<string> shape = new("--shape")
        {
            Description = $"The sizes to begin with: {string.Join(", ", ModelShape.All.Select(s => s.Name))}.",
            DefaultValueFactory = _ => "tinyllama-1.1b",
        };
        Option<string?> layers = new("--layers") { Description = "Number of decoder layers." };
        Option<string?> hidden = new("--hidden") { Description = "Width of the residual stream." };
        Option<string?> intermediate = new("--intermediate") { Description = "Width of the MLP between its projections." };
        Option<string?> heads = new("--heads") { Description = "Query heads; the number divides --hidden." };
        Option<string?> kvHeads = new("--kv-heads") { Description = "Key and value heads; the number divides --heads." };
        Option<string?> vocabulary = new("--vocabulary") { Description = "Rows of the embedding: at least the tokens of the tokenizer." };
        Option<string?> context = new("--context") { Description = "The longest sequence, in tokens." };
        Option<string?> type = new("--type") { Description = "Type of the weights: BF16, F16 or F32. Left out, it is BF16." };
        Option<string?> tokenizer = new("--tokenizer") { Description = "A model folder whose tokenizer is taken. Left out, each byte is a token." };
        Option<string?> seed = new("--seed") { Description = "A whole number; the same gives the same bytes. Left out, it is 0." };

        Command command = new("synthesize", "Makes a model folder with random weights, to measure time and memory with.")
        {
            output, shape, layers, hidden, intermediate, heads, kvHeads, vocabulary, context, type, tokenizer, seed,
        };
        command.SetAction(result =>
        {
            int Size(Option<string?> option, int standard, int most = LargestSize) => ReadSize(option.Name, result.GetValue(option), standard, most);
            string folder = result.GetValue(output)!;
            using PersonReport report = new();
            return Verb.Run(report, cancelAtEndOfInput: false, cancellation =>
            {
                ModelShape named = ModelShape.Find(result.GetValue(shape)!);
                SynthesizedModel model = new()
                {
                    Shape = named with
                    {
                        Layers = Size(layers, named.Layers, MostLayers),
                        Hidden = Size(hidden, named.Hidden),
                        Intermediate = Size(intermediate, named.Intermediate),
                        Heads = Size(heads, named.Heads),
                        KvHeads = Size(kvHeads, named.KvHeads),
                        Vocabulary = Size(vocabulary, named.Vocabulary),
                        Context = Size(context, named.Context),
                    },
                    Type = ReadType(result.GetValue(type)),
                    TokenizerFolder = result.GetValue(tokenizer),
                    Seed = ReadSeed(result.GetValue(seed)),
                };
                cancellation.Leftovers = () => SynthesizedModel.Leftovers(folder);
                DecoderConfig config = model.Write(folder, report.Send, cancellation.Token);
                return string.Create(
                    CultureInfo.InvariantCulture, $"{Path.GetFullPath(folder)}: {config.Parameters / 1e6:F1} million random weights in {model.Type.HeaderName()}");
            });
        });
        return command;
    }

    private static int ReadSize(string option, string? text, int standard, int most)
    {
        if (text is null) return standard;
        if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int size) && size >= 1 && size <= most) return size;
        throw ModelShape.Invalid($"{option} {text} is not a whole number from 1 to {most}. Choose one, or leave it out for that of the shape");
    }

    private static ElementType ReadType(string? text)
    {
        if (text is null) return ElementType.BF16;
        return ElementTypes.Parse(text.ToUpperInvariant()) is { } type and (ElementType.BF16 or ElementType.F16 or ElementType.F32)
            ? type
            : throw ModelShape.Invalid($"--type {text} is not a type of weights. It is BF16, F16 or F32");
    }

    private static ulong ReadSeed(string? text)
    {
        if (text is null) return 0;
        return ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out ulong seed)
            ? seed
            : throw ModelShape.Invalid($"--seed {text} is not a whole number from 0 to {ulong.MaxValue}. Choose one, or leave it out for 0");
    }
}
