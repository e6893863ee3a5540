namespace QuantBuild.Quantization;

/// <summary>The linears of a decoder layer. Those of the MLP are of the first where there are several; <see cref="LinearRoles.Of"/> gives those of another.</summary>
internal enum LinearRole
{
    Query,
    Key,
    Value,
    Output,
    Gate,
    Up,
    Down,
}

/// <summary>Which roles the linears of a layer have.</summary>
internal static class LinearRoles
{
    private const int OfMlp = LinearRole.Down - LinearRole.Gate + 1;

    /// <summary>The same role in one of <see cref="DecoderConfig.Mlps"/>.</summary>
    public static LinearRole Of(this LinearRole role, int mlp) => role + (OfMlp * mlp);

    /// <summary>How many numbers roles have in a layer, with one for a gate that may not be there.</summary>
    public static int Slots(DecoderConfig config, int layer) => (int)LinearRole.Gate + (OfMlp * config.Mlps(layer).Count);

    /// <summary>The roles in the order of <see cref="DecoderConfig.Linears"/>.</summary>
    public static LinearRole[] All(DecoderConfig config, int layer) =>
        [.. Enumerable.Range(0, Slots(config, layer)).Select(slot => (LinearRole)slot).Where(role => config.GatedMlp || role < LinearRole.Gate || (role - LinearRole.Gate) % OfMlp != 0)];

    /// <summary>The shapes of a layer's linears by the number of their role.</summary>
    public static LinearShape[] Shapes(DecoderConfig config, int layer)
    {
        LinearShape[] shapes = new LinearShape[Slots(config, layer)];
        foreach ((LinearRole role, LinearShape shape) in All(config, layer).Zip(config.Linears(layer))) shapes[(int)role] = shape;
        return shapes;
    }

    /// <summary>The linears that read the input of one of <see cref="DecoderConfig.Mlps"/>.</summary>
    public static LinearRole[] MlpInputs(DecoderConfig config, int mlp) => config.GatedMlp ? [LinearRole.Gate.Of(mlp), LinearRole.Up.Of(mlp)] : [LinearRole.Up.Of(mlp)];
}
