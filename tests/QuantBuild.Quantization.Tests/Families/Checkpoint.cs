using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace QuantBuild.Quantization.Tests.Families;

/// <summary>
/// The random weights of a small model, under the names and shapes that its family's published checkpoints have: a tensor is made when a reference first reads it, from its name
/// alone, so that the same model comes out each time.
/// </summary>
internal sealed class Checkpoint
{
    private readonly Dictionary<string, (float[] Values, long[] Shape)> tensors;
    private readonly Dictionary<string, (byte[] Values, long[] Shape)> codes = new(StringComparer.Ordinal);
    private readonly Func<string, string> naming;

    public Checkpoint()
        : this(new(StringComparer.Ordinal), name => name)
    {
    }

    private Checkpoint(Dictionary<string, (float[] Values, long[] Shape)> tensors, Func<string, string> naming) => (this.tensors, this.naming) = (tensors, naming);

    /// <summary>The same, with the names that a part of a larger model has: under a prefix, in place of another where there is that.</summary>
    public Checkpoint Within(string prefix, string instead = "") =>
        new(tensors, name => name.StartsWith(instead, StringComparison.Ordinal) ? prefix + name[instead.Length..] : name);

    /// <summary>A weight [rows, columns], of numbers such that products stay of the size of their inputs.</summary>
    public float[] Matrix(string name, int rows, int columns, double gain = 1.6) => Make(name, [rows, columns], 0, gain / Math.Sqrt(columns));

    /// <summary>A table that is looked up in.</summary>
    public float[] Table(string name, int rows, int columns) => Make(name, [rows, columns], 0, 1);

    /// <summary>A vector of numbers near <paramref name="center"/>.</summary>
    public float[] Vector(string name, int width, double center) => Make(name, [width], center, 0.3);

    /// <summary>Matrices [rows, columns] of several experts, in one tensor as [experts, rows, columns].</summary>
    public float[][] Stacked(string name, int experts, int rows, int columns) => [.. Make(name, [experts, rows, columns], 0, 1.6 / Math.Sqrt(columns)).Chunk(rows * columns)];

    /// <summary>Matrices [rows, columns] of several experts, in one tensor as [experts, columns, rows].</summary>
    public float[][] Transposed(string name, int experts, int rows, int columns)
    {
        float[] all = Make(name, [experts, columns, rows], 0, 1.6 / Math.Sqrt(columns));
        return [.. Enumerable.Range(0, experts).Select(e => Enumerable.Range(0, rows * columns).Select(i => all[(((e * columns) + (i % columns)) * rows) + (i / columns)]).ToArray())];
    }

    /// <summary>Matrices [rows, columns] of several experts, in two tensors as MXFP4 has them: random codes, with powers of two such that products stay of the size of their inputs.</summary>
    public float[][] Mxfp4(string name, int experts, int rows, int columns)
    {
        long blocks = (long)experts * rows * columns / 32;
        byte[] codes = Bytes(name + "_blocks", [experts, rows, columns / 32, 16], byte.MaxValue + 1, 0), scales = Bytes(name + "_scales", [experts, rows, columns / 32], 3, 122);
        Assert.Equal(blocks, scales.Length);
        double[] values = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
        float[] Row(int row) => [.. Enumerable.Range(row * columns, columns).Select(i =>
        {
            int code = i % 2 == 0 ? codes[i / 2] & 15 : codes[i / 2] >> 4;
            return (float)((code < 8 ? values[code] : -values[code - 8]) * Math.Pow(2, scales[i / 32] - 127));
        })];
        return [.. Enumerable.Range(0, experts).Select(e => Enumerable.Range(e * rows, rows).SelectMany(Row).ToArray())];
    }

    /// <summary>Writes everything that was read.</summary>
    public void Write(string path) => SafetensorsWriter.Write(
        path,
        new Dictionary<string, string> { ["format"] = "pt" },
        [
            .. tensors.Select(tensor => TensorSource.FromBytes(tensor.Key, ElementType.F32, tensor.Value.Shape, MemoryMarshal.AsBytes<float>(tensor.Value.Values).ToArray())),
            .. codes.Select(tensor => TensorSource.FromBytes(tensor.Key, ElementType.U8, tensor.Value.Shape, tensor.Value.Values)),
        ]);

    private byte[] Bytes(string own, long[] shape, int count, int least)
    {
        string name = naming(own);
        if (codes.TryGetValue(name, out (byte[] Values, long[] Shape) known)) return known.Values;
        Random random = Seeded(name);
        byte[] values = [.. Enumerable.Range(0, (int)shape.Aggregate((a, b) => a * b)).Select(_ => (byte)(least + random.Next(count)))];
        codes.Add(name, (values, shape));
        return values;
    }

    private static Random Seeded(string name) => new(BitConverter.ToInt32(SHA256.HashData(Encoding.UTF8.GetBytes(name))));

    private float[] Make(string own, long[] shape, double center, double deviation)
    {
        string name = naming(own);
        if (tensors.TryGetValue(name, out (float[] Values, long[] Shape) known))
        {
            Assert.Equal(shape, known.Shape);
            return known.Values;
        }

        Random random = Seeded(name);
        float[] values = [.. RandomData.Normal(random, (int)shape.Aggregate((a, b) => a * b)).Select(value => (float)(center + (deviation * value)))];
        tensors.Add(name, (values, shape));
        return values;
    }
}
