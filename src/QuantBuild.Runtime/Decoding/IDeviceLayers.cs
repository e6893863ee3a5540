using QuantBuild.Kernels;

namespace QuantBuild.Decoding;

/// <summary>The first layers of a decoder on another device than the processor; where those are all layers, the last norm and the head too.</summary>
internal interface IDeviceLayers : IDisposable
{
    /// <summary>How many layers.</summary>
    int Count { get; }

    /// <summary>Whether <see cref="Give"/> is there.</summary>
    bool HasHead { get; }

    /// <summary>Tokens of a pass at most.</summary>
    int LargestBatch { get; }

    /// <summary>Where keys and values of these layers are.</summary>
    IPageMemory Memory { get; }

    /// <summary>Takes tokens through the layers.</summary>
    /// <param name="rows">The tokens; their pages have room for their keys and values.</param>
    /// <param name="hidden">Their embeddings, [rows, hidden]; without a head, receives the residual stream behind the layers.</param>
    /// <param name="turns">The rotary embeddings of the decoder, prepared for the positions of the rows: of most layers, and of local ones where they have another.</param>
    /// <param name="cancellationToken">Looked at before the device begins.</param>
    void Forward(IReadOnlyList<BatchRow> rows, Activations hidden, (RotaryEmbedding Most, RotaryEmbedding? Local) turns, CancellationToken cancellationToken);

    /// <summary>Gives out what was wanted of the rows of the last pass.</summary>
    void Give(IReadOnlyList<BatchPart> parts);
}

/// <summary>Memory of a device for pages of keys and values.</summary>
internal interface IPageMemory
{
    /// <summary>Memory whose bytes are 0.</summary>
    /// <exception cref="QuantBuildException">QB1071: there is none left.</exception>
    IntPtr Allocate(long bytes);

    void Free(IntPtr memory);

    void Clear(IntPtr memory, long bytes);

    void Copy(IntPtr from, IntPtr to, long bytes);

    void Read(IntPtr memory, Span<byte> target);

    void Write(ReadOnlySpan<byte> source, IntPtr memory);
}
