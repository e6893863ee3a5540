using QuantBuild.Cuda.Decoding;
using QuantBuild.Cuda.Driver;
using QuantBuild.Cuda.Emulator;
using QuantBuild.Decoding;

namespace QuantBuild.Cuda.Tests.Decoding;

/// <summary>The kernels of attention, beside sums in double precision of what lies in the pages.</summary>
public sealed unsafe class AttentionTests
{
    // Lengths of texts: a token, about a page, undivided ones, and divided ones whose last part is full or not.
    private static readonly int[] Lengths = [1, 31, 32, 33, 256, 257, 290, 700];

    /// <summary>Widths of heads, query heads and key-value heads, whether numbers are bytes, the window, the most parts of a text, and whether there are sinks, slopes and a cap.</summary>
    public static TheoryData<int, int, int, bool, int, int, bool> Cases { get; } = new()
    {
        { 64, 2, 2, false, int.MaxValue, 64, false },
        { 64, 9, 1, true, 45, 64, true },
        { 128, 4, 4, false, int.MaxValue, 3, false },
        { 128, 8, 1, false, 300, 64, true },
        { 128, 4, 2, true, int.MaxValue, 64, false },
        { 256, 2, 1, false, int.MaxValue, 64, true },
        { 256, 2, 1, true, 64, 2, false },
        { 8, 3, 1, false, int.MaxValue, 64, false },
        { 24, 2, 2, true, 33, 64, false },
        { 80, 7, 1, false, int.MaxValue, 64, true },
        { 96, 2, 1, true, int.MaxValue, 5, false },
        { 200, 2, 1, false, 1, 64, false },
        { 2, 2, 1, false, int.MaxValue, 64, false },
        { 12, 4, 2, true, int.MaxValue, 64, true },
        { 100, 2, 1, false, 290, 64, false },
        { 254, 2, 1, false, int.MaxValue, 64, true },
        { 254, 2, 1, true, 100, 64, false },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void Single_tokens_of_texts(int headDim, int heads, int kvHeads, bool bytes, int window, int mostParts, bool all)
    {
        // Both modules: from compute capability 9.0 on kernels overlap.
        using TestGpu gpu = new(new EmulatedGpuOptions { CheckRaces = true, CheckUninitialised = true, Devices = [new EmulatedDeviceOptions { Major = all ? 9 : 8 }] });
        using Texts texts = new(gpu, headDim, heads, kvHeads, bytes, window, mostParts, all);
        RowParameters[] rows = [.. Lengths.Select((length, text) => new RowParameters { Position = length - 1, Pages = Texts.PagesOf(text) })];
        float[] together = texts.Attend(rows, parts: mostParts);
        for (int text = 0; text < rows.Length; text++)
        {
            texts.Check(rows[text], together.AsSpan(text * heads * headDim, heads * headDim), 2e-6);
            // Alone, and with no more parts than it has: to the bit the same.
            int pages = (Lengths[text] + 31) / 32;
            float[] alone = texts.Attend([rows[text]], pages <= 8 ? 1 : Math.Min(mostParts, (pages + 3) / 4));
            Assert.Equal(together[(text * alone.Length)..((text + 1) * alone.Length)], alone);
        }

        Assert.Empty(gpu.Violations);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Prompts(int headDim, int heads, int kvHeads, bool bytes, int window, int mostParts, bool all)
    {
        foreach ((int major, int first, int count) in ((int, int, int)[])[(8, 0, 64), (8, 600, 51), (7, 90, 17)])
        {
            using TestGpu gpu = new(new EmulatedGpuOptions { CheckRaces = true, CheckUninitialised = true, Devices = [new EmulatedDeviceOptions { Major = major, Minor = major == 7 ? 5 : 0 }] });
            using Texts texts = new(gpu, headDim, heads, kvHeads, bytes, window, mostParts, all);
            RowParameters[] rows = [.. Enumerable.Range(first, count).Select(position => new RowParameters { Position = position, Pages = Texts.PagesOf(Lengths.Length - 1) })];
            float[] found = texts.AttendPrompt(rows);
            for (int token = 0; token < count; token++) texts.Check(rows[token], found.AsSpan(token * heads * headDim, heads * headDim), 2e-3);
            Assert.Empty(gpu.Violations);
        }
    }

    /// <summary>Weights of attention times the steps of bytes are halves too, which must not be lost where they are small: values far below one.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Prompts_of_small_values(bool bytes)
    {
        using TestGpu gpu = new();
        using Texts texts = new(gpu, 64, 2, 1, bytes, int.MaxValue, 64, all: false, values: 1e-5);
        RowParameters[] rows = [.. Enumerable.Range(600, 51).Select(position => new RowParameters { Position = position, Pages = Texts.PagesOf(Lengths.Length - 1) })];
        float[] found = texts.AttendPrompt(rows);
        for (int token = 0; token < rows.Length; token++) texts.Check(rows[token], found.AsSpan(token * 128, 128), 2e-8);
    }

    /// <summary>Texts of random keys and values, and queries.</summary>
    private sealed class Texts : IDisposable
    {
        private readonly CudaDevice device;
        private readonly KernelLibrary kernels;
        private readonly int headDim, heads, kvHeads, blockBytes;
        private readonly bool bytes;
        private readonly double[] sinks, slopes;
        private readonly byte[][] pages;
        private AttentionParameters attention;

        public Texts(TestGpu gpu, int headDim, int heads, int kvHeads, bool bytes, int window, int mostParts, bool all, double values = 1)
        {
            (this.headDim, this.heads, this.kvHeads, this.bytes) = (headDim, heads, kvHeads, bytes);
            device = new CudaDevice(gpu.Driver(), 0);
            kernels = new KernelLibrary(device);
            Random random = new(headDim);
            blockBytes = new KvPages(1, kvHeads, headDim, bytes ? KvPrecision.Int8 : KvPrecision.Float16).BlockBytes;
            pages = [.. Enumerable.Range(0, PagesOf(Lengths.Length)).Select(_ => Page(random, values))];
            long[] table = [.. pages.Select(page => (long)Upload<byte>(page))];
            sinks = [.. Enumerable.Range(0, heads).Select(_ => (2 * random.NextDouble()) - 1)];
            slopes = [.. Enumerable.Range(0, heads).Select(_ => random.NextDouble() / 8)];
            attention = new AttentionParameters
            {
                Pages = Upload<long>(table),
                Sinks = all ? Upload<float>([.. sinks.Select(sink => (float)sink)]) : 0,
                Slopes = all ? Upload<float>([.. slopes.Select(slope => (float)slope)]) : 0,
                // The second of two layers.
                LayerOffset = 2L * kvHeads * blockBytes,
                BlockBytes = blockBytes,
                Scale = (float)(1 / Math.Sqrt(headDim)),
                Cap = all ? 3 : 0,
                Heads = heads,
                KvHeads = kvHeads,
                HeadDim = headDim,
                Window = window,
                Bytes = bytes ? 1 : 0,
                MostParts = mostParts,
            };
        }

        public void Dispose() => device.Dispose();

        /// <summary>Where the pages of a text begin.</summary>
        public static int PagesOf(int text) => Lengths.Take(text).Sum(length => (length + 31) / 32);

        public float[] Attend(RowParameters[] rows, int parts)
        {
            string width = headDim % 8 != 0 ? "any" : headDim <= 64 ? "64" : headDim <= 128 ? "128" : "256";
            float[] partial = new float[parts * rows.Length * heads * (headDim + 2)];
            attention.Partial = device.Allocate(partial.Length * sizeof(float));
            float[] results = Prepare(rows);
            AttentionParameters own = attention;
            void** parameters = stackalloc void*[] { &own, &parts };
            kernels.Launch("attention", $"attend_{Precision}_{width}", (kvHeads * (((heads / kvHeads) + 7) / 8), rows.Length, parts), 128, parameters);
            if (parts > 1) kernels.Launch("attention", "join_parts", (heads, rows.Length, 1), 256, parameters);
            return Read(results);
        }

        public float[] AttendPrompt(RowParameters[] rows)
        {
            float[] results = Prepare(rows);
            IntPtr tiles = Upload<TileParameters>([new TileParameters { First = 0, Count = rows.Length }]);
            AttentionParameters own = attention;
            void** parameters = stackalloc void*[] { &own, &tiles };
            kernels.Launch("prompt", $"attend_prompt_{Precision}_{(headDim <= 64 ? 64 : headDim <= 128 ? 128 : 256)}", (heads, 1, 1), 128, parameters);
            return Read(results);
        }

        /// <summary>Compares the results of a token, of all heads, with the sums in double precision.</summary>
        public void Check(RowParameters row, ReadOnlySpan<float> found, double tolerance)
        {
            for (int head = 0; head < heads; head++)
            {
                double[] expected = new double[headDim];
                int first = Math.Max(0, row.Position + 1 - attention.Window), kvHead = head / (heads / kvHeads);
                double total = attention.Sinks != 0 ? Math.Exp(sinks[head]) : 0;
                for (int position = first; position <= row.Position; position++)
                {
                    byte[] page = pages[row.Pages + (position / 32)];
                    int slot = position % 32, keys = (int)attention.LayerOffset + (2 * kvHead * blockBytes), values = keys + blockBytes;
                    double score = 0;
                    for (int k = 0; k < headDim; k++) score += Query(row, head, k) * Number(page, keys, (k * 32) + slot, slot);
                    score *= attention.Scale;
                    if (attention.Cap != 0) score = attention.Cap * Math.Tanh(score / attention.Cap);
                    if (attention.Slopes != 0) score += (float)slopes[head] * (position - row.Position);
                    double weight = Math.Exp(score);
                    total += weight;
                    for (int k = 0; k < headDim; k++) expected[k] += weight * Number(page, values, (slot * headDim) + k, slot);
                }

                for (int k = 0; k < headDim; k++)
                {
                    double right = expected[k] / total;
                    // Values are about 1, or what the tolerance says.
                    Assert.True(Math.Abs(found[(head * headDim) + k] - right) <= tolerance, $"position {row.Position}, head {head}, dimension {k}: {found[(head * headDim) + k]}, expected {right}");
                }
            }
        }

        private string Precision => bytes ? "s8" : "f16";

        private float[] Prepare(RowParameters[] rows)
        {
            float[] results = new float[rows.Length * heads * headDim];
            attention.Rows = Upload<RowParameters>(rows);
            attention.Queries = Upload<float>([.. rows.SelectMany(row => Enumerable.Range(0, heads * headDim).Select(n => Query(row, n / headDim, n % headDim)))]);
            attention.Results = device.Allocate(results.Length * sizeof(float));
            return results;
        }

        private float[] Read(float[] results)
        {
            fixed (float* to = results) device.CopyFrom(to, attention.Results, results.Length * sizeof(float));
            device.Synchronize();
            return results;
        }

        // The same whatever is computed beside it; heads are of different sizes.
        private static float Query(RowParameters row, int head, int dim)
        {
            uint hash = (uint)HashCode(row.Position, row.Pages, head, dim);
            return (float)((hash / 2147483648.0) - 1) * MathF.Pow(2, head % 3);
        }

        private static int HashCode(int a, int b, int c, int d)
        {
            ulong x = 0x9E3779B97F4A7C15;
            foreach (int n in (int[])[a, b, c, d])
            {
                x = (x ^ (uint)n) * 0xBF58476D1CE4E5B9;
                x ^= x >> 29;
            }

            return (int)(x >> 13);
        }

        private double Number(byte[] page, int block, int index, int slot) => bytes
            ? (sbyte)page[block + index] * (double)BitConverter.ToSingle(page, block + (32 * headDim) + (4 * slot))
            : (double)BitConverter.ToHalf(page, block + (2 * index));

        private byte[] Page(Random random, double values)
        {
            byte[] page = new byte[4 * kvHeads * blockBytes];
            for (int block = 0; block < page.Length; block += blockBytes)
            {
                double largest = block / blockBytes % 2 == 1 ? values : 1;
                for (int n = 0; n < 32 * headDim; n++)
                {
                    double number = (2 * random.NextDouble()) - 1;
                    if (bytes) page[block + n] = (byte)(sbyte)Math.Round(127 * number);
                    else BitConverter.TryWriteBytes(page.AsSpan(block + (2 * n)), (Half)(largest * number));
                }

                // Some tokens have numbers that are far smaller.
                for (int slot = 0; bytes && slot < 32; slot++) BitConverter.TryWriteBytes(page.AsSpan(block + (32 * headDim) + (4 * slot)), (float)(random.NextDouble() * largest / 127 * (slot % 5 == 0 ? 1e-4 : 1)));
            }

            return page;
        }

        private IntPtr Upload<T>(T[] data)
            where T : unmanaged
        {
            IntPtr memory = device.Allocate(data.Length * sizeof(T));
            fixed (T* from = data) device.CopyTo(memory, from, data.Length * sizeof(T));
            device.Synchronize();
            return memory;
        }
    }
}
