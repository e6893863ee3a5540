using System.Runtime.ExceptionServices;
using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>One of the devices that a run computes on.</summary>
/// <param name="Number">Its place in the list, from 0.</param>
/// <param name="Device">As torch names it.</param>
/// <param name="Memory">What it has memory for.</param>
internal sealed record Place(int Number, torch.Device Device, DeviceMemory Memory);

/// <summary>
/// The devices that a run computes on: one, or several that share the work. Each has the weights of the layer. Batches of a text go to them in turn; what is summed over a text is summed where it is made, and brought together on the
/// first; the rows of a weight, which do not depend on each other once there is a factor of their Hessian, are divided.
/// </summary>
/// <remarks>
/// What goes where depends on numbers alone, and not on which device is done first: the same devices give the same bits again. Each is driven by a thread of its own; with one, everything happens on the thread that asks.
/// </remarks>
internal sealed class Devices
{
    private readonly Place[] places;

    /// <summary>Takes devices.</summary>
    /// <param name="devices">One or more.</param>
    /// <param name="inform">Hears where memory runs out.</param>
    public Devices(IReadOnlyList<torch.Device> devices, Action<FormattableString> inform) =>
        places = [.. devices.Select((device, i) => new Place(i, device, new DeviceMemory(inform, devices.Count == 1 ? "the device" : device.ToString())))];

    /// <summary>A device alone.</summary>
    public Devices(torch.Device device, DeviceMemory? memory = null) => places = [new Place(0, device, memory ?? new DeviceMemory(_ => { }))];

    /// <summary>Where sums are brought together, and what is not divided is computed.</summary>
    public Place First => places[0];

    /// <summary>All of them.</summary>
    public IReadOnlyList<Place> All => places;

    /// <summary>Something for each device.</summary>
    public PerDevice<T> Each<T>(Func<Place, T> make)
    {
        List<T> made = [];
        try
        {
            foreach (Place place in places) made.Add(make(place));
            return new PerDevice<T>([.. made]);
        }
        catch
        {
            new PerDevice<T>([.. made]).Dispose();
            throw;
        }
    }

    /// <summary>Something for each device, of which the first has it already.</summary>
    /// <param name="first">The first's; disposed where the others' cannot be made.</param>
    /// <param name="copy">Makes another's.</param>
    public PerDevice<T> Copies<T>(T first, Func<T, torch.Device, T> copy) => Each(place => place.Number == 0 ? first : copy(first, place.Device));

    /// <summary>Runs steps that do not depend on each other, on each device as many side by side as <see cref="OrderedSteps"/> has there.</summary>
    /// <param name="count">How many.</param>
    /// <param name="step">One of them, by its number; what it makes in torch is freed after it.</param>
    /// <param name="cancellationToken">Looked at between steps.</param>
    public void Run(int count, Action<Place, int> step, CancellationToken cancellationToken) => OnEach(
        count, (place, share, token) => OrderedSteps.Run(place.Device, share, i => step(place, Step(place, i)), token), cancellationToken);

    /// <summary>Runs steps that do not depend on each other, and takes the results of each device in order, on the thread of that device.</summary>
    /// <param name="count">How many.</param>
    /// <param name="step">One of them, by its number; a tensor that it returns is to be detached from its dispose scope.</param>
    /// <param name="take">Receives the results: those of different devices at the same time.</param>
    /// <param name="cancellationToken">Looked at between steps.</param>
    public void Run<T>(int count, Func<Place, int, T> step, Action<Place, T> take, CancellationToken cancellationToken) => OnEach(
        count, (place, share, token) => OrderedSteps.Run(place.Device, share, i => step(place, Step(place, i)), (_, made) => take(place, made), token), cancellationToken);

    /// <summary>Divides what is worked on one after the other on a device, since each divides itself among the host's processors.</summary>
    /// <param name="items">What there is.</param>
    /// <param name="work">Does the share of a device; not called where that is nothing.</param>
    /// <param name="cancellationToken">Of the caller; work is given one that also ends where another device fails.</param>
    public void Divide<T>(IReadOnlyList<T> items, Action<Place, T[], CancellationToken> work, CancellationToken cancellationToken) => OnEach(
        items.Count, (place, share, token) => work(place, [.. Enumerable.Range(0, share).Select(i => items[Step(place, i)])], token), cancellationToken);

    /// <summary>Divides the rows of a weight: runs of about as many, in whole tiles, one for each device in their order; fewer runs where there are fewer tiles.</summary>
    /// <param name="rows">How many there are.</param>
    public RowRange[] Rows(int rows)
    {
        int End(int place) => (int)Math.Min(rows, (long)AffineGrid.Tiles(rows) * place / places.Length * AffineGrid.Lanes);
        return [.. places.Select(place => new RowRange(End(place.Number), End(place.Number + 1) - End(place.Number))).Where(range => range.Count > 0)];
    }

    private int Step(Place place, int ofPlace) => (ofPlace * places.Length) + place.Number;

    /// <summary>Does something on each device that has a share of some steps.</summary>
    private void OnEach(int count, Action<Place, int, CancellationToken> work, CancellationToken cancellationToken)
    {
        if (places.Length == 1)
        {
            if (count > 0) work(places[0], count, cancellationToken);
            return;
        }

        using CancellationTokenSource ending = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task[] running =
        [
            .. places.Where(place => place.Number < count).Select(place => Task.Factory.StartNew(
                () => OnThread(place, (count - place.Number + places.Length - 1) / places.Length), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)),
        ];
        try
        {
            Task.WaitAll(running, CancellationToken.None);
        }
        catch (AggregateException e)
        {
            cancellationToken.ThrowIfCancellationRequested();
            // Those that ended because another failed have nothing to say.
            ExceptionDispatchInfo.Throw(e.InnerExceptions.FirstOrDefault(inner => inner is QuantBuildException) ?? e.InnerExceptions.First(inner => inner is not OperationCanceledException));
        }

        void OnThread(Place place, int share)
        {
            // Torch knows these for each thread.
            using IDisposable noGradient = torch.no_grad();
            using DisposeScope scope = torch.NewDisposeScope();
            try
            {
                work(place, share, ending.Token);
            }
            catch
            {
                ending.Cancel();
                throw;
            }
        }
    }
}

/// <summary>Rows of a weight that follow each other.</summary>
/// <param name="First">The first.</param>
/// <param name="Count">How many.</param>
internal readonly record struct RowRange(int First, int Count);

/// <summary>What each device of a run has of something.</summary>
/// <param name="values">In the order of the devices.</param>
internal sealed class PerDevice<T>(T[] values) : IDisposable
{
    /// <summary>What a device has.</summary>
    public T this[Place place] => values[place.Number];

    /// <summary>What the first has.</summary>
    public T First => values[0];

    /// <summary>What all have.</summary>
    public IReadOnlyList<T> All => values;

    /// <summary>Brings everything together in what the first has, and frees the others'.</summary>
    /// <param name="add">Adds another's to it.</param>
    public T Together(Action<T, T> add)
    {
        foreach (T other in values.Skip(1))
        {
            add(First, other);
            (other as IDisposable)?.Dispose();
        }

        return First;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (T value in values) (value as IDisposable)?.Dispose();
    }
}
