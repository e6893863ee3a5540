using System.Runtime.InteropServices;

namespace QuantBuild.Cuda.Decoding;

// The parameters of the kernels, member by member as Kernels/*.cu and *.h have them, where each is explained. Pointers are addresses of the device.

/// <summary>A linear with quantized weights (linear.h).</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct LinearParameters
{
    public IntPtr Weight;
    public IntPtr Scales;
    public IntPtr Zeros;
    public IntPtr Nested;
    public IntPtr Map;
    public IntPtr Table;
    public IntPtr Bias;
    public IntPtr Y;
    public float Offset;
    public float Scale;
    public int Outputs;
    public int Inputs;
    public int Chunks;
    public int Groups;
    public uint PerGroup;
    public int Zero;
    public int Shift;
    public int YStride;
    public int Adds;
    public fixed sbyte TableBytes[16];
}

/// <summary>The input of a linear with quantized weights (linear.h).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct InputParameters
{
    public IntPtr Bytes;
    public IntPtr Segments;
    public IntPtr Floats;
    public IntPtr Outliers;
    public IntPtr Places;
    public IntPtr Values;
    public IntPtr Runs;
    public int Tokens;
    public int Stride;
    public int SegmentCount;
    public int SegmentHalves;
}

/// <summary>A linear whose weights are numbers (floats.cu).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct FloatLinearParameters
{
    public IntPtr Weight;
    public IntPtr Bias;
    public IntPtr X;
    public IntPtr Y;
    public float Scale;
    public int Outputs;
    public int Inputs;
    public int Tokens;
    public int XStride;
    public int YStride;
    public int Adds;
}

/// <summary>Where the input of a linear goes (decoder.cu).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RoundedParameters
{
    public IntPtr Bytes;
    public IntPtr Segments;
    public IntPtr Floats;
    public IntPtr Outliers;
    public IntPtr Places;
    public IntPtr Values;
    public IntPtr Order;
    public IntPtr Slots;
    public IntPtr Orders;
    public float Threshold;
    public int Inputs;
    public int Stride;
    public int SegmentCount;
    public int SegmentInputs;
    public int Interleaved;
}

/// <summary>Which experts compute which tokens (experts.cu).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RoutingParameters
{
    public IntPtr Scores;
    public IntPtr Chosen;
    public IntPtr Shares;
    public IntPtr Places;
    public IntPtr Slots;
    public IntPtr Runs;
    public int Tokens;
    public int Experts;
    public int Each;
    public int Normalizes;
    public int RunShift;
    public int RunCount;
}

/// <summary>What experts give, on its way together (experts.cu).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct MixingParameters
{
    public IntPtr Given;
    public IntPtr Places;
    public IntPtr Shares;
    public IntPtr Shared;
    public IntPtr Gates;
    public IntPtr Y;
    public int Each;
    public int Width;
}

/// <summary>What a gated MLP computes between its linears (decoder.cu).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct GateParameters
{
    public IntPtr Gate;
    public IntPtr Up;
    public float Limit;
    public int Kind;
    public int Width;
}

/// <summary>A norm (decoder.cu).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NormParameters
{
    public IntPtr Weight;
    public IntPtr Bias;
    public float Epsilon;
    public int Kind;
}

/// <summary>A token of a pass (decoder.cu, attention.cu).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RowParameters
{
    public int Position;
    public int Pages;
}

/// <summary>Consecutive tokens of one text (prompt.cu).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct TileParameters
{
    public int First;
    public int Count;
}

/// <summary>Queries, keys and values on their way to the pages (decoder.cu).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct HeadsParameters
{
    public IntPtr Queries;
    public IntPtr Keys;
    public IntPtr Values;
    public IntPtr QueryNorm;
    public IntPtr KeyNorm;
    public IntPtr Cosines;
    public IntPtr Sines;
    public IntPtr Rows;
    public IntPtr Pages;
    public long LayerOffset;
    public int BlockBytes;
    public float Epsilon;
    public int Heads;
    public int KvHeads;
    public int HeadDim;
    public int Half;
    public int Interleaved;
    public int WholeNorm;
    public int EachNorm;
    public int NormKind;
    public int Bytes;
}

/// <summary>Attention over pages (attention.cu, prompt.cu).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct AttentionParameters
{
    public IntPtr Queries;
    public IntPtr Results;
    public IntPtr Partial;
    public IntPtr Rows;
    public IntPtr Pages;
    public IntPtr Sinks;
    public IntPtr Slopes;
    public long LayerOffset;
    public int BlockBytes;
    public float Scale;
    public float Cap;
    public int Heads;
    public int KvHeads;
    public int HeadDim;
    public int Window;
    public int Bytes;
    public int MostParts;
}

/// <summary>What is done to a row of logits before the largest are listed (sampling.cu).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ChangeParameters
{
    public double Repetition;
    public float Scale;
    public int Row;
    public int First;
    public int Masked;
    public int Biased;
    public int Repeated;
    public int Lowered;
}
