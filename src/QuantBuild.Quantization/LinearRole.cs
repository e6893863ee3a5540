namespace QuantBuild.Quantization;

/// <summary>The linears of a decoder layer. Those of the MLP are of its first expert where there are several; <see cref="LinearRoles.Of"/> gives those of another.</summary>
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

    /// <summary>The same role in the MLP of an expert.</summary>
    public static LinearRole Of(this LinearRole role, int expert) => role + (OfMlp * expert);

    /// <summary>How many numbers roles have, with one for a gate that may not be there.</summary>
    public static int Slots(DecoderConfig config) => (int)LinearRole.Gate + (OfMlp * Math.Max(1, config.Experts));

    /// <summary>The roles in the order of <see cref="DecoderConfig.Linears"/>.</summary>
    public static LinearRole[] All(DecoderConfig config) =>
        [.. Enumerable.Range(0, Slots(config)).Select(slot => (LinearRole)slot).Where(role => config.GatedMlp || role < LinearRole.Gate || (role - LinearRole.Gate) % OfMlp != 0)];

    /// <summary>The shapes of a layer's linears by the number of their role.</summary>
    public static LinearShape[] Shapes(DecoderConfig config, int layer)
    {
        LinearShape[] shapes = new LinearShape[Slots(config)];
        foreach ((LinearRole role, LinearShape shape) in All(config).Zip(config.Linears(layer))) shapes[(int)role] = shape;
        return shapes;
    }

    /// <summary>The linears that read the MLP's input.</summary>
    public static LinearRole[] MlpInputs(DecoderConfig config, int expert = 0) =>
        config.GatedMlp ? [LinearRole.Gate.Of(expert), LinearRole.Up.Of(expert)] : [LinearRole.Up.Of(expert)];
}
