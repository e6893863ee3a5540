namespace QuantBuild.Quantization.Tests;

// Apart from what needs torch: tests without it have the families' models too.
internal static partial class RandomData
{
    /// <summary>Numbers of the standard normal distribution (Box and Muller, 1958).</summary>
    public static float[] Normal(Random random, int count) =>
        [.. Enumerable.Range(0, count).Select(_ => (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble())))];
}
