using System.Numerics;
using System.Runtime.InteropServices;
using QuantBuild.Cuda.Driver;
using QuantBuild.Decoding;
using QuantBuild.Kernels;

namespace QuantBuild.Cuda.Decoding;

/// <summary>
/// Weights of a decoder's first layers in the memory of a device, byte by byte as the artifact has them: its tiles are what the kernels read, a word of a vector being four inputs of a row, so that
/// nothing is repacked.
/// </summary>
internal sealed unsafe class DeviceWeights : IDisposable
{
    private readonly Artifact artifact;
    private readonly KernelLibrary kernels;
    private readonly bool floatActivations;
    private readonly DeviceArena arena;
    private readonly Uploader uploader;
    private readonly Dictionary<IntPtr, IntPtr> orders = [];
    private readonly IntPtr dynamicMap;
    private readonly IntPtr powers;

    public DeviceWeights(Artifact artifact, CudaDevice device, KernelLibrary kernels, bool floatActivations)
    {
        (this.artifact, this.kernels, this.floatActivations) = (artifact, kernels, floatActivations);
        arena = new DeviceArena(device);
        uploader = new Uploader(device);
        if (artifact.Manifest.Layers.Values.Any(format => format is Codebook4Format { DoubleQuantized: true })) dynamicMap = Upload(Codebook4.DynamicMap);
        if (artifact.Manifest.Layers.Values.Any(format => format is Codebook4Format { HasPowers: true })) powers = Upload<float>(BlockScales.KernelPowers);
    }

    /// <summary>For each order of columns in the artifact's memory, its copy on the device.</summary>
    public IReadOnlyDictionary<IntPtr, IntPtr> Orders => orders;

    /// <summary>Bytes of the device that a layer's weights take.</summary>
    public static long BytesOf(Artifact artifact, int layer)
    {
        string prefix = DecoderConfig.LayerPrefix(layer);
        return artifact.File.Tensors.Values.Where(tensor => tensor.Name.StartsWith(prefix, StringComparison.Ordinal)).Sum(tensor => DeviceArena.Rounded(tensor.ByteLength));
    }

    /// <summary>Bytes of the device that the last norm and the head take, and what may be between them.</summary>
    public static long BytesOfHead(Artifact artifact)
    {
        string head = artifact.Config.Head.Name;
        return artifact.File.Tensors.Values.Where(tensor => tensor.Name.StartsWith(head + ".", StringComparison.Ordinal) || tensor.Name == DecoderConfig.OutputProjectionName).Sum(tensor => DeviceArena.Rounded(tensor.ByteLength))
            + DeviceArena.Rounded(artifact.Config.HiddenSize * 2L * sizeof(float));
    }

    /// <summary>Waits until all weights are there; they stay as long as the device is used.</summary>
    public void Dispose() => uploader.Dispose();

    /// <summary>Uploads a norm; nothing where there is none.</summary>
    public NormParameters Norm(NormVectors? norm) => norm is null ? default : new NormParameters
    {
        Weight = Upload<float>(norm.Weight),
        Bias = Vector(norm.Bias),
        Epsilon = (float)artifact.Config.NormEpsilon,
        Kind = (int)artifact.Config.Norm,
    };

    /// <summary>Uploads numbers; nothing where there are none.</summary>
    public IntPtr Vector(float[]? values) => values is null or [] ? 0 : Upload<float>(values);

    /// <summary>Uploads linears that read one input.</summary>
    public DeviceLinears Linears(params ReadOnlySpan<LinearSource> linears)
    {
        List<LinearGroup> groups = [];
        foreach ((LinearGroup group, List<LinearParameters> its) in Groups(linears))
        {
            groups.Add(group.Float is not null ? group : group with { Linears = Upload<LinearParameters>(CollectionsMarshal.AsSpan(its)), Count = its.Count });
        }

        return new DeviceLinears(kernels, groups);
    }

    /// <summary>Uploads linears of experts.</summary>
    /// <param name="experts">Those of each that read one input.</param>
    public DeviceLinears Experts(IReadOnlyList<LinearSource[]> experts)
    {
        // As a rule all experts are packed alike, and are one group. Those of which some are not have a place in several, which is empty in most.
        List<(LinearGroup Group, List<LinearParameters>?[] Linears, FloatLinearParameters[] Floats, IntPtr[] Orders)> together = [];
        for (int expert = 0; expert < experts.Count; expert++)
        {
            foreach ((LinearGroup group, List<LinearParameters> its) in Groups(experts[expert]))
            {
                LinearGroup own = group with { Layout = group.Layout with { Form = group.Layout.Form with { Order = 0 } } };
                int place = together.FindIndex(other => other.Linears[expert] is null && other.Group.VectorModule == own.VectorModule && other.Group.Layout == own.Layout && other.Group.RunsKernel == own.RunsKernel);
                if (place < 0)
                {
                    place = together.Count;
                    together.Add((own, new List<LinearParameters>?[experts.Count], new FloatLinearParameters[experts.Count], new IntPtr[experts.Count]));
                }

                var (shared, linears, floats, of) = together[place];
                linears[expert] = its;
                floats[expert] = own.Float ?? default;
                of[expert] = group.Layout.Form.Order == 0 ? 0 : orders[group.Layout.Form.Order];
                together[place] = (shared with
                {
                    Count = Math.Max(shared.Count, its.Count),
                    Tiles = Math.Max(shared.Tiles, own.Tiles),
                    VectorBlocks = Math.Max(shared.VectorBlocks, own.VectorBlocks),
                    MatrixBlocks64 = Math.Max(shared.MatrixBlocks64, own.MatrixBlocks64),
                    MatrixBlocks128 = Math.Max(shared.MatrixBlocks128, own.MatrixBlocks128),
                    OutlierBlocks = Math.Max(shared.OutlierBlocks, own.OutlierBlocks),
                }, linears, floats, of);
            }
        }

        List<LinearGroup> groups = [];
        foreach ((LinearGroup group, List<LinearParameters>?[] linears, FloatLinearParameters[] floats, IntPtr[] of) in together)
        {
            LinearParameters[] all = new LinearParameters[experts.Count * group.Count];
            for (int expert = 0; expert < experts.Count; expert++) linears[expert]?.CopyTo(all, expert * group.Count);
            groups.Add(group with
            {
                Linears = group.Float is null ? Upload<LinearParameters>(all) : Upload<FloatLinearParameters>(floats),
                Orders = of.All(order => order == 0) ? 0 : Upload<IntPtr>(of),
            });
        }

        return new DeviceLinears(kernels, groups);
    }

    // Consecutive linears that one kernel computes; what is a number is one by itself.
    private List<(LinearGroup Group, List<LinearParameters> Linears)> Groups(ReadOnlySpan<LinearSource> linears)
    {
        List<(LinearGroup, List<LinearParameters>)> groups = [];
        List<LinearParameters> together = [];
        LinearGroup? last = null;
        void Close()
        {
            if (last is not null) groups.Add((last, together));
            (last, together) = (null, []);
        }

        foreach ((LinearShape? shape, WeightMatrix weight, IntPtr y, int yStride, float? addScale) in linears)
        {
            LayerFormat? format = shape is null ? null : artifact.Manifest.Layers.GetValueOrDefault(shape.Name);
            if (format is null)
            {
                Close();
                groups.Add((Float(weight, y, yStride, addScale), []));
                continue;
            }

            // Of LLM.int8() what is not rounded are outliers: rounded or not, its input is in bytes and numbers.
            InputForm form = floatActivations && weight.Form.Outliers == 0 ? weight.FloatForm : weight.Form;
            if (form.Order != 0 && !orders.ContainsKey(form.Order)) orders[form.Order] = Upload((void*)form.Order, weight.Inputs * (long)sizeof(int));
            string packing = Name(format);
            LinearGroup next = new()
            {
                Layout = new InputLayout(form, Interleaved: format is Codebook4Format && form.SegmentInputs > 0),
                Inputs = weight.Inputs,
                Bits = format is IntAffineFormat { Bits: int bits } ? bits : format is Codebook4Format ? Codebook4.Bits : 8,
                IsCodebook = format is Codebook4Format,
                VectorModule = "linear-" + packing,
                MatrixModule = "matrix-" + packing,
            };
            if (last is not null && (last.VectorModule != next.VectorModule || last.Layout != next.Layout)) Close();
            LinearParameters linear = Parameters(shape!, format) with
            {
                Bias = Vector(weight.Bias),
                Y = y,
                YStride = yStride,
                Adds = addScale is null ? 0 : 1,
                Scale = addScale ?? 1,
            };
            together.Add(linear);
            last ??= next;
            last = last with
            {
                Tiles = last.Tiles + Blocks(weight.Outputs, PackedTiles.Rows),
                VectorBlocks = last.VectorBlocks + Blocks(weight.Outputs, 16),
                MatrixBlocks64 = last.MatrixBlocks64 + Blocks(weight.Outputs, 64),
                MatrixBlocks128 = last.MatrixBlocks128 + Blocks(weight.Outputs, 128),
                OutlierBlocks = last.OutlierBlocks + Blocks(weight.Outputs, 256),
            };
        }

        Close();
        return groups;
    }

    private static int Blocks(int outputs, int rows) => (outputs + rows - 1) / rows;

    private static string Name(LayerFormat format) => format switch
    {
        IntAffineFormat affine => affine.Bits switch { 2 => "int2", 3 => "int3", 4 => "int4", _ => "int8" },
        Codebook4Format => "codebook4",
        _ => "int8row",
    };

    private LinearGroup Float(WeightMatrix weight, IntPtr y, int yStride, float? addScale)
    {
        (string name, int size, IntPtr memory) = weight switch
        {
            FloatMatrix<F32Element> matrix => ("f32", 4, matrix.Weight),
            FloatMatrix<F16Element> matrix => ("f16", 2, matrix.Weight),
            FloatMatrix<BF16Element> matrix => ("bf16", 2, matrix.Weight),
            _ => throw new ArgumentException($"{weight.GetType()} is no matrix of numbers.", nameof(weight)),
        };
        return new LinearGroup
        {
            Layout = default,
            Inputs = weight.Inputs,
            OneKernel = $"multiply_{name}_1",
            ManyKernel = $"multiply_{name}_8",
            RunsKernel = $"multiply_{name}_runs",
            Tiles = Blocks(weight.Outputs, DeviceLinears.FloatRows),
            Float = new FloatLinearParameters
            {
                Weight = Upload((void*)memory, (long)weight.Outputs * weight.Inputs * size),
                Bias = Vector(weight.Bias),
                Y = y,
                Scale = addScale ?? 1,
                Outputs = weight.Outputs,
                Inputs = weight.Inputs,
                XStride = weight.Inputs,
                YStride = yStride,
                Adds = addScale is null ? 0 : 1,
            },
        };
    }

    private LinearParameters Parameters(LinearShape shape, LayerFormat format)
    {
        LinearParameters linear = new()
        {
            Weight = Tensor(shape.Name + IntAffine.WeightSuffix),
            Outputs = shape.Outputs,
            Inputs = shape.Inputs,
            Chunks = PackedTiles.PaddedInputs(shape.Inputs) / PackedTiles.ChunkInputs,
        };
        switch (format)
        {
            case IntAffineFormat affine:
                linear.Scales = Tensor(shape.Name + IntAffine.ScalesSuffix);
                linear.Zeros = affine.Symmetric ? 0 : Tensor(shape.Name + IntAffine.ZerosSuffix);
                linear.Zero = 1 << (affine.Bits - 1);
                linear.Groups = shape.Inputs / affine.GroupSize;
                linear.PerGroup = RoundedInput.Reciprocal(Math.Max(1, affine.GroupSize / 16));
                break;
            case Codebook4Format codebook:
                linear.Scales = Tensor(shape.Name + (codebook.HasPowers ? Codebook4.ExponentSuffix : Codebook4.AbsmaxSuffix));
                linear.Nested = codebook.DoubleQuantized ? Tensor(shape.Name + Codebook4.NestedAbsmaxSuffix) : 0;
                linear.Offset = codebook.DoubleQuantized ? *(float*)artifact.File.Pointer(artifact.File.Tensors[shape.Name + Codebook4.OffsetSuffix]) : 0;
                linear.Map = codebook.HasPowers ? powers : codebook.DoubleQuantized ? dynamicMap : 0;
                float[] table = codebook.KernelTable;
                linear.Table = Upload<float>(table);
                linear.Shift = BitOperations.Log2((uint)codebook.BlockSize);
                for (int i = 0; i < 16; i++) linear.TableBytes[i] = (sbyte)MathF.Round(table[i] * TableEntries.Largest);
                break;
            default:
                linear.Scales = Tensor(shape.Name + Int8RowOutlier.AbsmaxSuffix);
                break;
        }

        return linear;
    }

    private IntPtr Tensor(string name)
    {
        TensorEntry entry = artifact.File.Tensors[name];
        return Upload(artifact.File.Pointer(entry), entry.ByteLength);
    }

    private IntPtr Upload<T>(ReadOnlySpan<T> values)
        where T : unmanaged
    {
        fixed (T* source = values) return Upload(source, (long)values.Length * sizeof(T));
    }

    private IntPtr Upload(void* source, long bytes)
    {
        IntPtr memory = arena.Take(bytes);
        uploader.Copy(memory, source, bytes);
        return memory;
    }
}

/// <summary>A linear that goes to a device.</summary>
/// <param name="Shape">Which it is; null where it is never quantized.</param>
/// <param name="Weight">As the processor would read it.</param>
/// <param name="Y">Where its products go.</param>
/// <param name="YStride">From one row of them to the next.</param>
/// <param name="AddScale">By what they are multiplied before they are added to what is there; null where they take its place.</param>
internal readonly record struct LinearSource(LinearShape? Shape, WeightMatrix Weight, IntPtr Y, int YStride, float? AddScale = null);
