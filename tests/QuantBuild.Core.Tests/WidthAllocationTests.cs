namespace QuantBuild.Core.Tests;

public class WidthAllocationTests
{
    private static readonly int[] Widths = [2, 3, 4, 8];

    [Fact]
    public void On_small_instances_it_is_close_to_the_best_of_all_choices_and_never_over_budget()
    {
        Random random = new(5);
        double excess = 0;
        const int instances = 300;
        for (int i = 0; i < instances; i++)
        {
            WidthOption[][] linears = Instance(random, 1 + random.Next(6), monotone: i % 3 != 0);
            long least = linears.Sum(options => options[0].Bytes), most = linears.Sum(options => options[^1].Bytes);
            long budget = least + (long)(random.NextDouble() * 1.1 * (most - least));
            int[] chosen = WidthAllocation.Choose(linears, budget);
            Assert.InRange(Bytes(linears, chosen), 0, budget);

            double best = BruteForce(linears, budget), loss = Loss(linears, chosen);
            // The relaxed optimum is at most one step of one linear away.
            double step = linears.Max(options => options.Max(o => o.Loss) - options.Min(o => o.Loss));
            Assert.InRange(loss, best - 1e-9, best + step);
            excess += (loss / best) - 1;
        }

        Assert.InRange(excess / instances, 0, 0.01);
    }

    [Fact]
    public void It_is_never_worse_than_one_width_for_all_in_the_same_bytes()
    {
        Random random = new(6);
        for (int i = 0; i < 50; i++)
        {
            WidthOption[][] linears = Instance(random, 40, monotone: true);
            for (int width = 0; width < Widths.Length; width++)
            {
                int[] uniform = [.. Enumerable.Repeat(width, linears.Length)];
                Assert.InRange(Loss(linears, WidthAllocation.Choose(linears, Bytes(linears, uniform))), 0, Loss(linears, uniform) + 1e-12);
            }
        }
    }

    [Fact]
    public void The_linears_of_a_large_model_of_experts_take_seconds()
    {
        // Qwen3 30B: 48 layers of 128 experts.
        WidthOption[][] linears = Instance(new Random(8), 48 * ((3 * 128) + 4), monotone: true);
        long least = linears.Sum(options => options[0].Bytes), most = linears.Sum(options => options[^1].Bytes);
        System.Diagnostics.Stopwatch clock = System.Diagnostics.Stopwatch.StartNew();
        int[] chosen = WidthAllocation.Choose(linears, (least + most) / 2);
        Assert.InRange(clock.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(60));
        Assert.InRange(Bytes(linears, chosen), (least + most) / 2 * 0.999, (least + most) / 2);
    }

    [Fact]
    public void A_budget_for_everything_gives_everything_and_one_for_the_least_the_least()
    {
        WidthOption[][] linears = Instance(new Random(7), 12, monotone: true);
        Assert.All(WidthAllocation.Choose(linears, long.MaxValue / 2), option => Assert.Equal(3, option));
        Assert.All(WidthAllocation.Choose(linears, linears.Sum(options => options[0].Bytes)), option => Assert.Equal(0, option));
        Assert.Throws<ArgumentOutOfRangeException>(() => WidthAllocation.Choose(linears, linears.Sum(options => options[0].Bytes) - 1));
        Assert.Empty(WidthAllocation.Choose([], 0));
    }

    [Fact]
    public void More_bytes_that_lose_more_are_not_taken()
    {
        WidthOption[] odd = [new(2, 10, 1), new(3, 20, 2), new(4, 30, 0.5), new(8, 40, 0.75)];
        Assert.Equal([2], WidthAllocation.Choose([odd], 1000));
    }

    private static WidthOption[][] Instance(Random random, int linears, bool monotone) =>
    [
        .. Enumerable.Range(0, linears).Select(_ =>
        {
            long weights = 64 * (1 + random.Next(200));
            double loss = Math.Exp(4 * random.NextDouble());
            return Widths.Select(bits => new WidthOption(
                bits,
                (weights * bits / 8) + (weights / 32),
                loss * (monotone ? Math.Pow(4, -bits) * (0.7 + (0.6 * random.NextDouble())) : random.NextDouble()))).ToArray();
        }),
    ];

    private static long Bytes(WidthOption[][] linears, int[] chosen) => linears.Zip(chosen, (options, i) => options[i].Bytes).Sum();

    private static double Loss(WidthOption[][] linears, int[] chosen) => linears.Zip(chosen, (options, i) => options[i].Loss).Sum();

    private static double BruteForce(WidthOption[][] linears, long budget)
    {
        double best = double.PositiveInfinity;
        int[] chosen = new int[linears.Length];
        for (int code = 0; code < Math.Pow(Widths.Length, linears.Length); code++)
        {
            for (int i = 0, rest = code; i < chosen.Length; i++, rest /= Widths.Length) chosen[i] = rest % Widths.Length;
            if (Bytes(linears, chosen) <= budget) best = Math.Min(best, Loss(linears, chosen));
        }

        return best;
    }
}
