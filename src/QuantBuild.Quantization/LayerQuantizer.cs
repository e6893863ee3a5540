using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// Quantizes the linears of one decoder layer, and leaves their dequantized weights in the layer's place. Linears that read the same input form a group: q, k, v; o;
/// gate, up; down.
/// </summary>
/// <param name="plan">How each linear is quantized.</param>
/// <param name="devices">Where to compute.</param>
/// <param name="forward">The decoder.</param>
/// <param name="index">The layer, from 0.</param>
/// <param name="layer">The float weights; become the dequantized ones.</param>
/// <param name="inform">Receives what is worth saying.</param>
/// <param name="starved">Receives the name of each expert to which the calibration text sends too few tokens.</param>
/// <param name="stepped">Hears of each step of learned rounding.</param>
/// <param name="cancellationToken">Looked at between batches and blocks.</param>
internal sealed class LayerQuantizer(
    QuantizationPlan plan, Devices devices, PerDevice<DecoderForward> forward, int index, PerDevice<LayerWeights> layer, Action<FormattableString> inform, Action<string> starved,
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
        Awq awq = new(plan, devices, forward, index, layer, cancellationToken);
        return awq.Scales ? InFloat32(() => awq.Scale(states)) : new Dictionary<string, float[]>();
    }

    /// <summary>Learns the rounding of the linears that ask for it, all together; the others stay as they are.</summary>
    private void Learn(HiddenStates inputs, CalibrationStreams calibration)
    {
        try
        {
            AutoRound training = new(devices, forward, layer, learned, DecoderConfig.LayerPrefix(index).TrimEnd('.'));
            InFloat32(() =>
            {
                training.Train(inputs, calibration.Float!, plan.Spec.Iterations, stepped, cancellationToken);
                return true;
            });
            foreach ((LinearRole role, RoundingParameters parameters) in learned) Replace(role, parameters.Linear);
            calibration.Quantized.Update(inputs, (at, _, input) => forward[at].Layer(input, layer[at]), cancellationToken);
        }
        finally
        {
            foreach (RoundingParameters parameters in learned.Values) parameters.Dispose();
        }
    }

    /// <summary>What compares a layer with itself compares small differences: it multiplies in float32, in whatever the streams go through.</summary>
    private T InFloat32<T>(Func<T> compare)
    {
        torch.ScalarType products = layer.First.Products;
        foreach (LayerWeights weights in layer.All) weights.Products = torch.float32;
        T result = compare();
        foreach (LayerWeights weights in layer.All) weights.Products = products;
        return result;
    }

    private void WithoutCalibration()
    {
        QuantizeEach(LinearRoles.All(config, index), (at, role) => Uncalibrated(at, role, null));
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
        using PerDevice<LayerWeights>? original = floats is null ? null : devices.Each(at => layer[at].Share());
        IReadOnlyDictionary<string, float[]> vectors = Scale(states);

        using (Statistics? attention = Measure(Attention, states, floats, original, (at, hidden, weights) => forward[at].AttentionInput(hidden, weights)))
        {
            floats?.Update((at, hidden) => forward[at].AfterAttention(hidden, original![at]), cancellationToken);
            foreach (LayerWeights weights in original?.All ?? []) weights.Release([.. Attention, .. Output]);
            Quantize(Attention, attention);
        }

        // The attention of each batch is kept from here to the residual stream: it is as large as that, and dear to compute twice.
        using (HiddenStates contexts = states.Map((at, hidden) => forward[at].Attended(hidden, layer[at]), cancellationToken))
        {
            using (Statistics? output = MeasureAdding(LinearRole.Output, AttentionWidth, contexts, (_, context) => context, states, floats)) Quantize(Output, output);
            states.Update(contexts, (at, hidden, context) => forward[at].AfterAttention(hidden, context, layer[at]), cancellationToken);
        }

        SetAside([.. Attention, .. Output]);
        using (Statistics? mlp = Measure(Mlp, states, floats, original, (at, hidden, weights) => forward[at].MlpInput(hidden, weights)))
        {
            floats?.Update((at, hidden) => forward[at].AfterMlp(hidden, original![at]), cancellationToken);
            original?.Dispose();
            Quantize(Mlp, mlp);
        }

        if (config.EveryTokenMlp(index) is { } everyToken)
        {
            using Statistics? down = MeasureAdding(
                LinearRole.Down.Of(everyToken), DownInputs(everyToken), states, (at, hidden) => forward[at].Gate(forward[at].MlpInput(hidden, layer[at]), layer[at], everyToken), states, floats);
            SetAside(Mlp);
            Quantize(Down, down);
        }

        if (config.HasExperts(index)) Experts(states);
        BringBack(Mlp);
        states.Update((at, hidden) => forward[at].AfterMlp(hidden, layer[at]), cancellationToken);
        BringBack([.. Attention, .. Output]);
        return vectors;
    }

    /// <summary>All linears calibrated in one pass with the layer's float weights.</summary>
    private IReadOnlyDictionary<string, float[]> InOnePass(CalibrationStreams calibration)
    {
        HiddenStates states = calibration.Quantized;
        calibration.Float?.Update((at, hidden) => forward[at].Layer(hidden, layer[at]), cancellationToken);
        IReadOnlyDictionary<string, float[]> vectors = Scale(states);
        PerDevice<Statistics> Sums(int width) => devices.Each(at => new Statistics(new Hessian(width, at.Device)));
        using PerDevice<Statistics> attention = Sums(config.HiddenSize), output = Sums(AttentionWidth);
        int? everyToken = config.EveryTokenMlp(index);
        using PerDevice<Statistics>? mlp = everyToken is null ? null : Sums(config.HiddenSize), down = everyToken is { } one ? Sums(DownInputs(one)) : null;
        using HiddenStates? between = config.HasExperts(index) ? states.Map((at, hidden) => forward[at].AfterAttention(hidden, layer[at]), cancellationToken) : null;
        states.VisitWindows(
            (at, tokens, hidden) =>
            {
                torch.Tensor input = forward[at].AttentionInput(hidden, layer[at]);
                return (Tokens: tokens, Context: forward[at].Attend(input, layer[at]).DetachFromDisposeScope(), Input: input.DetachFromDisposeScope());
            },
            (at, made) =>
            {
                attention[at].Hessian.Add(made.Input);
                made.Input.Dispose();
                output[at].Hessian.Add(made.Context);
                if (everyToken is { } mlpOfAll) states.VisitTokens(
                    at,
                    made.Tokens,
                    made.Context,
                    (hidden, context) =>
                    {
                        torch.Tensor input = forward[at].MlpInput(forward[at].AfterAttention(hidden, context, layer[at]), layer[at]);
                        return (Gated: forward[at].Gate(input, layer[at], mlpOfAll).DetachFromDisposeScope(), Input: input.DetachFromDisposeScope());
                    },
                    part =>
                    {
                        mlp![at].Hessian.Add(part.Input);
                        down![at].Hessian.Add(part.Gated);
                        part.Input.Dispose();
                        part.Gated.Dispose();
                    },
                    cancellationToken);
                made.Context.Dispose();
            },
            cancellationToken);
        Quantize(Attention, attention.Together(Statistics.Add));
        Quantize(Output, output.Together(Statistics.Add));
        Quantize(Mlp, mlp?.Together(Statistics.Add));
        Quantize(Down, down?.Together(Statistics.Add));
        if (between is not null) Experts(between);
        states.Update((at, hidden) => forward[at].Layer(hidden, layer[at]), cancellationToken);
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
        LinearRole[] roles, HiddenStates states, HiddenStates? floats, PerDevice<LayerWeights>? original, Func<Place, torch.Tensor, LayerWeights, torch.Tensor> input)
    {
        if (!roles.Any(IsCalibrated)) return null;
        bool corrects = Corrects(roles, floats);
        Statistics Zero(Place at) => new(new Hessian(config.HiddenSize, at.Device), corrects ? ErrorCorrection.OfInputs(config.HiddenSize, at.Device) : null);
        return Sum(Zero, states, (at, part, hidden) =>
        {
            torch.Tensor seen = input(at, hidden, layer[at]);
            return (seen, corrects ? input(at, floats!.Tokens(at, part), original![at]).Minus(seen) : null);
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
        LinearRole role, int width, HiddenStates sources, Func<Place, torch.Tensor, torch.Tensor> input, HiddenStates states, HiddenStates? floats)
    {
        if (!IsCalibrated(role)) return null;
        // Beside experts it is not the only one that is added there.
        bool corrects = Corrects([role], floats) && AddsAsItIs && (role == LinearRole.Output || !config.HasExperts(index));
        Statistics Zero(Place at) => new(new Hessian(width, at.Device), corrects ? ErrorCorrection.OfOutputs(config.HiddenSize, width, at.Device) : null);
        return Sum(Zero, sources, (at, part, source) =>
        {
            torch.Tensor seen = input(at, source);
            torch.Tensor Stream(HiddenStates of) => forward[at].Residual(of.Tokens(at, part));
            // W x + r - W x': what lacks behind the linear if it were not quantized.
            return (seen, corrects ? Stream(floats!).Minus(layer[at].Apply(role, seen).PlusInPlace(Stream(states))) : null);
        });
    }

    /// <summary>
    /// Quantizes the experts one after the other, each on the tokens that the router sends to it: so one expert's sums are in memory at a time. One that sees few is given
    /// some of all tokens beside them, for it would else be fitted to those few alone. None makes good what was lost before it: their errors mix.
    /// </summary>
    /// <param name="between">What follows attention, behind its quantized linears.</param>
    private void Experts(HiddenStates between)
    {
        RoutedTokens routed = new(between, config, (at, part) => forward[at].Route(forward[at].MlpInput(part, layer[at]), layer[at]).Experts, cancellationToken);
        long least = Math.Max(1, (long)(LeastShare * routed.Tokens * config.ExpertsPerToken / config.Experts));
        for (int expert = 0; expert < config.Experts; expert++)
        {
            LinearRole[] mlp = LinearRoles.MlpInputs(config, expert), down = [LinearRole.Down.Of(expert)];
            long lacking = least - routed.SeenBy(expert);
            if (lacking > 0 && mlp.Concat(down).Any(IsCalibrated)) starved(shapes[(int)down[0]].Name.Substring(0, shapes[(int)down[0]].Name.LastIndexOf('.')));
            TokenPlace[] seen = routed.Of(expert, lacking > 0 ? Math.Max(1, routed.Tokens / lacking) : null);
            int its = expert;
            using (Statistics? inputs = MeasureExpert(mlp, config.HiddenSize, between, seen, (_, input) => input)) Quantize(mlp, inputs);
            using (Statistics? gated = MeasureExpert(down, DownInputs(its), between, seen, (at, input) => forward[at].Gate(input, layer[at], its))) Quantize(down, gated);
        }
    }

    /// <summary>Adds up what linears of an expert are quantized with.</summary>
    /// <param name="roles">The linears.</param>
    /// <param name="width">K, the width of their input.</param>
    /// <param name="between">What follows attention.</param>
    /// <param name="seen">The tokens that they are calibrated on. Each is normed again for each expert that sees it: that is nothing beside its part of the Hessian, and keeping it would double the text in memory.</param>
    /// <param name="read">Computes what the linears read of what the expert reads.</param>
    private Statistics? MeasureExpert(LinearRole[] roles, int width, HiddenStates between, TokenPlace[] seen, Func<Place, torch.Tensor, torch.Tensor> read) => !roles.Any(IsCalibrated)
        ? null
        : Sum(at => new Statistics(new Hessian(width, at.Device)), sums => between.VisitTokens(
            seen,
            (at, tokens) => read(at, forward[at].MlpInput(tokens, layer[at])).DetachFromDisposeScope(),
            (at, input) =>
            {
                sums[at].Hessian.Add(input);
                input.Dispose();
            },
            cancellationToken));

    /// <summary>Adds up over all tokens.</summary>
    private Statistics Sum(Func<Place, Statistics> zero, HiddenStates sources, Func<Place, TokenPart, torch.Tensor, (torch.Tensor Seen, torch.Tensor? Lost)> step) => Sum(zero, sums => sources.VisitTokens(
        (at, part, source) =>
        {
            (torch.Tensor seen, torch.Tensor? lost) = step(at, part, source);
            return (Seen: seen.DetachFromDisposeScope(), Lost: lost?.DetachFromDisposeScope());
        },
        (at, made) =>
        {
            sums[at].Hessian.Add(made.Seen);
            if (made.Lost is not null) sums[at].Correction!.Add(made.Lost, made.Seen);
            made.Seen.Dispose();
            made.Lost?.Dispose();
        },
        cancellationToken));

    /// <summary>Adds up what is visited; frees the sums where that fails.</summary>
    private Statistics Sum(Func<Place, Statistics> zero, Action<PerDevice<Statistics>> visit)
    {
        PerDevice<Statistics> sums = devices.Each(zero);
        try
        {
            visit(sums);
            return sums.Together(Statistics.Add);
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
    private void SetAside(LinearRole[] roles)
    {
        foreach (LayerWeights weights in layer.All) weights.Release(roles.Where(role => linears[(int)role] is not null));
    }

    private void BringBack(IEnumerable<LinearRole> roles)
    {
        foreach (LinearRole role in roles)
        {
            if (linears[(int)role] is { } linear) Replace(role, linear);
        }
    }

    private void Replace(LinearRole role, QuantizedLinear linear)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        layer.First.Replace(role, linear, devices.First.Device);
        // From there, and not worked out again on the host's cores.
        foreach (Place at in devices.All.Skip(1)) layer[at].Replace(role, layer.First[role].to(at.Device, copy: true), linear.ActivationRounding);
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
        QuantizeEach([.. roles.Except(factored)], (at, role) => Uncalibrated(at, role, matrix));
        if (factored.Length == 0) return;

        string name = shapes[(int)roles[0]].Name;
        using PerDevice<InverseFactor> factors = devices.Copies(InverseFactor.InPlace(matrix!, plan.Spec, name), (factor, device) => factor.To(device));
        if (factors.First.Damping > plan.Spec.Damping)
        {
            inform($"{name}: its Hessian is not positive definite with a damping of {plan.Spec.Damping}; with {factors.First.Damping} it is");
        }

        using PerDevice<ErrorCorrection>? corrections = sums!.Correction is { } correction ? devices.Copies(correction, (first, device) => first.To(device)) : null;
        foreach (LinearRole role in factored) Keep(role, WithFactor(role, factors, corrections));
    }

    /// <summary>Quantizes linears that need nothing of each other.</summary>
    private void QuantizeEach(LinearRole[] roles, Func<Place, LinearRole, QuantizedLinear> quantize)
    {
        LinearRole[] quantized = [.. roles.Where(role => plan[shapes[(int)role]] is not null)];
        devices.Divide(
            quantized,
            (at, own, token) =>
            {
                foreach (LinearRole role in own)
                {
                    token.ThrowIfCancellationRequested();
                    using DisposeScope scope = torch.NewDisposeScope();
                    linears[(int)role] = quantize(at, role);
                }
            },
            cancellationToken);
        foreach (LinearRole role in quantized) Replace(role, linears[(int)role]!);
    }

    /// <summary>Keeps what was made of a linear, which takes the float weight's place.</summary>
    private void Keep(LinearRole role, QuantizedLinear linear)
    {
        linears[(int)role] = linear;
        Replace(role, linear);
    }

    private QuantizedLinear Uncalibrated(Place at, LinearRole role, torch.Tensor? hessian)
    {
        LinearShape shape = shapes[(int)role];
        QuantizationSpec spec = plan[shape]!;
        return spec.Method == QuantizationMethod.Awq
            ? LinearQuantizer.RoundToNearest(layer[at][role], shape, spec, hessian)
            : LinearQuantizer.WithoutData(layer[at][role], shape, spec);
    }

    private AffineLinear WithFactor(LinearRole role, PerDevice<InverseFactor> factors, PerDevice<ErrorCorrection>? corrections)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        LinearShape shape = shapes[(int)role];
        QuantizationSpec spec = plan[shape]!;
        bool learns = spec.Method == QuantizationMethod.AutoRound;
        // What learned rounding begins with, on the host: as it is where one device has all rows.
        torch.Tensor?[] targets = new torch.Tensor?[devices.All.Count];
        torch.Tensor Target(Place at, RowRange rows)
        {
            torch.Tensor target = layer[at][role].narrow(0, rows.First, rows.Count);
            if (corrections is not null)
            {
                target = corrections[at].Target(target, rows.First, factors[at]);
                layer[at].Release(role);
            }

            if (learns) targets[at.Number] = target.cpu().alias().DetachFromDisposeScope();
            return target;
        }

        try
        {
            AffineLinear made = LinearQuantizer.WithFactor(shape.Outputs, learns ? AutoRound.Start(spec) : spec, devices, factors, Target, cancellationToken);
            torch.Tensor[] whole = [.. targets.OfType<torch.Tensor>()];
            if (learns) learned.Add(role, new RoundingParameters(whole.Length == 1 ? whole[0] : torch.cat(whole, 0), made));
            return made;
        }
        finally
        {
            foreach (torch.Tensor? target in targets) target?.Dispose();
        }
    }

    /// <summary>What a group of linears is quantized with.</summary>
    /// <param name="Hessian">Of their inputs.</param>
    /// <param name="Correction">What they make good, where they do.</param>
    private sealed record Statistics(Hessian Hessian, ErrorCorrection? Correction = null) : IDisposable
    {
        /// <summary>Adds what was added up of other tokens.</summary>
        public static void Add(Statistics sums, Statistics other)
        {
            sums.Hessian.Add(other.Hessian);
            if (other.Correction is not null) sums.Correction!.Add(other.Correction);
        }

        /// <inheritdoc/>
        public void Dispose()
        {
            Hessian.Dispose();
            Correction?.Dispose();
        }
    }
}
