using System.Runtime.Intrinsics;
using QuantBuild.Kernels;

namespace QuantBuild.Runtime.Tests.Kernels;

public class ExponentialTests
{
    [Fact]
    public void It_is_within_two_units_in_the_last_place()
    {
        for (float x = -86.9f; x <= 88; x += 0.00137f)
        {
            float actual = Exponential.Of(Vector256.Create(x))[3];
            double expected = Math.Exp(x);
            Assert.InRange(actual, expected * (1 - 2.4e-7), expected * (1 + 2.4e-7));
        }
    }

    [Fact]
    public void It_is_1_at_0_and_0_far_below_and_not_a_number_for_what_is_none()
    {
        Vector256<float> results = Exponential.Of(Vector256.Create(0f, -0f, -87.5f, -1000f, float.NegativeInfinity, float.NaN, -86f, 1f));
        Assert.Equal([1f, 1f, 0f, 0f, 0f], new[] { results[0], results[1], results[2], results[3], results[4] });
        Assert.True(float.IsNaN(results[5]));
    }
}
