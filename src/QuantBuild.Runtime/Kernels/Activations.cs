using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace QuantBuild.Kernels;

/// <summary>
/// Activations [rows, width] in float32, each row padded with zeros to whole blocks so that no kernel needs a tail. The memory does not move.
/// </summary>
internal sealed unsafe class Activations
{
    private readonly float[] values;

    public Activations(int rows, int width)
    {
        Rows = rows;
        Width = width;
        Stride = PackedTiles.PaddedInputs(width);
        values = GC.AllocateArray<float>(checked(rows * Stride), pinned: true);
    }

    public int Rows { get; }

    public int Width { get; }

    /// <summary>Floats from a row to the next.</summary>
    public int Stride { get; }

    /// <summary>The first float of a row. Valid while this object is alive.</summary>
    public float* Row(int row) =>
        (float*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(values)) + ((long)row * Stride);

    /// <summary>A row without its padding.</summary>
    public Span<float> Span(int row) => values.AsSpan(row * Stride, Width);
}
