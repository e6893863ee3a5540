using System.Runtime.InteropServices;
using QuantBuild.Decoding;
using QuantBuild.Kernels;

namespace QuantBuild.Benchmarks;

/// <summary>
/// The product of one weight of each format on one thread: with one token, from the processor's cache, so that what it shows is arithmetic, as bytes of weights a second; and with 64
/// tokens, as products and sums a second.
/// </summary>
static unsafe class KernelBenchmark
{
    // Packed to four bits, it fits a cache of 1 MB with its activations.
    private const int Outputs = 512;
    private const int Inputs = 2048;
    private const int Tokens = 64;

    public static void Run()
    {
        Console.WriteLine("| format | one token, GB/s | tokens/s of 1.03 billion weights | 64 tokens, 10^9 products/s |");
        Console.WriteLine("|---|---|---|---|");
        IntPtr memory = (IntPtr)NativeMemory.AlignedAlloc(16 << 20, 64);
        new Random(1).NextBytes(new Span<byte>((void*)memory, 8 << 20));
        // Scales that are numbers.
        IntPtr halves = memory + (8 << 20);
        new Span<Half>((void*)halves, 1 << 20).Fill((Half)0.01);
        IntPtr singles = halves + (2 << 20);
        new Span<float>((void*)singles, 1 << 20).Fill(0.01f);
        IntPtr Tensor(string name) => name.EndsWith(IntAffine.ScalesSuffix, StringComparison.Ordinal) ? halves
            : name.EndsWith("absmax", StringComparison.Ordinal) || name.EndsWith(Codebook4.OffsetSuffix, StringComparison.Ordinal) ? singles : memory;
        (string Name, LayerFormat Format, double Bits)[] formats =
        [
            ("IntAffine, 2 bits", new IntAffineFormat(2, 128, false, false), 2),
            ("IntAffine, 3 bits", new IntAffineFormat(3, 128, false, false), 3),
            ("IntAffine, 4 bits", new IntAffineFormat(4, 128, false, false), 4),
            ("IntAffine, 4 bits, groups of 32", new IntAffineFormat(4, 32, false, false), 4),
            ("IntAffine, 8 bits", new IntAffineFormat(8, 128, false, false), 8),
            ("NF4, double-quantized", new Codebook4Format(Codebook.Nf4, 64, true), 4),
            ("FP4", new Codebook4Format(Codebook.Fp4, 64, false), 4),
            ("LLM.int8()", new Int8RowOutlierFormat(6), 8),
        ];
        foreach ((string name, LayerFormat format, double bits) in formats) Measure(name, format.Open(new LinearShape("x", Inputs, Outputs), Tensor), bits);
        Measure("BF16", new FloatMatrix<BF16Element>(Outputs, Inputs, memory), 16);
        NativeMemory.AlignedFree((void*)memory);
        Attention();
    }

    /// <summary>Attention of one token over 2,000 others, in the shape of TinyLlama: 8 query heads of 64 dimensions share keys and values, 4 such groups in each of 22 layers.</summary>
    private static void Attention()
    {
        const int past = 2000, layers = 22, groups = 4, queriesOfGroup = 8, headDim = 64;
        Console.WriteLine();
        Console.WriteLine("| keys and values | attention of a token over 2,000 |");
        Console.WriteLine("|---|---|");
        foreach (KvPrecision precision in Enum.GetValues<KvPrecision>())
        {
            using KvPages pages = new(layers, groups, headDim, precision);
            using KvCache cache = new(pages);
            cache.Extend(past);
            byte[] content = new byte[pages.PageBytes];
            Array.Fill(content, (byte)0x11);
            foreach (KvPage page in cache.Pages) pages.Write(content, page);
            AttentionKernel kernel = new(pages, scale: 1 / MathF.Sqrt(headDim), cap: 0);
            Activations queries = new(1, queriesOfGroup * headDim), results = new(1, queriesOfGroup * headDim);
            queries.Span(0).Fill(0.1f);
            int[] places = [.. Enumerable.Range(0, queriesOfGroup).Select(i => i * headDim)], lengths = [.. Enumerable.Repeat(past, queriesOfGroup)];
            float[] room = new float[kernel.RoomFor(queriesOfGroup)];
            double seconds = Figures.Median(Figures.Seconds(9, () =>
            {
                fixed (float* free = room)
                {
                    for (int layer = 0; layer < layers; layer++)
                    {
                        for (int head = 0; head < groups; head++) kernel.Attend(cache, layer, head, queries.Row(0), results.Row(0), places, lengths, window: int.MaxValue, [], [], free);
                    }
                }
            }));
            Console.WriteLine($"| {precision} | {1e3 * seconds:F1} ms |");
        }
    }

    private static void Measure(string name, WeightMatrix weight, double bits)
    {
        double one = Seconds(weight, 1), many = Seconds(weight, Tokens);
        double bytes = Outputs * (double)Inputs * bits / 8;
        Console.WriteLine(
            $"| {name} | {bytes / one / 1e9:F1} | {Outputs * (double)Inputs / one / 1.03e9:F0} | {Outputs * (double)Inputs * Tokens / many / 1e9:F0} |");
    }

    private static double Seconds(WeightMatrix weight, int tokens)
    {
        Activations x = new(tokens, Inputs);
        Random random = new(2);
        for (int t = 0; t < tokens; t++) foreach (ref float value in x.Span(t)) value = random.NextSingle() - 0.5f;
        Activations y = new(tokens, Outputs);
        LinearInput input = new(tokens, Inputs);
        if (input.Begin(weight.Form, x, 0, tokens)) input.Prepare(0, tokens);
        int repeats = 4096 / tokens;
        return Figures.Median(Figures.Seconds(9, () =>
        {
            for (int i = 0; i < repeats; i++) weight.Multiply(input, 0, Outputs, y.Row(0), y.Stride);
        })) / repeats;
    }
}
