using System.Runtime.InteropServices;
using QuantBuild.Cuda.Driver;
using QuantBuild.Decoding;

namespace QuantBuild.Cuda.Decoding;

/// <summary>The largest logits of some rows, listed on a device with what is done to the logits first: a few kilobytes for a token come over the bus, in place of all logits.</summary>
internal sealed unsafe class DeviceLists
{
    private const string Module = "sampling";
    private const string Kernel = "list_largest";
    private const int Threads = 1024;

    // Of a row besides its mask, on an average.
    private const int RowWords = 1 << 14;

    // The count, the bound and the rest, and the entries.
    private static readonly int ListBytes = (3 * sizeof(int)) + (LargestLogits.Capacity * sizeof(LogitEntry));

    private static readonly long HeadBytes = DeviceArena.Rounded(DeviceActivations.LogitRows * sizeof(ChangeParameters));

    private readonly CudaDevice device;
    private readonly KernelLibrary kernels;
    private readonly int vocabulary;
    private readonly IntPtr changes;
    private readonly byte* changesStaged;
    private readonly IntPtr lists;
    private readonly byte* listsStaged;
    private int words;

    public DeviceLists(CudaDevice device, KernelLibrary kernels, int vocabulary)
    {
        (this.device, this.kernels, this.vocabulary) = (device, kernels, vocabulary);
        changes = device.Allocate(HeadBytes + (Words(vocabulary) * sizeof(uint)));
        changesStaged = (byte*)device.AllocateHost(HeadBytes + (Words(vocabulary) * sizeof(uint)));
        lists = device.Allocate(DeviceActivations.LogitRows * ListBytes);
        listsStaged = (byte*)device.AllocateHost(DeviceActivations.LogitRows * ListBytes);
        // What may fail comes before the first token is chosen.
        kernels.Find(Module, Kernel);
    }

    /// <summary>How many rows there are.</summary>
    public int Count { get; private set; }

    /// <summary>Bytes of the device that they take.</summary>
    public static long BytesFor(int vocabulary) => HeadBytes + (Words(vocabulary) * sizeof(uint)) + (DeviceActivations.LogitRows * ListBytes);

    /// <summary>Begins anew. What was queued is done.</summary>
    public void Clear() => (Count, words) = (0, 0);

    /// <summary>Adds a row, if there is room for its changes.</summary>
    /// <param name="row">Which of the logits.</param>
    /// <param name="of">What is done to them.</param>
    /// <returns>Whether there is.</returns>
    public bool TryAdd(int row, LogitChanges of)
    {
        int masked = of.Mask is null ? 0 : MaskWords(vocabulary);
        long needed = masked + of.Repeated.Count + (2L * (of.Bias.Length + of.Lowered.Count));
        if (words + needed > Words(vocabulary)) return false;
        ((ChangeParameters*)changesStaged)[Count++] = new ChangeParameters
        {
            Repetition = of.RepetitionPenalty,
            Scale = (float)(Math.Log2(Math.E) / (of.Temperature == 0 ? 1 : of.Temperature)),
            Row = row,
            First = words,
            Masked = masked,
            Biased = of.Bias.Length,
            Repeated = of.Repeated.Count,
            Lowered = of.Lowered.Count,
        };
        Span<uint> target = new((uint*)(changesStaged + HeadBytes) + words, (int)needed);
        of.Mask?.CopyTo(target[..masked]);
        MemoryMarshal.Cast<KeyValuePair<int, float>, uint>(of.Bias).CopyTo(target[masked..]);
        MemoryMarshal.Cast<int, uint>(CollectionsMarshal.AsSpan(of.Repeated)).CopyTo(target[(masked + (2 * of.Bias.Length))..]);
        MemoryMarshal.Cast<KeyValuePair<int, float>, uint>(CollectionsMarshal.AsSpan(of.Lowered)).CopyTo(target[^(2 * of.Lowered.Count)..]);
        words += (int)needed;
        return true;
    }

    /// <summary>Queues the changes and the lists.</summary>
    /// <param name="logits">[rows, vocabulary].</param>
    public void Queue(IntPtr logits)
    {
        if (Count == 0) return;
        device.CopyTo(changes, changesStaged, HeadBytes + ((long)words * sizeof(uint)));
        IntPtr heads = changes, of = changes + (nint)HeadBytes, target = lists;
        int width = vocabulary;
        void** parameters = stackalloc void*[] { &logits, &heads, &of, &target, &width };
        kernels.Launch(Module, Kernel, (Count, 1, 1), Threads, parameters);
        device.CopyFrom(listsStaged, lists, (long)Count * ListBytes);
    }

    /// <summary>What was listed of a row, once that is done.</summary>
    /// <param name="index">The row, in the order in which they were added.</param>
    /// <param name="largest">Its largest logits.</param>
    /// <returns>Whether the list is whole.</returns>
    public bool TryRead(int index, out LargestLogits largest)
    {
        byte* list = listsStaged + ((long)index * ListBytes);
        int count = *(int*)list;
        largest = new LargestLogits(new ReadOnlySpan<LogitEntry>(list + (3 * sizeof(int)), Math.Min(count, LargestLogits.Capacity)), ((float*)list)[1], ((float*)list)[2]);
        return count <= LargestLogits.Capacity;
    }

    private static int MaskWords(int vocabulary) => (vocabulary + 31) / 32;

    private static long Words(int vocabulary) => (long)DeviceActivations.LogitRows * (MaskWords(vocabulary) + RowWords);
}
