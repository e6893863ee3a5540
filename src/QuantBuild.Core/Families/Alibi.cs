namespace QuantBuild;

/// <summary>The slopes of ALiBi (Press et al., 2022, arXiv:2108.12409).</summary>
internal static class Alibi
{
    /// <summary>
    /// The slope of each head: of a power of two n the j-th is <c>2^(-e j / n)</c>, j from 1 to n; of other numbers, those of the power of two below it, and then those with odd j of the one above.
    /// </summary>
    /// <param name="heads">How many heads.</param>
    /// <param name="exponent">e: the last slope of a power of two is <c>2^-e</c>.</param>
    public static double[] Slopes(int heads, double exponent = 8)
    {
        int power = 1;
        while (2 * power <= heads) power *= 2;
        double Slope(int j, int of) => Math.Pow(2, -exponent * j / of);
        return [.. Enumerable.Range(1, power).Select(j => Slope(j, power)), .. Enumerable.Range(0, heads - power).Select(i => Slope((2 * i) + 1, 2 * power))];
    }
}
