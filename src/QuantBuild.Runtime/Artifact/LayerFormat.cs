using System.Text.Json.Serialization;
using QuantBuild.Kernels;

namespace QuantBuild;

/// <summary>
/// How a linear is stored: which tensors hold it, and what they mean. A method of quantization chooses values; a format is what a kernel reads, whichever
/// method chose them. In a manifest the member <c>Format</c> names it.
/// </summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "Format")]
[JsonDerivedType(typeof(IntAffineFormat), IntAffine.FormatName)]
[JsonDerivedType(typeof(Codebook4Format), Codebook4.FormatName)]
[JsonDerivedType(typeof(Int8RowOutlierFormat), Int8RowOutlier.FormatName)]
public abstract record LayerFormat
{
    /// <summary>Checks that a file holds every tensor of a linear in this format, and that nothing in it leads a kernel out of bounds.</summary>
    /// <exception cref="QuantBuildException">QB4002.</exception>
    internal abstract void Verify(SafetensorsFile file, LinearShape linear);

    /// <summary>The kernel of a linear in this format.</summary>
    /// <param name="linear">Which linear.</param>
    /// <param name="tensor">The first byte of the tensor with a name.</param>
    internal abstract WeightMatrix Open(LinearShape linear, Func<string, IntPtr> tensor);
}
