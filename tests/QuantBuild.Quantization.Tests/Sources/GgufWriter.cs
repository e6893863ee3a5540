using System.Text;

namespace QuantBuild.Quantization.Tests;

/// <summary>Writes GGUF files (version 3) as the format's description has them.</summary>
/// <param name="key">Metadata that is not as it is added afterwards.</param>
/// <param name="value">What it is.</param>
internal sealed class GgufWriter(string? key = null, object? value = null)
{
    private readonly List<(string Key, object Value)> metadata = [];
    private readonly List<(string Name, GgufType Type, long[] Shape, byte[] Bytes)> tensors = [];

    public GgufWriter Add(string name, object standard)
    {
        metadata.Add((name, name == key ? value! : standard));
        return this;
    }

    /// <summary>Adds a tensor; sizes with the slowest first.</summary>
    public GgufWriter Add(string name, GgufType type, long[] shape, byte[] bytes)
    {
        tensors.Add((name, type, shape, bytes));
        return this;
    }

    public void Write(string path, uint version = 3)
    {
        using BinaryWriter writer = new(File.Create(path));
        writer.Write("GGUF"u8);
        writer.Write(version);
        writer.Write((ulong)tensors.Count);
        writer.Write((ulong)metadata.Count);
        foreach ((string name, object given) in metadata)
        {
            Text(writer, name);
            Value(writer, given);
        }

        long offset = 0;
        foreach ((string name, GgufType type, long[] shape, byte[] bytes) in tensors)
        {
            Text(writer, name);
            writer.Write(shape.Length);
            foreach (long size in shape.Reverse()) writer.Write(size);
            writer.Write((int)type);
            writer.Write(offset);
            offset += Aligned(bytes.Length);
        }

        writer.Write(new byte[Aligned(writer.BaseStream.Position) - writer.BaseStream.Position]);
        foreach ((_, _, _, byte[] bytes) in tensors)
        {
            writer.Write(bytes);
            writer.Write(new byte[Aligned(bytes.Length) - bytes.Length]);
        }
    }

    private static long Aligned(long position) => (position + 31) / 32 * 32;

    private static void Text(BinaryWriter writer, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        writer.Write((ulong)bytes.Length);
        writer.Write(bytes);
    }

    private static void Value(BinaryWriter writer, object given)
    {
        switch (given)
        {
            case string text:
                writer.Write(8);
                Text(writer, text);
                break;
            case ushort number:
                writer.Write(2);
                writer.Write(number);
                break;
            case uint number:
                writer.Write(4);
                writer.Write(number);
                break;
            case float number:
                writer.Write(6);
                writer.Write(number);
                break;
            case bool flag:
                writer.Write(7);
                writer.Write(flag);
                break;
            case string[] texts:
                writer.Write(9);
                writer.Write(8);
                writer.Write((ulong)texts.Length);
                foreach (string text in texts) Text(writer, text);
                break;
            case float[] numbers:
                writer.Write(9);
                writer.Write(6);
                writer.Write((ulong)numbers.Length);
                foreach (float number in numbers) writer.Write(number);
                break;
            case int[] numbers:
                writer.Write(9);
                writer.Write(5);
                writer.Write((ulong)numbers.Length);
                foreach (int number in numbers) writer.Write(number);
                break;
            default:
                throw new ArgumentException(given.GetType().Name, nameof(given));
        }
    }
}
