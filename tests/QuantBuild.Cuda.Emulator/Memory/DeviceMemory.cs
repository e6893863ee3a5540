using System.Runtime.InteropServices;

namespace QuantBuild.Cuda.Emulator;

/// <summary>
/// The address space that all devices of a machine share. Device addresses are above all host addresses; between two allocations lies a gap of at least a page, and an allocation starts at an odd
/// multiple of 256 bytes, so that code that counts on more than the driver promises is found out.
/// </summary>
internal sealed unsafe class DeviceMemory(bool trackWrites) : IDisposable
{
    private const ulong Base = 0x8000_0000_0000;
    private const int PageBits = 16;

    private readonly Lock _lock = new();
    private readonly List<Allocation> _pinned = [];
    private Allocation?[] _pages = new Allocation?[1024];
    private int _nextPage = 1;

    public List<Allocation> Live { get; } = [];

    public Allocation Allocate(int device, ulong bytes)
    {
        lock (_lock)
        {
            const ulong lead = 256;
            int first = _nextPage, pages = (int)((lead + bytes + (1ul << PageBits) - 1) >> PageBits);
            _nextPage += pages + 1;
            if (_nextPage > _pages.Length) Array.Resize(ref _pages, Math.Max(_nextPage, _pages.Length * 2));
            byte* host = (byte*)NativeMemory.AlignedAlloc((nuint)bytes, 256);
            // Not a number in every float type: memory that nobody wrote shows.
            NativeMemory.Fill(host, (nuint)bytes, 0xFF);
            Allocation allocation = new() { Start = Base + ((ulong)first << PageBits) + lead, FullSize = bytes, Host = host, Device = device, Written = trackWrites ? new byte[bytes] : null };
            allocation.Open();
            Array.Fill(_pages, allocation, first, pages);
            Live.Add(allocation);
            return allocation;
        }
    }

    /// <summary>Makes host memory reachable under its own address.</summary>
    public void Pin(nint host, ulong bytes)
    {
        lock (_lock)
        {
            Allocation allocation = new() { Start = (ulong)host, FullSize = bytes, Host = (byte*)host, Device = -1 };
            allocation.Open();
            _pinned.Add(allocation);
        }
    }

    public bool Unpin(nint host)
    {
        lock (_lock)
        {
            int index = _pinned.FindIndex(a => a.Start == (ulong)host);
            if (index < 0) return false;
            _pinned[index].Close();
            _pinned.RemoveAt(index);
            return true;
        }
    }

    public bool Free(ulong address, out Allocation? freed)
    {
        lock (_lock)
        {
            freed = Live.Find(a => a.Start == address);
            if (freed is null) return false;
            Live.Remove(freed);
            freed.Close();
            return true;
        }
    }

    public void FreeAll(int device)
    {
        lock (_lock)
        {
            foreach (Allocation allocation in Live.Where(a => a.Device == device)) allocation.Close();
            Live.RemoveAll(a => a.Device == device);
        }
    }

    /// <summary>The allocation around an address, live or freed; null where there never was one.</summary>
    public Allocation? Find(ulong address)
    {
        if (address >= Base)
        {
            ulong page = (address - Base) >> PageBits;
            Allocation?[] pages = Volatile.Read(ref _pages);
            return page < (ulong)pages.Length ? pages[page] : null;
        }
        lock (_lock) return _pinned.Find(a => a.Contains(address, address + 1));
    }

    /// <summary>The host's view of a range for a copy; null where it is not within one live allocation.</summary>
    public byte* Translate(ulong address, ulong bytes, out Allocation? allocation)
    {
        allocation = Find(address);
        return allocation is not null && allocation.Contains(address, address + bytes) ? allocation.Host + (address - allocation.Start) : null;
    }

    public void Dispose()
    {
        foreach (Allocation allocation in Live) allocation.Close();
        Live.Clear();
    }
}
