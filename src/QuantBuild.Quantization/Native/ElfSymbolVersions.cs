using System.Buffers.Binary;
using System.Text;

namespace QuantBuild.Quantization;

/// <summary>
/// The versions of symbols that an ELF library asks of others (<c>.gnu.version_r</c>). A required version that the loader does not find keeps
/// the library from loading, whether or not a symbol of that version is used; one marked weak does not.
/// </summary>
internal static class ElfSymbolVersions
{
    private const uint SectionVersionNeeds = 0x6ffffffe; // SHT_GNU_verneed
    private const ushort WeakFlag = 0x2; // VER_FLG_WEAK

    /// <summary>Marks one required version as weak.</summary>
    /// <param name="library">The bytes of a 64-bit little-endian ELF file; changed in place, in the flag alone.</param>
    /// <param name="version">The version's name, such as <c>GLIBCXX_3.4.32</c>.</param>
    /// <returns>Whether the library asks for that version.</returns>
    /// <exception cref="BadImageFormatException">The bytes are no such file.</exception>
    public static bool MarkWeak(Span<byte> library, string version)
    {
        if (library.Length < 64 || !library[..4].SequenceEqual("\u007fELF"u8)) throw new BadImageFormatException("Not an ELF file.");
        if (library[4] != 2 || library[5] != 1) throw new BadImageFormatException("Not a 64-bit little-endian ELF file.");

        ulong sections = U64(library, 0x28);
        int sectionSize = U16(library, 0x3A);
        int sectionCount = U16(library, 0x3C);
        bool found = false;
        for (int i = 0; i < sectionCount; i++)
        {
            ReadOnlySpan<byte> section = Part(library, sections + (ulong)(i * sectionSize), 64);
            if (U32(section, 4) != SectionVersionNeeds) continue;
            ReadOnlySpan<byte> names = Part(library, sections + (U32(section, 0x28) * (ulong)sectionSize), 64);
            found |= MarkWeak(library, U64(section, 0x18), Part(library, U64(names, 0x18), U64(names, 0x20)), version);
        }

        return found;
    }

    private static bool MarkWeak(Span<byte> library, ulong need, ReadOnlySpan<byte> names, string version)
    {
        byte[] wanted = [.. Encoding.ASCII.GetBytes(version), 0];
        bool found = false;
        while (true)
        {
            // Elf64_Verneed: version u16, count u16, file u32, first u32 (from here), next u32 (from here; 0 ends).
            ReadOnlySpan<byte> library16 = Part(library, need, 16);
            int count = U16(library16, 2);
            ulong entry = need + U32(library16, 8);
            uint next = U32(library16, 12);
            for (int i = 0; i < count; i++)
            {
                // Elf64_Vernaux: hash u32, flags u16, other u16, name u32, next u32.
                Span<byte> versionEntry = Part(library, entry, 16);
                uint name = U32(versionEntry, 8);
                if (name < names.Length && names[(int)name..].StartsWith(wanted))
                {
                    BinaryPrimitives.WriteUInt16LittleEndian(versionEntry[4..], (ushort)(U16(versionEntry, 4) | WeakFlag));
                    found = true;
                }

                entry += U32(versionEntry, 12);
            }

            if (next == 0) return found;
            need += next;
        }
    }

    private static Span<byte> Part(Span<byte> bytes, ulong offset, ulong length)
    {
        if (offset > (ulong)bytes.Length || length > (ulong)bytes.Length - offset) throw new BadImageFormatException("The ELF file is truncated.");
        return bytes.Slice((int)offset, (int)length);
    }

    private static ushort U16(ReadOnlySpan<byte> bytes, int offset) => BinaryPrimitives.ReadUInt16LittleEndian(bytes[offset..]);

    private static uint U32(ReadOnlySpan<byte> bytes, int offset) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[offset..]);

    private static ulong U64(ReadOnlySpan<byte> bytes, int offset) => BinaryPrimitives.ReadUInt64LittleEndian(bytes[offset..]);
}
