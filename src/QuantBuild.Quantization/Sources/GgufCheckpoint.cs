using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using Microsoft.Win32.SafeHandles;

namespace QuantBuild.Quantization;

/// <summary>
/// A GGUF file as a source of weights: its tensors under the names that a Hugging Face checkpoint gives them, in the order of rows that it has them in.
/// </summary>
internal sealed partial class GgufCheckpoint : ICheckpointFile
{
    private const int BlockElements = 32, BlockBytes = 34;

    private static readonly Dictionary<string, string> Names = new(StringComparer.Ordinal)
    {
        ["token_embd"] = DecoderConfig.EmbeddingLinearName,
        ["output_norm"] = "model.norm",
        ["output"] = DecoderConfig.HeadLinearName,
        ["attn_norm"] = "input_layernorm",
        ["attn_q"] = "self_attn.q_proj",
        ["attn_k"] = "self_attn.k_proj",
        ["attn_v"] = "self_attn.v_proj",
        ["attn_output"] = "self_attn.o_proj",
        ["attn_q_norm"] = "self_attn.q_norm",
        ["attn_k_norm"] = "self_attn.k_norm",
        ["ffn_norm"] = "post_attention_layernorm",
        ["ffn_gate"] = "mlp.gate_proj",
        ["ffn_up"] = "mlp.up_proj",
        ["ffn_down"] = "mlp.down_proj",
    };

    // Gemma 2 and 3.
    private static readonly Dictionary<string, string> FourNorms = new(StringComparer.Ordinal)
    {
        ["post_attention_norm"] = "post_attention_layernorm",
        ["ffn_norm"] = "pre_feedforward_layernorm",
        ["post_ffw_norm"] = "post_feedforward_layernorm",
    };

    // One for each part of the file.
    private readonly Dictionary<string, SafeFileHandle> handles = new(StringComparer.Ordinal);

    private GgufCheckpoint(GgufFile file)
    {
        try
        {
            foreach (string path in file.Paths) handles.Add(path, File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete));
        }
        catch
        {
            Dispose();
            throw;
        }

        Tensors = [.. file.Tensors.Values.Where(tensor => GgufTensor.BlockOf(tensor.Type) is not null).Select(tensor => Create(file, tensor))];
    }

    /// <inheritdoc/>
    public IReadOnlyCollection<CheckpointTensor> Tensors { get; }

    /// <summary>Opens a file.</summary>
    /// <exception cref="QuantBuildException">QB2005, QB2042.</exception>
    public static GgufCheckpoint Open(string path) => new(GgufFile.Open(path));

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (SafeFileHandle handle in handles.Values) handle.Dispose();
    }

    [GeneratedRegex(@"^(?:blk\.(?<layer>[0-9]{1,4})\.)?(?<module>[a-z_]+)\.(?<kind>weight|bias)$", RegexOptions.CultureInvariant)]
    private static partial Regex Name { get; }

    private CheckpointTensor Create(GgufFile file, GgufTensor tensor)
    {
        SafeFileHandle handle = handles[tensor.Path];
        CheckpointTensor stored = tensor.Type == GgufType.Q8
            ? new(tensor.Name, ElementType.F32, tensor.Shape, Reader((offset, target) => ReadBlocks(handle, tensor.Offset, offset, target)), tensor.ByteLength)
            : new(tensor.Name, Type(tensor.Type), tensor.Shape, Reader((offset, target) => FileBytes.Fill(handle, tensor.Offset + offset, target)));
        CheckpointTensor.Reader Reader(CheckpointTensor.Reader own) => FileBytes.Reader(tensor.Path, tensor.Name, own);
        Match match = Name.Match(tensor.Name);
        string own = match.Groups["module"].Value;
        if (!match.Success || (!(GgufModel.HasFourNorms(file) && FourNorms.TryGetValue(own, out string? module)) && !Names.TryGetValue(own, out module))) return stored;
        string layer = match.Groups["layer"].Value, name = $"{(layer.Length > 0 ? DecoderConfig.LayerPrefix(int.Parse(layer, System.Globalization.CultureInfo.InvariantCulture)) : "")}{module}.{match.Groups["kind"].Value}";
        CheckpointTensor.Reader read = stored.Read;
        if (HeadsOfPairs(file, own) is { } heads && tensor.Shape.Count > 0 && tensor.Shape[0] % (2 * heads) == 0) read = (offset, target) => ReadPaired(stored, heads, offset, target);
        // llama.cpp's converter writes every norm as F32.
        if (GgufModel.AddsOneToNorms(file) && own.EndsWith("norm", StringComparison.Ordinal) && stored.Type == ElementType.F32) read = (offset, target) => ReadOffsets(stored, offset, target);
        return new CheckpointTensor(name, stored.Type, stored.Shape, read, stored.StoredBytes);
    }

    /// <summary>Reads a norm as its distance from one.</summary>
    private static void ReadOffsets(CheckpointTensor stored, long offset, Span<byte> target)
    {
        stored.Read(offset, target);
        foreach (ref float weight in MemoryMarshal.Cast<byte, float>(target)) weight -= 1;
    }

    private static ElementType Type(GgufType type) => type switch
    {
        GgufType.F32 => ElementType.F32,
        GgufType.F16 => ElementType.F16,
        _ => ElementType.BF16,
    };

    /// <summary>How many heads the rows of a tensor are of, whose rotary pairs lie next to each other there, and half a head apart in the checkpoint.</summary>
    private static long? HeadsOfPairs(GgufFile file, string module)
    {
        if (module is not ("attn_q" or "attn_k") || file.Metadata.GetValueOrDefault("general.architecture") is not "llama") return null;
        long? Heads(string key) => file.Metadata.GetValueOrDefault("llama.attention." + key) is long heads and > 0 and < 1 << 20 ? heads : null;
        return module == "attn_k" ? Heads("head_count_kv") ?? Heads("head_count") : Heads("head_count");
    }

    /// <summary>Reads rows in the order of the checkpoint: row t · d/2 + j of a head of d rows is row 2j + t of the file's.</summary>
    private static void ReadPaired(CheckpointTensor stored, long heads, long offset, Span<byte> target)
    {
        long rowBytes = stored.ByteLength / stored.Shape[0], half = stored.Shape[0] / heads / 2;
        while (target.Length > 0)
        {
            (long row, long within) = Math.DivRem(offset, rowBytes);
            (long head, long of) = Math.DivRem(row, 2 * half);
            long source = (head * 2 * half) + (of % half * 2) + (of / half);
            int count = (int)Math.Min(target.Length, rowBytes - within);
            stored.Read((source * rowBytes) + within, target[..count]);
            offset += count;
            target = target[count..];
        }
    }

    /// <summary>Reads Q8_0 as float32: each of 32 signed bytes times the float16 before them, which is exact.</summary>
    private static void ReadBlocks(SafeFileHandle handle, long start, long offset, Span<byte> target)
    {
        const int piece = 512;
        Span<float> values = MemoryMarshal.Cast<byte, float>(target);
        long first = offset / sizeof(float);
        byte[] blocks = new byte[piece * BlockBytes];
        for (int done = 0; done < values.Length;)
        {
            (long block, long within) = Math.DivRem(first + done, BlockElements);
            int count = (int)Math.Min(values.Length - done, (piece * BlockElements) - within);
            Span<byte> read = blocks.AsSpan(0, (int)((within + count + BlockElements - 1) / BlockElements) * BlockBytes);
            FileBytes.Fill(handle, start + (block * BlockBytes), read);
            for (int i = 0; i < count; i++)
            {
                int at = (int)within + i, from = at / BlockElements * BlockBytes;
                values[done + i] = (float)BitConverter.ToHalf(read[from..]) * (sbyte)read[from + 2 + (at % BlockElements)];
            }

            done += count;
        }
    }
}
