namespace QuantBuild.Kernels;

/// <summary>Chooses the instructions for a packed weight by what the processor has.</summary>
internal static class PackedKernels
{
    /// <summary>Inputs that are rounded to bytes with one scale at most: activations have outliers, which make all of their segment coarser.</summary>
    public const int LargestSegment = 128;

    /// <summary>The instructions that the kernels multiply with on this processor.</summary>
    public static string Instructions =>
        AvxVnniDotProduct.IsSupported ? "AVX-VNNI" : Avx2DotProduct.IsSupported ? "AVX2" : ArmDotProduct.IsSupported ? "Arm dot product" : PortableInstructions;

    /// <summary>What <see cref="Instructions"/> is where there are none of those that make generating fast.</summary>
    public const string PortableInstructions = "portable vectors";

    /// <summary>The kernel of a weight.</summary>
    /// <param name="linear">Which linear.</param>
    /// <param name="weight">Its packed tiles.</param>
    /// <param name="chunks">How they are unpacked.</param>
    /// <param name="scales">Their scales.</param>
    /// <param name="form">What the kernel asks of its input.</param>
    public static WeightMatrix Create<TChunk, TScales>(LinearShape linear, IntPtr weight, TChunk chunks, TScales scales, InputForm form)
        where TChunk : struct, IPackedChunk
        where TScales : struct, ITileScales
    {
        if (AvxVnniDotProduct.IsSupported) return With<TChunk, TScales, AvxVnniDotProduct>(linear, weight, chunks, scales, form);
        if (Avx2DotProduct.IsSupported) return With<TChunk, TScales, Avx2DotProduct>(linear, weight, chunks, scales, form);
        if (ArmDotProduct.IsSupported) return With<TChunk, TScales, ArmDotProduct>(linear, weight, chunks, scales, form);
        return With<TChunk, TScales, PortableDotProduct>(linear, weight, chunks, scales, form);
    }

    private static PackedMatrix<TChunk, TScales, TDot> With<TChunk, TScales, TDot>(LinearShape linear, IntPtr weight, TChunk chunks, TScales scales, InputForm form)
        where TChunk : struct, IPackedChunk
        where TScales : struct, ITileScales
        where TDot : struct, IDotProduct<TDot> => new(linear.Outputs, linear.Inputs, weight, chunks, scales, form);
}
