namespace QuantBuild.Quantization;

/// <summary>
/// Values that go against their gradients: by a step's size where the gradients of many steps agree in sign, and by little where they do not. Adam (Kingma and Ba, 2014,
/// arXiv:1412.6980), which is descent by the sign of the gradient with a memory.
/// </summary>
/// <param name="count">How many values.</param>
/// <remarks>
/// The plain sign moves every value by the whole size in every step, also the many for which a mini-batch says now this, now that. Begun from GPTQ's solution, that loses
/// what GPTQ found before it finds better.
/// </remarks>
internal sealed class Descent(int count)
{
    private const float MeanDecay = 0.9f;
    private const float SquareDecay = 0.99f;

    // A gradient of 0 in all steps makes no step, and no 0 / 0.
    private const float Least = 1e-20f;

    private readonly float[] means = new float[count];
    private readonly float[] squares = new float[count];
    private float meanLeft = 1;
    private float squareLeft = 1;
    private float meanSize;
    private float squareWeight;

    /// <summary>The values.</summary>
    public float[] Values { get; } = new float[count];

    /// <summary>Begins a step of all values.</summary>
    /// <param name="size">How far a value goes whose gradients agree.</param>
    public void Begin(float size)
    {
        meanLeft *= MeanDecay;
        squareLeft *= SquareDecay;
        // The averages begin at 0: what they lack is made good.
        meanSize = size / (1 - meanLeft);
        squareWeight = 1 / (1 - squareLeft);
    }

    /// <summary>Takes the step of one value.</summary>
    /// <param name="index">Which value.</param>
    /// <param name="gradient">Its gradient.</param>
    /// <param name="least">It stays at or above this.</param>
    /// <param name="largest">It stays at or below this.</param>
    public void Step(int index, float gradient, float least, float largest)
    {
        float mean = means[index] = (MeanDecay * means[index]) + ((1 - MeanDecay) * gradient);
        float square = squares[index] = (SquareDecay * squares[index]) + ((1 - SquareDecay) * gradient * gradient);
        Values[index] = Math.Clamp(Values[index] - (meanSize * mean / (MathF.Sqrt(squareWeight * square) + Least)), least, largest);
    }
}
