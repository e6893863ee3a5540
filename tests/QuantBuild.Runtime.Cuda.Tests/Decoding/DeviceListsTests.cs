using QuantBuild.Constraints;
using QuantBuild.Cuda.Decoding;
using QuantBuild.Cuda.Driver;
using QuantBuild.Cuda.Emulator;
using QuantBuild.Decoding;

namespace QuantBuild.Cuda.Tests.Decoding;

/// <summary>The kernel that lists the largest logits, beside a sort.</summary>
public sealed unsafe class DeviceListsTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(31)]
    [InlineData(1023)]
    [InlineData(1025)]
    [InlineData(4099)]
    [InlineData(20_001)]
    public void Rows_of_all_kinds_are_listed_as_a_sort_has_them(int vocabulary)
    {
        Random random = new(vocabulary);
        float Normal() => (float)(3 * Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(Math.Tau * random.NextDouble()));
        float[] Row(Func<int, float> logit) => [.. Enumerable.Range(0, vocabulary).Select(logit)];
        float[][] rows =
        [
            Row(_ => Normal()),
            Row(_ => 1.5f),
            Row(i => i == vocabulary / 2 ? 2 : 1.5f),
            Row(_ => MathF.Round(Normal())),
            Row(i => i % 3 == 0 ? Normal() : float.NegativeInfinity),
            Row(_ => float.NegativeInfinity),
            Row(i => i == vocabulary / 3 ? float.NaN : Normal()),
            Row(i => i == vocabulary / 3 ? float.PositiveInfinity : Normal()),
            Row(i => i % 2 == 0 ? 0f : -0f),
            Row(i => -i),
            // The largest are few threads', and more than a list has room for.
            Row(i => i % 1024 < 500 ? 10 + Normal() : Normal()),
        ];
        Compare(vocabulary, rows, [.. rows.Select((_, i) => Changes(temperature: i % 3 == 0 ? 0 : 0.7))]);
    }

    [Theory]
    [InlineData(33)]
    [InlineData(5003)]
    public void Changes_are_made_before(int vocabulary)
    {
        Random random = new(vocabulary);
        float[][] rows = [.. Enumerable.Range(0, 6).Select(_ => Enumerable.Range(0, vocabulary).Select(_ => (float)(20 * random.NextDouble()) - 10).ToArray())];
        int[] Tokens(int count)
        {
            int[] all = [.. Enumerable.Range(0, vocabulary)];
            random.Shuffle(all);
            return all[..Math.Min(vocabulary, count)];
        }

        TokenMask Mask(int words) => new([.. Enumerable.Range(0, words).Select(_ => (ulong)random.NextInt64() & (ulong)random.NextInt64())], 0);
        LogitChanges[] changes =
        [
            Changes(1, bias: [new(3, -2.5f), new(vocabulary - 1, 30), new(0, float.NegativeInfinity)]),
            Changes(1, repeated: Tokens(2000), penalty: 1.3),
            Changes(2, lowered: [.. Tokens(700).Select(token => new KeyValuePair<int, float>(token, (float)random.NextDouble()))]),
            Changes(0, mask: Mask((vocabulary + 63) / 64)),
            // Of a tokenizer with fewer tokens than the model.
            Changes(0.5, mask: Mask(Math.Max(1, vocabulary / 200)), bias: [new(5, 1)]),
            Changes(0.8, Mask((vocabulary / 64) + 9), [new(1, 4), new(2, -4)], Tokens(40), 0.8, [new(2, 0.25f), new(1, -0.5f)]),
        ];
        Compare(vocabulary, rows, changes);
    }

    [Fact]
    public void A_row_whose_changes_find_no_room_is_not_added()
    {
        const int vocabulary = 300_000;
        using TestGpu gpu = new();
        using CudaDevice device = new(gpu.Driver(), 0);
        DeviceLists lists = new(device, new KernelLibrary(device), vocabulary);
        LogitChanges many = Changes(1, repeated: [.. Enumerable.Range(0, vocabulary)]);
        Assert.True(lists.TryAdd(0, many));
        Assert.False(lists.TryAdd(1, many));
        Assert.True(lists.TryAdd(1, Changes(1)));
        Assert.Equal(2, lists.Count);
        lists.Clear();
        Assert.True(lists.TryAdd(0, many));
    }

    private static void Compare(int vocabulary, float[][] rows, LogitChanges[] changes)
    {
        using TestGpu gpu = new(new EmulatedGpuOptions { CheckRaces = true, CheckUninitialised = true });
        using CudaDevice device = new(gpu.Driver(), 0);
        DeviceLists lists = new(device, new KernelLibrary(device), vocabulary);
        float[] unlisted = [.. Enumerable.Repeat(0.5f, vocabulary)], logits = [.. rows.SelectMany(row => row), .. unlisted];
        IntPtr memory = device.Allocate(logits.Length * sizeof(float));
        fixed (float* source = logits)
        {
            device.CopyTo(memory, source, logits.Length * sizeof(float));
            int[] wanted = [.. Enumerable.Range(0, rows.Length).Reverse()];
            foreach (int row in wanted) Assert.True(lists.TryAdd(row, changes[row]));
            lists.Queue(memory);
            device.CopyFrom(source, memory, logits.Length * sizeof(float));
            device.Synchronize();
            for (int i = 0; i < wanted.Length; i++)
            {
                float[] expected = Changed(rows[wanted[i]], changes[wanted[i]]);
                Assert.Equal(expected, logits.AsSpan(wanted[i] * vocabulary, vocabulary).ToArray());
                bool isWhole = lists.TryRead(i, out LargestLogits largest);
                Check(expected, isWhole, largest, changes[wanted[i]].Temperature);
            }
        }

        Assert.Equal(unlisted, logits[^vocabulary..]);
        Assert.Empty(gpu.Violations);
    }

    private static void Check(float[] row, bool isWhole, LargestLogits list, double temperature)
    {
        LogitEntry[] above = [.. row.Select((logit, token) => new LogitEntry(logit, token)).OrderByDescending(entry => entry.Logit).ThenBy(entry => entry.Token)];
        float bound = list.Bound;
        above = [.. above.Where(entry => entry.Logit > bound)];
        Assert.Equal(above.Length <= LargestLogits.Capacity, isWhole);
        if (!isWhole) return;
        Assert.Equal(above, list.Entries.ToArray());
        int finite = row.Count(float.IsFinite);
        // Where logits differ there are many, or all; what is as large as the bound is not among them.
        Assert.True(above.Length >= Math.Min(finite, 512) || row.Count(logit => logit == bound) > 1, $"{above.Length} of {finite}");
        double largest = above.Length > 0 ? above[0].Logit : bound, rest = 0;
        foreach (float logit in row.Where(logit => !(logit > bound))) rest += Math.Exp((logit - largest) / (temperature == 0 ? 1 : temperature));
        if (double.IsNaN(rest)) Assert.True(float.IsNaN(list.Rest));
        else Assert.True(Math.Abs(list.Rest - rest) <= (rest * 0.5 / LargestLogits.RestPrecision) + 1e-30, $"{list.Rest}, expected {rest}");
    }

    private static LogitChanges Changes(
        double temperature, TokenMask? mask = null, KeyValuePair<int, float>[]? bias = null, int[]? repeated = null, double penalty = 1, KeyValuePair<int, float>[]? lowered = null)
    {
        LogitChanges changes = new() { Mask = mask, Bias = bias ?? [], RepetitionPenalty = penalty, Temperature = temperature };
        changes.Repeated.AddRange(repeated ?? []);
        changes.Lowered.AddRange(lowered ?? []);
        return changes;
    }

    private static float[] Changed(float[] logits, LogitChanges changes)
    {
        float[] changed = [.. logits];
        for (int token = 0; token < changed.Length; token++)
        {
            if (changes.Mask is { } mask && !mask[token]) changed[token] = float.NegativeInfinity;
        }

        foreach ((int token, float bias) in changes.Bias) changed[token] += bias;
        foreach (int token in changes.Repeated) changed[token] = (float)(changed[token] < 0 ? changed[token] * changes.RepetitionPenalty : changed[token] / changes.RepetitionPenalty);
        foreach ((int token, float less) in changes.Lowered) changed[token] -= less;
        return changed;
    }
}
