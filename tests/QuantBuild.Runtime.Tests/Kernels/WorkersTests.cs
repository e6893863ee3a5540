using QuantBuild.Kernels;

namespace QuantBuild.Runtime.Tests.Kernels;

public class WorkersTests
{
    [Theory]
    [InlineData(1, 1)]
    [InlineData(1000, 16)]
    [InlineData(1001, 16)]
    [InlineData(15, 16)]
    [InlineData(0, 4)]
    public void Every_item_is_done_once(int count, int granularity)
    {
        using Workers workers = new(5);
        int[] done = new int[count];
        workers.For(count, granularity, new Work((from, to) =>
        {
            Assert.Equal(0, from % granularity);
            for (int i = from; i < to; i++) Interlocked.Increment(ref done[i]);
        }));
        Assert.All(done, times => Assert.Equal(1, times));
    }

    [Fact]
    public void Thousands_of_calls_each_see_their_own_work_finished()
    {
        // More threads than processors: some come too late for a call, or sleep through several.
        using Workers workers = new(2 * Environment.ProcessorCount + 3);
        int[] values = new int[97];
        for (int round = 1; round <= 20_000; round++)
        {
            int now = round;
            workers.For(values.Length, 1, new Work((from, to) =>
            {
                for (int i = from; i < to; i++) Assert.Equal(now - 1, Interlocked.Exchange(ref values[i], now));
            }));
            Assert.All(values, value => Assert.Equal(now, value));
            if (round % 5_000 == 0) Thread.Sleep(5);
        }
    }

    [Fact]
    public void An_error_of_a_part_is_the_callers_and_the_next_call_works()
    {
        using Workers workers = new(3);
        Assert.Throws<InvalidDataException>(() => workers.For(100, 1, new Work((_, _) => throw new InvalidDataException())));
        int sum = 0;
        workers.For(100, 1, new Work((from, to) => Interlocked.Add(ref sum, to - from)));
        Assert.Equal(100, sum);
    }

    private sealed class Work(Action<int, int> body) : IParallelWork
    {
        public void Run(int from, int to) => body(from, to);
    }
}
