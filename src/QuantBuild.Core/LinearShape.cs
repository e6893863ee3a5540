namespace QuantBuild;

/// <summary>A linear of a decoder layer: <c>y = W x</c> with <c>W [Outputs, Inputs]</c>.</summary>
/// <param name="Name">The module's path, such as <c>model.layers.0.self_attn.q_proj</c>.</param>
/// <param name="Inputs">Columns of the weight.</param>
/// <param name="Outputs">Rows of the weight.</param>
/// <param name="HasBias">Whether a bias is added to the product.</param>
public sealed record LinearShape(string Name, int Inputs, int Outputs, bool HasBias = false)
{
    /// <summary>The name of its weight.</summary>
    public string WeightName => Name + ".weight";

    /// <summary>The name of its bias.</summary>
    public string BiasName => Name + ".bias";
}
