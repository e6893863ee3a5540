using QuantBuild.Decoding;

namespace QuantBuild.Runtime.Tests.Decoding;

public class KvPagesTests
{
    [Fact]
    public void A_page_that_finds_no_memory_on_the_machine_leaves_none_on_the_device()
    {
        Memory device = new();
        // The second layer of a page is larger than any address space.
        using KvPages pages = new(layers: 1 << 20, kvHeads: 1 << 10, headDim: 1 << 20, KvPrecision.Float16, device, deviceLayers: 1);
        Assert.Throws<OutOfMemoryException>(pages.Take);
        Assert.Equal(0, device.Pages);
        Assert.Equal(0, pages.InUse);
    }

    [Fact]
    public void A_page_that_finds_no_memory_on_the_device_is_not_in_use()
    {
        Memory device = new() { Fails = true };
        using KvPages pages = Small(device);
        Assert.Throws<InvalidOperationException>(pages.Take);
        Assert.Equal(0, pages.InUse);
    }

    [Fact]
    public void A_page_that_cannot_be_copied_is_given_back()
    {
        Memory device = new();
        using KvPages pages = Small(device);
        KvPage page = pages.Take();
        device.FailsToCopy = true;
        Assert.Throws<InvalidOperationException>(() => pages.Copy(page));
        Assert.Equal(1, pages.InUse);
    }

    [Fact]
    public void A_page_that_cannot_be_cleared_is_given_back_in_the_end()
    {
        Memory device = new();
        using (KvPages pages = Small(device))
        {
            pages.Release(pages.Take());
            device.Fails = true;
            Assert.Throws<InvalidOperationException>(pages.Take);
            Assert.Equal(0, pages.InUse);
        }

        Assert.Equal(0, device.Pages);
    }

    private static KvPages Small(Memory device) => new(layers: 2, kvHeads: 1, headDim: 8, KvPrecision.Float16, device, deviceLayers: 1);

    /// <summary>A device that counts pages, and fails where it is told to.</summary>
    private sealed class Memory : IPageMemory
    {
        public int Pages { get; private set; }

        public bool Fails { get; set; }

        public bool FailsToCopy { get; set; }

        public IntPtr Allocate(long bytes)
        {
            Fail();
            return ++Pages;
        }

        public void Free(IntPtr memory) => Pages--;

        public void Clear(IntPtr memory, long bytes) => Fail();

        public void Copy(IntPtr from, IntPtr to, long bytes)
        {
            if (FailsToCopy) throw new InvalidOperationException("The device failed.");
        }

        public void Read(IntPtr memory, Span<byte> target) => Fail();

        public void Write(ReadOnlySpan<byte> source, IntPtr memory) => Fail();

        private void Fail()
        {
            if (Fails) throw new InvalidOperationException("The device failed.");
        }
    }
}
