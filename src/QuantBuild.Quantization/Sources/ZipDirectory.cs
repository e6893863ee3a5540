using System.Buffers.Binary;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace QuantBuild.Quantization;

/// <summary>
/// The entries of a zip file (zip64 too) that are stored as they are, with the place of their bytes: what torch writes. Every place and length is checked
/// against the file.
/// </summary>
internal static class ZipDirectory
{
    private const uint LocalHeader = 0x04034b50, CentralHeader = 0x02014b50, End = 0x06054b50, End64 = 0x06064b50, End64Locator = 0x07064b50;
    private const int EndBytes = 22, End64Bytes = 56, LocatorBytes = 20, CentralBytes = 46, LocalBytes = 30;
    private const int LongestComment = ushort.MaxValue;
    // A checkpoint has an entry for each tensor: this is hundreds of thousands.
    private const long LongestDirectory = 64 << 20;

    /// <summary>An entry of the file.</summary>
    /// <param name="Offset">Where its bytes begin.</param>
    /// <param name="Length">How many it has.</param>
    public readonly record struct Entry(long Offset, long Length);

    /// <summary>Whether a file begins as a zip file does.</summary>
    public static bool IsZip(ReadOnlySpan<byte> start) => start.Length >= 4 && BinaryPrimitives.ReadUInt32LittleEndian(start) == LocalHeader;

    /// <summary>Reads the directory.</summary>
    /// <param name="file">The file.</param>
    /// <returns>The entries by name; folders are left out.</returns>
    /// <exception cref="InvalidDataException">It is not a valid zip file of stored entries.</exception>
    public static Dictionary<string, Entry> Read(SafeFileHandle file)
    {
        long length = RandomAccess.GetLength(file);
        (long start, long bytes, long count) = FindDirectory(file, length);
        if (bytes > LongestDirectory) throw new InvalidDataException($"its directory claims {bytes} bytes, expected at most {LongestDirectory}");
        byte[] directory = FileBytes.Read(file, length, start, (int)bytes);
        if (count > bytes / CentralBytes) throw new InvalidDataException($"its directory claims {count} entries, which do not fit into {bytes} bytes");
        Dictionary<string, Entry> entries = new(StringComparer.Ordinal);
        int position = 0;
        for (long i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> rest = directory.AsSpan(position);
            if (rest.Length < CentralBytes || U32(rest) != CentralHeader) throw new InvalidDataException("its directory is damaged");
            int nameBytes = U16(rest[28..]), extraBytes = U16(rest[30..]), all = CentralBytes + nameBytes + extraBytes + U16(rest[32..]);
            if (all > rest.Length) throw new InvalidDataException("its directory ends inside of an entry");
            string name = Encoding.UTF8.GetString(rest.Slice(CentralBytes, nameBytes));
            (long size, long packed, long header) = Sizes(rest, rest.Slice(CentralBytes + nameBytes, extraBytes));
            position += all;
            if (name.EndsWith('/')) continue;
            if (U16(rest[8..]) % 2 != 0) throw new InvalidDataException($"the entry {name} is encrypted");
            if (U16(rest[10..]) != 0 || size != packed) throw new InvalidDataException($"the entry {name} is compressed, and torch stores entries as they are");
            if (!entries.TryAdd(name, Locate(file, length, header, size, name))) throw new InvalidDataException($"the entry {name} is there twice");
        }

        return entries;
    }

    private static (long Start, long Bytes, long Count) FindDirectory(SafeFileHandle file, long length)
    {
        int tailBytes = (int)Math.Min(length, EndBytes + LongestComment);
        byte[] tail = FileBytes.Read(file, length, length - tailBytes, tailBytes);
        int end = tailBytes - EndBytes;
        while (end >= 0 && U32(tail.AsSpan(end)) != End) end--;
        if (end < 0) throw new InvalidDataException("it has no directory at its end (it may be truncated)");
        ReadOnlySpan<byte> record = tail.AsSpan(end);
        (long count, long bytes, long start) = (U16(record[10..]), U32(record[12..]), U32(record[16..]));
        long locator = length - tailBytes + end - LocatorBytes;
        if (locator >= 0)
        {
            byte[] found = FileBytes.Read(file, length, locator, LocatorBytes);
            if (U32(found) == End64Locator)
            {
                byte[] end64 = FileBytes.Read(file, length, I64(found.AsSpan(8)), End64Bytes);
                if (U32(end64) != End64) throw new InvalidDataException("its zip64 directory is not where it is said to be");
                (count, bytes, start) = (I64(end64.AsSpan(32)), I64(end64.AsSpan(40)), I64(end64.AsSpan(48)));
            }
        }

        if (count < 0 || bytes < 0 || start < 0 || start > length - bytes) throw new InvalidDataException($"its directory of {bytes} bytes at {start} is not within its {length} bytes");
        return (start, bytes, count);
    }

    /// <summary>Sizes and place of an entry; those that do not fit into 32 bits are in the extra field 1, in this order.</summary>
    private static (long Size, long Packed, long Header) Sizes(ReadOnlySpan<byte> entry, ReadOnlySpan<byte> extra)
    {
        long packed = U32(entry[20..]), size = U32(entry[24..]), header = U32(entry[42..]);
        while (extra.Length >= 4)
        {
            int id = U16(extra), bytes = U16(extra[2..]);
            if (bytes > extra.Length - 4) throw new InvalidDataException("its directory has an extra field that ends outside");
            ReadOnlySpan<byte> field = extra.Slice(4, bytes);
            extra = extra[(4 + bytes)..];
            if (id != 1) continue;
            size = Wide(size, ref field);
            packed = Wide(packed, ref field);
            header = Wide(header, ref field);
        }

        return (size, packed, header);

        static long Wide(long value, ref ReadOnlySpan<byte> field)
        {
            if (value != uint.MaxValue || field.Length < 8) return value;
            long wide = I64(field);
            field = field[8..];
            return wide;
        }
    }

    private static Entry Locate(SafeFileHandle file, long length, long header, long size, string name)
    {
        byte[] local = FileBytes.Read(file, length, header, LocalBytes);
        if (U32(local) != LocalHeader) throw new InvalidDataException($"the entry {name} is not where the directory says");
        long offset = header + LocalBytes + U16(local.AsSpan(26)) + U16(local.AsSpan(28));
        if (size < 0 || offset > length - size) throw new InvalidDataException($"the entry {name} of {size} bytes at {offset} is not within the file's {length} bytes (it may be truncated)");
        return new Entry(offset, size);
    }

    private static int U16(ReadOnlySpan<byte> bytes) => BinaryPrimitives.ReadUInt16LittleEndian(bytes);

    private static uint U32(ReadOnlySpan<byte> bytes) => BinaryPrimitives.ReadUInt32LittleEndian(bytes);

    private static long I64(ReadOnlySpan<byte> bytes) => BinaryPrimitives.ReadInt64LittleEndian(bytes);
}
