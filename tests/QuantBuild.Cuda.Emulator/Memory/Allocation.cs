using System.Runtime.InteropServices;

namespace QuantBuild.Cuda.Emulator;

/// <summary>A piece of device memory, or of host memory that a device may reach.</summary>
internal sealed unsafe class Allocation
{
    public required ulong Start { get; init; }

    /// <summary>0 once it was freed, so that no access falls into it.</summary>
    public ulong Size { get; private set; }

    public required ulong FullSize { get; init; }

    public required byte* Host { get; init; }

    /// <summary>The device; negative for host memory.</summary>
    public required int Device { get; init; }

    /// <summary>A nonzero byte for each byte that was ever written; null where nobody asked.</summary>
    public byte[]? Written { get; init; }

    /// <summary>Whether a kernel ever wrote to it.</summary>
    public bool IsComputed { get; set; }

    public bool IsLive => Size > 0;

    public bool Contains(ulong first, ulong end) => first >= Start && end <= Start + Size && end >= first;

    public void Open() => Size = FullSize;

    public void Close()
    {
        Size = 0;
        if (Device >= 0) NativeMemory.AlignedFree(Host);
    }
}
