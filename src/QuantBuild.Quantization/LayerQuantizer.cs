using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// Quantizes the linears of one decoder layer, and leaves their dequantized weights in the layer's place. Linears that read the same input form a group: q, k, v; o;
/// gate, up; down.
/// </summary>
/// <param name="plan">How each linear is quantized.</param>
/// <param name="forward">The decoder.</param>
/// <param name="index">The layer, from 0.</param>
/// <param name="layer">The float weights; become the dequantized ones.</param>
/// <param name="device">Where to compute.</param>
/// <param name="inform">Receives what is worth saying.</param>
/// <param name="stepped">Hears of each step of learned rounding.</param>
/// <param name="cancellationToken">Looked at between batches and blocks.</param>
internal sealed class LayerQuantizer(
    QuantizationPlan plan, DecoderForward forward, int index, LayerWeights layer, torch.Device device, Action<FormattableString> inform, Action<int> stepped,
    CancellationToken cancellationToken)
{
    // The linears that read the same input, in the order of a forward pass.
    private static readonly LinearRole[] Attention = [LinearRole.Query, LinearRole.Key, LinearRole.Value];
    private static readonly LinearRole[] Output = [LinearRole.Output];
    private static readonly LinearRole[] Mlp = [LinearRole.Gate, LinearRole.Up];
    private static readonly LinearRole[] Down = [LinearRole.Down];

    private readonly DecoderConfig config = plan.Config;
    private readonly IReadOnlyList<LinearShape> shapes = plan.Config.Linears(index);
    private readonly QuantizedLinear?[] linears = new QuantizedLinear?[Enum.GetValues<LinearRole>().Length];

    // The linears whose rounding is learned, once GPTQ made what that begins with.
    private readonly Dictionary<LinearRole, RoundingParameters> learned = [];

    private int AttentionWidth => config.Heads * config.HeadDim;

    /// <summary>Quantizes the layer.</summary>
    /// <param name="calibration">The calibration text's residual streams before the layer; become those after it. None where no method of the plan reads them.</param>
    /// <exception cref="QuantBuildException">QB3006, QB3007.</exception>
    public FinishedLayer Quantize(CalibrationStreams? calibration)
    {
        if (calibration is null)
        {
            WithoutCalibration();
            return new FinishedLayer(linears, new Dictionary<string, float[]>());
        }

        // The layer as it was: what is scaled or quantized is replaced in the other set alone.
        using LayerWeights original = layer.Share();
        // The residual streams move on while the linears are quantized one group after the other; learned rounding begins at the layer's input again.
        using HiddenStates? inputs = shapes.Any(shape => plan[shape] is { Method: QuantizationMethod.AutoRound }) ? calibration.Quantized.Copy() : null;
        Awq awq = new(plan, forward, index, layer, device, cancellationToken);
        IReadOnlyDictionary<string, float[]> norms = awq.Scales ? awq.Scale(calibration.Quantized) : new Dictionary<string, float[]>();
        if (plan.Spec.TrueSequential) Sequential(calibration, original);
        else InOnePass(calibration, original);
        if (inputs is not null) Learn(inputs, calibration);
        return new FinishedLayer(linears, norms);
    }

    /// <summary>Learns the rounding of the linears that ask for it, all together; the others stay as they are.</summary>
    private void Learn(HiddenStates inputs, CalibrationStreams calibration)
    {
        try
        {
            AutoRound training = new(forward, layer, learned, DecoderConfig.LayerPrefix(index).TrimEnd('.'));
            training.Train(inputs, calibration.Float!, plan.Spec.Iterations, device, stepped, cancellationToken);
            foreach ((LinearRole role, RoundingParameters parameters) in learned) layer.Replace(role, parameters.Linear, device);
            calibration.Quantized.Update(inputs, (_, input) => forward.Layer(input, layer), cancellationToken);
        }
        finally
        {
            foreach (RoundingParameters parameters in learned.Values) parameters.Dispose();
        }
    }

    private void WithoutCalibration()
    {
        foreach (LinearRole role in Enum.GetValues<LinearRole>())
        {
            cancellationToken.ThrowIfCancellationRequested();
            Quantize(role, null, null, null);
        }
    }

    /// <summary>
    /// True-sequential order: each group of linears is calibrated on what the groups before it give once they are quantized. Where the float stream is at hand,
    /// each makes good what was lost before it.
    /// </summary>
    private void Sequential(CalibrationStreams calibration, LayerWeights original)
    {
        (HiddenStates states, HiddenStates? floats) = calibration;
        Calibrate(Attention, config.HiddenSize, states, floats, original, (hidden, weights) => forward.AttentionInput(hidden, weights), adds: false);

        // The attention of each batch is kept from here to the residual stream: it is as large as that, and dear to compute twice.
        using (HiddenStates contexts = states.Map(hidden => forward.Attend(forward.AttentionInput(hidden, layer), layer), cancellationToken))
        using (HiddenStates? floatContexts = floats?.Map(hidden => forward.Attend(forward.AttentionInput(hidden, original), original), cancellationToken))
        {
            Calibrate(Output, AttentionWidth, contexts, floatContexts, original, (context, _) => context, adds: true, states, floats);
            states.Update(contexts, (hidden, context) => DecoderForward.AfterAttention(hidden, context, layer), cancellationToken);
            floats?.Update(floatContexts!, (hidden, context) => DecoderForward.AfterAttention(hidden, context, original), cancellationToken);
        }

        Calibrate(Mlp, config.HiddenSize, states, floats, original, (hidden, weights) => forward.MlpInput(hidden, weights), adds: false);
        Calibrate(
            Down, config.IntermediateSize, states, floats, original,
            (hidden, weights) => DecoderForward.Gate(forward.MlpInput(hidden, weights), weights), adds: true, states, floats);
        states.Update(hidden => forward.AfterMlp(hidden, layer), cancellationToken);
        floats?.Update(hidden => forward.AfterMlp(hidden, original), cancellationToken);
    }

    /// <summary>All linears calibrated in one pass with the layer's float weights.</summary>
    private void InOnePass(CalibrationStreams calibration, LayerWeights original)
    {
        (HiddenStates states, HiddenStates? floats) = calibration;
        using Hessian attention = new(config.HiddenSize, device), output = new(AttentionWidth, device);
        using Hessian mlp = new(config.HiddenSize, device), down = new(config.IntermediateSize, device);
        states.Visit(
            (_, hidden) =>
            {
                torch.Tensor input = forward.AttentionInput(hidden, layer);
                torch.Tensor context = forward.Attend(input, layer);
                torch.Tensor mlpInput = forward.MlpInput(DecoderForward.AfterAttention(hidden, context, layer), layer);
                torch.Tensor[] inputs = [input, context, mlpInput, DecoderForward.Gate(mlpInput, layer)];
                foreach (torch.Tensor made in inputs) made.DetachFromDisposeScope();
                return inputs;
            },
            inputs =>
            {
                foreach ((Hessian hessian, torch.Tensor input) in new[] { attention, output, mlp, down }.Zip(inputs))
                {
                    hessian.Add(input);
                    input.Dispose();
                }
            },
            cancellationToken);
        Quantize(Attention, attention, null);
        Quantize(Output, output, null);
        Quantize(Mlp, mlp, null);
        Quantize(Down, down, null);
        states.Update(hidden => forward.Layer(hidden, layer), cancellationToken);
        floats?.Update(hidden => forward.Layer(hidden, original), cancellationToken);
    }

    /// <summary>Quantizes a group of linears on what they read.</summary>
    /// <param name="roles">The group.</param>
    /// <param name="width">K, the width of the input.</param>
    /// <param name="states">What the input is computed of, with the quantized layers before.</param>
    /// <param name="floats">The same with the float layers before, where errors are to be corrected.</param>
    /// <param name="original">The layer's float weights.</param>
    /// <param name="input">Computes the input, [B, T, K].</param>
    /// <param name="adds">Whether the group's output is added to the residual stream.</param>
    /// <param name="residual">The residual stream that it is added to.</param>
    /// <param name="floatResidual">The same with the float layers.</param>
    private void Calibrate(
        LinearRole[] roles, int width, HiddenStates states, HiddenStates? floats, LayerWeights original,
        Func<torch.Tensor, LayerWeights, torch.Tensor> input, bool adds, HiddenStates? residual = null, HiddenStates? floatResidual = null)
    {
        if (roles.All(role => plan[shapes[(int)role]] is not { } spec || !QuantizationSpec.IsCalibrated(spec.Method)))
        {
            foreach (LinearRole role in roles) Quantize(role, null, null, null);
            return;
        }

        if (!plan.Spec.ErrorCorrection) floats = null;
        using Hessian hessian = new(width, device);
        using ErrorCorrection? correction = floats is null ? null : new(width, adds ? config.HiddenSize : null, device);
        states.Visit(
            (batch, hidden) =>
            {
                torch.Tensor quantized = input(hidden, layer);
                torch.Tensor? lost = floats is null ? null : input(floats.Batch(batch), original).Minus(quantized).DetachFromDisposeScope();
                torch.Tensor? before = lost is null || !adds ? null : floatResidual!.Batch(batch).Minus(residual!.Batch(batch)).DetachFromDisposeScope();
                return (Input: quantized.DetachFromDisposeScope(), Lost: lost, Before: before);
            },
            made =>
            {
                hessian.Add(made.Input);
                correction?.Add(made.Lost!, made.Input, made.Before);
                made.Input.Dispose();
                made.Lost?.Dispose();
                made.Before?.Dispose();
            },
            cancellationToken);
        Quantize(roles, hessian, correction);
    }

    private void Quantize(LinearRole[] roles, Hessian hessian, ErrorCorrection? correction)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor matrix = hessian.Matrix;
        string name = shapes[(int)roles[0]].Name;
        bool isFactored = roles.Any(role => plan[shapes[(int)role]]?.Method is QuantizationMethod.Gptq or QuantizationMethod.AutoRound);
        using InverseFactor? factor = isFactored ? InverseFactor.Create(matrix, plan.Spec, name) : null;
        if (factor is not null && factor.Damping > plan.Spec.Damping)
        {
            inform($"{name}: its Hessian is not positive definite with a damping of {plan.Spec.Damping}; with {factor.Damping} it is");
        }

        foreach (LinearRole role in roles) Quantize(role, matrix, factor, correction);
    }

    private void Quantize(LinearRole role, torch.Tensor? hessian, InverseFactor? factor, ErrorCorrection? correction)
    {
        LinearShape shape = shapes[(int)role];
        if (plan[shape] is not { } spec) return;
        using DisposeScope scope = torch.NewDisposeScope();
        linears[(int)role] = spec.Method switch
        {
            QuantizationMethod.Gptq or QuantizationMethod.AutoRound when factor is not null => WithFactor(role, spec, factor, correction),
            QuantizationMethod.Awq => Rtn.Quantize(layer[role], spec, hessian),
            _ => LinearQuantizer.WithoutData(layer[role], shape, spec),
        };
        layer.Replace(role, linears[(int)role]!, device);
    }

    private AffineLinear WithFactor(LinearRole role, QuantizationSpec spec, InverseFactor factor, ErrorCorrection? correction)
    {
        torch.Tensor target = correction?.Target(layer[role], factor) ?? layer[role];
        if (spec.Method == QuantizationMethod.Gptq) return Gptq.Quantize(target, factor, spec, cancellationToken);
        AffineLinear start = Gptq.Quantize(target, factor, AutoRound.Start(spec), cancellationToken);
        learned.Add(role, new RoundingParameters(target, start));
        return start;
    }
}
