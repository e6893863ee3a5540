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

    /// <summary>Writes everything that was read.</summary>
    public void Write(string path) => SafetensorsWriter.Write(
        path,
        new Dictionary<string, string> { ["format"] = "pt" },
        [.. tensors.Select(tensor => TensorSource.FromBytes(tensor.Key, ElementType.F32, tensor.Value.Shape, MemoryMarshal.AsBytes<float>(tensor.Value.Values).ToArray()))]);

    private float[] Make(string own, long[] shape, double center, double deviation)
    {
        string name = naming(own);
        if (tensors.TryGetValue(name, out (float[] Values, long[] Shape) known))
        {
            Assert.Equal(shape, known.Shape);
            return known.Values;
        }

        Random random = new(BitConverter.ToInt32(SHA256.HashData(Encoding.UTF8.GetBytes(name))));
        float[] values = [.. RandomData.Normal(random, (int)shape.Aggregate((a, b) => a * b)).Select(value => (float)(center + (deviation * value)))];
        tensors.Add(name, (values, shape));
        return values;
    }
}
