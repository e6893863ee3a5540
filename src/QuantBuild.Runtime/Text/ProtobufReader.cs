using System.Buffers.Binary;

namespace QuantBuild.Text;

/// <summary>Reads the fields of a message of protocol buffers, one after the other. Every length is checked before it is used.</summary>
internal ref struct ProtobufReader(ReadOnlySpan<byte> message)
{
    private ReadOnlySpan<byte> rest = message;

    /// <summary>The number of the field.</summary>
    public int Field { get; private set; }

    /// <summary>Whether it is a message, a text or bytes.</summary>
    public bool IsBytes { get; private set; }

    /// <summary>The bytes of one that has them: those, or a number of fixed width.</summary>
    public ReadOnlySpan<byte> Bytes { get; private set; }

    /// <summary>The value of one that is a whole number, else 0.</summary>
    public ulong Number { get; private set; }

    /// <summary>Goes on to the next field.</summary>
    /// <returns>Whether there is one.</returns>
    /// <exception cref="FormatException">The message is cut short, or not one.</exception>
    public bool Next()
    {
        if (rest.IsEmpty) return false;
        ulong tag = ReadNumber();
        (Field, IsBytes, Number) = (unchecked((int)(tag >> 3)), (tag & 7) == 2, 0);
        Bytes = default;
        if (tag >> 3 is 0 or > int.MaxValue) throw new FormatException("a field has no number");
        switch (tag & 7)
        {
            case 0:
                Number = ReadNumber();
                break;
            case 1:
                Bytes = Take(8);
                break;
            case 2:
                Bytes = Take(ReadNumber());
                break;
            case 5:
                Bytes = Take(4);
                break;
            default:
                throw new FormatException($"a field is of the kind {tag & 7}");
        }

        return true;
    }

    private ReadOnlySpan<byte> Take(ulong length)
    {
        if (length > (ulong)rest.Length) throw new FormatException($"a field of {length} bytes begins where {rest.Length} are left");
        ReadOnlySpan<byte> taken = rest[..(int)length];
        rest = rest[(int)length..];
        return taken;
    }

    private ulong ReadNumber()
    {
        ulong value = 0;
        for (int shift = 0; shift < 64; shift += 7)
        {
            byte next = Take(1)[0];
            value |= (ulong)(next & 0x7F) << shift;
            if (next < 0x80) return value;
        }

        throw new FormatException("a number is longer than 64 bits");
    }
}
