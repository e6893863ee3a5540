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
/// <param name="starved">Receives the name of each expert to which the calibration text sends too few tokens.</param>
/// <param name="stepped">Hears of each step of learned rounding.</param>
/// <param name="cancellationToken">Looked at between batches and blocks.</param>
internal sealed class LayerQuantizer(
    QuantizationPlan plan, DecoderForward forward, int index, LayerWeights layer, torch.Device device, Action<FormattableString> inform, Action<string> starved,
    Action<int> stepped, CancellationToken cancellationToken)
{
    // The linears that read the same input, in the order of a forward pass.
    private static readonly LinearRole[] Attention = [LinearRole.Query, LinearRole.Key, LinearRole.Value];
    private static readonly LinearRole[] Output = [LinearRole.Output];

    // An expert that sees less than this share of what it would if all saw as many is given more tokens.
    private const double LeastShare = 0.25;

    private readonly DecoderConfig config = plan.Config;
    private readonly LinearShape[] shapes = LinearRoles.Shapes(plan.Config, index);
    private readonly QuantizedLinear?[] linears = new QuantizedLinear?[LinearRoles.Slots(plan.Config, index)];

    // The linears whose rounding is learned, once GPTQ made what that begins with.
    private readonly Dictionary<LinearRole, RoundingParameters> learned = [];

    private int AttentionWidth => config.Heads * config.HeadDim;

    // The MLP that sees every token, where the layer has one.
    private LinearRole[] Mlp => config.EveryTokenMlp(index) is { } mlp ? LinearRoles.MlpInputs(config, mlp) : [];

    private LinearRole[] Down => config.EveryTokenMlp(index) is { } mlp ? [LinearRole.Down.Of(mlp)] : [];

    // Only what is added to the residual stream as it is says what lacks there.
    private bool AddsAsItIs => !config.PostNorms && config.ResidualScale == 1;

    /// <summary>Quantizes the layer.</summary>
    /// <param name="calibration">The calibration text's residual streams before the layer; become those after it. None where no method of the plan reads them.</param>
    /// <exception cref="QuantBuildException">QB3006, QB3007.</exception>
    public FinishedLayer Quantize(CalibrationStreams? calibration)
    {
        if (calibration is null)
        {
            WithoutCalibration();
            return Finished(new Dictionary<string, float[]>());
        }

        // The residual streams move on while the linears are quantized one group after the other; learned rounding begins at the layer's input again.
        using HiddenStates? inputs = config.Linears(index).Any(shape => plan[shape] is { Method: QuantizationMethod.AutoRound }) ? calibration.Quantized.Copy() : null;
        IReadOnlyDictionary<string, float[]> vectors = plan.Spec.TrueSequential ? Sequential(calibration) : InOnePass(calibration);
        if (inputs is not null) Learn(inputs, calibration);
        return Finished(vectors);
    }

    private FinishedLayer Finished(IReadOnlyDictionary<string, float[]> vectors) => new([.. LinearRoles.All(config, index).Select(role => linears[(int)role])], vectors);

    /// <summary>Scales inputs as AWQ does, where it has a part in the layer.</summary>
    /// <returns>The norms and biases that changed, by tensor name.</returns>
    private IReadOnlyDictionary<string, float[]> Scale(HiddenStates states)
    {
        Awq awq = new(plan, forward, index, layer, device, cancellationToken);
        return awq.Scales ? InFloat32(() => awq.Scale(states)) : new Dictionary<string, float[]>();
    }

    /// <summary>Learns the rounding of the linears that ask for it, all together; the others stay as they are.</summary>
    private void Learn(HiddenStates inputs, CalibrationStreams calibration)
    {
        try
        {
            AutoRound training = new(forward, layer, learned, DecoderConfig.LayerPrefix(index).TrimEnd('.'));
            InFloat32(() =>
            {
                training.Train(inputs, calibration.Float!, plan.Spec.Iterations, device, stepped, cancellationToken);
                return true;
            });
            foreach ((LinearRole role, RoundingParameters parameters) in learned) layer.Replace(role, parameters.Linear, device);
            calibration.Quantized.Update(inputs, (_, input) => forward.Layer(input, layer), cancellationToken);
        }
        finally
        {
            foreach (RoundingParameters parameters in learned.Values) parameters.Dispose();
        }
    }

    /// <summary>What compares a layer with itself compares small differences: it multiplies in float32, in whatever the streams go through.</summary>
    private T InFloat32<T>(Func<T> compare)
    {
        torch.ScalarType products = layer.Products;
        layer.Products = torch.float32;
        T result = compare();
        layer.Products = products;
        return result;
    }

    private void WithoutCalibration()
    {
        foreach (LinearRole role in LinearRoles.All(config, index))
        {
            cancellationToken.ThrowIfCancellationRequested();
            Quantize(role, null, null, null);
        }
    }

    /// <summary>
    /// True-sequential order: each group of linears is calibrated on what the groups before it give once they are quantized. Where the float stream is at hand,
    /// each makes good what was lost before it.
    /// </summary>
    /// <remarks>
    /// The float stream goes through a half of the layer before that half's linears are quantized, so that their float weights are never in memory beside the quantized ones; what
    /// is quantized and not read for a while is set aside.
    /// </remarks>
    private IReadOnlyDictionary<string, float[]> Sequential(CalibrationStreams calibration)
    {
        (HiddenStates states, HiddenStates? floats) = calibration;
        // The layer as it was: what is scaled or quantized is replaced in the other set alone.
        using LayerWeights? original = floats is null ? null : layer.Share();
        IReadOnlyDictionary<string, float[]> vectors = Scale(states);

        using (Statistics? attention = Measure(Attention, states, floats, original, (hidden, weights) => forward.AttentionInput(hidden, weights)))
        {
            floats?.Update(hidden => forward.AfterAttention(hidden, original!), cancellationToken);
            original?.Release([.. Attention, .. Output]);
            Quantize(Attention, attention);
        }

        // The attention of each batch is kept from here to the residual stream: it is as large as that, and dear to compute twice.
        using (HiddenStates contexts = states.Map(hidden => forward.Attended(hidden, layer), cancellationToken))
        {
            using (Statistics? output = MeasureAdding(LinearRole.Output, AttentionWidth, contexts, context => context, states, floats)) Quantize(Output, output);
            states.Update(contexts, (hidden, context) => forward.AfterAttention(hidden, context, layer), cancellationToken);
        }

        SetAside([.. Attention, .. Output]);
        using (Statistics? mlp = Measure(Mlp, states, floats, original, (hidden, weights) => forward.MlpInput(hidden, weights)))
        {
            floats?.Update(hidden => forward.AfterMlp(hidden, original!), cancellationToken);
            original?.Dispose();
            Quantize(Mlp, mlp);
        }

        if (config.EveryTokenMlp(index) is { } everyToken)
        {
            using Statistics? down = MeasureAdding(
                LinearRole.Down.Of(everyToken), DownInputs(everyToken), states, hidden => forward.Gate(forward.MlpInput(hidden, layer), layer, everyToken), states, floats);
            SetAside(Mlp);
            Quantize(Down, down);
        }

        if (config.HasExperts(index)) Experts(states);
        BringBack(Mlp);
        states.Update(hidden => forward.AfterMlp(hidden, layer), cancellationToken);
        BringBack([.. Attention, .. Output]);
        return vectors;
    }

    /// <summary>All linears calibrated in one pass with the layer's float weights.</summary>
    private IReadOnlyDictionary<string, float[]> InOnePass(CalibrationStreams calibration)
    {
        HiddenStates states = calibration.Quantized;
        calibration.Float?.Update(hidden => forward.Layer(hidden, layer), cancellationToken);
        IReadOnlyDictionary<string, float[]> vectors = Scale(states);
        using Statistics attention = new(new Hessian(config.HiddenSize, device)), output = new(new Hessian(AttentionWidth, device));
        int? everyToken = config.EveryTokenMlp(index);
        using Statistics? mlp = everyToken is null ? null : new(new Hessian(config.HiddenSize, device)), down = everyToken is { } one ? new(new Hessian(DownInputs(one), device)) : null;
        using HiddenStates? between = config.HasExperts(index) ? states.Map(hidden => forward.AfterAttention(hidden, layer), cancellationToken) : null;
        states.Visit(
            (index, hidden) =>
            {
                torch.Tensor input = forward.AttentionInput(hidden, layer);
                return (Index: index, Context: forward.Attend(input, layer).DetachFromDisposeScope(), Input: input.DetachFromDisposeScope());
            },
            made =>
            {
                attention.Hessian.Add(made.Input);
                made.Input.Dispose();
                output.Hessian.Add(made.Context);
                if (everyToken is { } mlpOfAll) states.VisitTokens(
                    made.Index,
                    made.Context,
                    (hidden, context) =>
                    {
                        torch.Tensor input = forward.MlpInput(forward.AfterAttention(hidden, context, layer), layer);
                        return (Gated: forward.Gate(input, layer, mlpOfAll).DetachFromDisposeScope(), Input: input.DetachFromDisposeScope());
                    },
                    part =>
                    {
                        mlp!.Hessian.Add(part.Input);
                        down!.Hessian.Add(part.Gated);
                        part.Input.Dispose();
                        part.Gated.Dispose();
                    },
                    cancellationToken);
                made.Context.Dispose();
            },
            cancellationToken);
        Quantize(Attention, attention);
        Quantize(Output, output);
        Quantize(Mlp, mlp);
        Quantize(Down, down);
        if (between is not null) Experts(between);
        states.Update(hidden => forward.Layer(hidden, layer), cancellationToken);
        return vectors;
    }

    /// <summary>Adds up what a group of linears is quantized with, which reads a norm's output.</summary>
    /// <param name="roles">The group.</param>
    /// <param name="states">The residual stream, with the quantized layers before.</param>
    /// <param name="floats">The same with the float layers before, where there is one.</param>
    /// <param name="original">The layer's float weights, where there is a float stream.</param>
    /// <param name="input">Computes the input, [B, T, D].</param>
    /// <returns>The sums; <see langword="null"/> where no linear of the group asks for them.</returns>
    private Statistics? Measure(
        LinearRole[] roles, HiddenStates states, HiddenStates? floats, LayerWeights? original, Func<torch.Tensor, LayerWeights, torch.Tensor> input)
    {
        if (!roles.Any(IsCalibrated)) return null;
        bool corrects = Corrects(roles, floats);
        Statistics sums = new(new Hessian(config.HiddenSize, device), corrects ? ErrorCorrection.OfInputs(config.HiddenSize, device) : null);
        return Sum(sums, states, (part, hidden) =>
        {
            torch.Tensor seen = input(hidden, layer);
            return (seen, corrects ? input(floats!.Tokens(part), original!).Minus(seen) : null);
        });
    }

    /// <summary>Adds up what a linear is quantized with, whose output is added to the residual stream.</summary>
    /// <param name="role">The linear.</param>
    /// <param name="width">K, the width of its input.</param>
    /// <param name="sources">What the input is computed of.</param>
    /// <param name="input">Computes it, [B, T, K].</param>
    /// <param name="states">The residual stream before the linear's output is added.</param>
    /// <param name="floats">That of the float layers, where there is one, behind the float linear.</param>
    /// <returns>The sums; <see langword="null"/> where the linear does not ask for them.</returns>
    private Statistics? MeasureAdding(
        LinearRole role, int width, HiddenStates sources, Func<torch.Tensor, torch.Tensor> input, HiddenStates states, HiddenStates? floats)
    {
        if (!IsCalibrated(role)) return null;
        // Beside experts it is not the only one that is added there.
        bool corrects = Corrects([role], floats) && AddsAsItIs && (role == LinearRole.Output || !config.HasExperts(index));
        Statistics sums = new(new Hessian(width, device), corrects ? ErrorCorrection.OfOutputs(config.HiddenSize, width, device) : null);
        return Sum(sums, sources, (part, source) =>
        {
            torch.Tensor seen = input(source);
            // W x + r - W x': what lacks behind the linear if it were not quantized.
            return (seen, corrects ? forward.Residual(floats!.Tokens(part)).Minus(layer.Apply(role, seen).PlusInPlace(forward.Residual(states.Tokens(part)))) : null);
        });
    }

    /// <summary>
    /// Quantizes the experts one after the other, each on the tokens that the router sends to it: so one expert's sums are in memory at a time. One that sees few is given
    /// some of all tokens beside them, for it would else be fitted to those few alone. None makes good what was lost before it: their errors mix.
    /// </summary>
    /// <param name="between">What follows attention, behind its quantized linears.</param>
    private void Experts(HiddenStates between)
    {
        (long[] seen, long tokens) = Routed(between);
        long least = Math.Max(1, (long)(LeastShare * tokens * config.ExpertsPerToken / config.Experts));
        for (int expert = 0; expert < config.Experts; expert++)
        {
            LinearRole[] mlp = LinearRoles.MlpInputs(config, expert), down = [LinearRole.Down.Of(expert)];
            bool few = seen[expert] < least;
            if (few && mlp.Concat(down).Any(IsCalibrated)) starved(shapes[(int)down[0]].Name.Substring(0, shapes[(int)down[0]].Name.LastIndexOf('.')));
            long step = few ? Math.Max(1, tokens / (least - seen[expert])) : long.MaxValue;
            int its = expert;
            using (Statistics? inputs = MeasureExpert(its, mlp, config.HiddenSize, step, between, input => input)) Quantize(mlp, inputs);
            using (Statistics? gated = MeasureExpert(its, down, DownInputs(its), step, between, input => forward.Gate(input, layer, its))) Quantize(down, gated);
        }
    }

    /// <summary>How many tokens each expert sees, and how many there are.</summary>
    private (long[] Seen, long Tokens) Routed(HiddenStates between)
    {
        long[] seen = new long[config.Experts];
        long tokens = 0;
        between.VisitTokens(
            (_, part) => forward.Route(forward.MlpInput(part, layer), layer).Experts.reshape(-1).cpu().data<long>().ToArray(),
            experts =>
            {
                foreach (long expert in experts) seen[expert]++;
                tokens += experts.Length / config.ExpertsPerToken;
            },
            cancellationToken);
        return (seen, tokens);
    }

    /// <summary>Adds up what linears of an expert are quantized with.</summary>
    /// <param name="expert">The expert.</param>
    /// <param name="roles">Its linears.</param>
    /// <param name="width">K, the width of their input.</param>
    /// <param name="step">Every so many of all tokens are seen beside its own.</param>
    /// <param name="between">What follows attention.</param>
    /// <param name="read">Computes what the linears read of what the expert reads.</param>
    private Statistics? MeasureExpert(int expert, LinearRole[] roles, int width, long step, HiddenStates between, Func<torch.Tensor, torch.Tensor> read) => !roles.Any(IsCalibrated)
        ? null
        : Sum(new Statistics(new Hessian(width, device)), between, (part, tokens) =>
        {
            torch.Tensor input = forward.MlpInput(tokens, layer);
            long[] experts = forward.Route(input, layer).Experts.reshape(-1).cpu().data<long>().ToArray();
            int each = config.ExpertsPerToken;
            long[] seen = [.. Enumerable.Range(0, experts.Length / each).Where(t => (part.First + t) % step == 0 && step < long.MaxValue || experts.AsSpan(t * each, each).Contains(expert)).Select(t => (long)t)];
            return (read(input.index_select(1, torch.tensor(seen, torch.int64).to(device))), null);
        });

    /// <summary>Adds up over all tokens; frees the sums where that fails.</summary>
    private Statistics Sum(Statistics sums, HiddenStates sources, Func<TokenPart, torch.Tensor, (torch.Tensor Seen, torch.Tensor? Lost)> step)
    {
        try
        {
            sources.VisitTokens(
                (part, source) =>
                {
                    (torch.Tensor seen, torch.Tensor? lost) = step(part, source);
                    return (Seen: seen.DetachFromDisposeScope(), Lost: lost?.DetachFromDisposeScope());
                },
                made =>
                {
                    sums.Hessian.Add(made.Seen);
                    if (made.Lost is not null) sums.Correction!.Add(made.Lost, made.Seen);
                    made.Seen.Dispose();
                    made.Lost?.Dispose();
                },
                cancellationToken);
            return sums;
        }
        catch
        {
            sums.Dispose();
            throw;
        }
    }

    private int DownInputs(int mlp) => shapes[(int)LinearRole.Down.Of(mlp)].Inputs;

    private bool IsCalibrated(LinearRole role) => plan[shapes[(int)role]] is { } spec && QuantizationSpec.IsCalibrated(spec.Method);

    private bool IsFactored(LinearRole role) => plan[shapes[(int)role]]?.Method is QuantizationMethod.Gptq or QuantizationMethod.AutoRound;

    private bool Corrects(LinearRole[] roles, HiddenStates? floats) => floats is not null && plan.Spec.ErrorCorrection && roles.Any(IsFactored);

    /// <summary>Frees the weights of linears that are quantized: what they stand for can be had again.</summary>
    private void SetAside(LinearRole[] roles) => layer.Release(roles.Where(role => linears[(int)role] is not null));

    private void BringBack(LinearRole[] roles)
    {
        foreach (LinearRole role in roles)
        {
            if (linears[(int)role] is { } linear) layer.Replace(role, linear, device);
        }
    }

    /// <summary>Quantizes a group of linears.</summary>
    /// <param name="roles">The group.</param>
    /// <param name="sums">What was added up for it; is used up, and freed.</param>
    private void Quantize(LinearRole[] roles, Statistics? sums)
    {
        using Statistics? used = sums;
        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor? matrix = sums?.Hessian.Matrix;
        LinearRole[] factored = sums is null ? [] : [.. roles.Where(IsFactored)];
        // The factor takes the Hessian's place, so who reads that comes first.
        foreach (LinearRole role in roles.Except(factored)) Quantize(role, matrix, null, null);
        if (factored.Length == 0) return;

        string name = shapes[(int)roles[0]].Name;
        using InverseFactor factor = InverseFactor.InPlace(matrix!, plan.Spec, name);
        if (factor.Damping > plan.Spec.Damping)
        {
            inform($"{name}: its Hessian is not positive definite with a damping of {plan.Spec.Damping}; with {factor.Damping} it is");
        }

        foreach (LinearRole role in factored) Quantize(role, null, factor, sums!.Correction);
    }

    private void Quantize(LinearRole role, torch.Tensor? hessian, InverseFactor? factor, ErrorCorrection? correction)
    {
        LinearShape shape = shapes[(int)role];
        if (plan[shape] is not { } spec) return;
        using DisposeScope scope = torch.NewDisposeScope();
        linears[(int)role] = spec.Method switch
        {
            QuantizationMethod.Gptq or QuantizationMethod.AutoRound when factor is not null => WithFactor(role, spec, factor, correction),
            QuantizationMethod.Awq => LinearQuantizer.RoundToNearest(layer[role], shape, spec, hessian),
            _ => LinearQuantizer.WithoutData(layer[role], shape, spec),
        };
        layer.Replace(role, linears[(int)role]!, device);
    }

    private AffineLinear WithFactor(LinearRole role, QuantizationSpec spec, InverseFactor factor, ErrorCorrection? correction)
    {
        torch.Tensor target = layer[role];
        if (correction is not null)
        {
            target = correction.Target(target, factor);
            layer.Release(role);
        }

        if (spec.Method == QuantizationMethod.Gptq) return Gptq.Quantize(target, factor, spec, cancellationToken);
        AffineLinear start = Gptq.Quantize(target, factor, AutoRound.Start(spec), cancellationToken);
        learned.Add(role, new RoundingParameters(target, start));
        return start;
    }

    /// <summary>What a group of linears is quantized with.</summary>
    /// <param name="Hessian">Of their inputs.</param>
    /// <param name="Correction">What they make good, where they do.</param>
    private sealed record Statistics(Hessian Hessian, ErrorCorrection? Correction = null) : IDisposable
    {
        /// <inheritdoc/>
        public void Dispose()
        {
            Hessian.Dispose();
            Correction?.Dispose();
        }
    }
}
