using System.Text;

namespace QuantBuild;

/// <summary>
/// A tokenizer of SentencePiece in the header of a GGUF file, as the <c>tokenizer.model</c> (sentencepiece_model.proto) that a Hugging Face folder would have: llama.cpp keeps its pieces, their scores and kinds, and calls
/// it "llama".
/// </summary>
internal static class GgufSentencePiece
{
    // Kinds of pieces, which both number alike.
    private const long Normal = 1, Control = 3, UserDefined = 4, Unused = 5, Byte = 6;

    // A BPE model: the highest score merges first.
    private const ulong Bpe = 2;

    private const int Number = 0, Bytes = 2, Single = 5;

    /// <summary>The bytes of <c>tokenizer.model</c>; <see langword="null"/> where the header lacks pieces or scores.</summary>
    public static byte[]? ToModel(GgufFile file)
    {
        if (file.Metadata.TryGetValue("tokenizer.ggml.tokens", out object? list) is false || list is not string[] tokens
            || file.Metadata.TryGetValue("tokenizer.ggml.scores", out object? given) is false || given is not double[] scores || scores.Length != tokens.Length
            || file.Metadata.TryGetValue("tokenizer.ggml.token_type", out object? kinds) is false || kinds is not long[] types || types.Length != tokens.Length)
        {
            return null;
        }

        bool Flag(string name, bool standard) => file.Metadata.TryGetValue("tokenizer.ggml." + name, out object? value) ? value is true : standard;
        long beginning = Flag("add_bos_token", true) ? file.Metadata.TryGetValue("tokenizer.ggml.bos_token_id", out object? id) && id is long bos ? bos : 1 : -1;
        using MemoryStream model = new();
        for (int i = 0; i < tokens.Length; i++)
        {
            // Rows that belong to no piece have the names [PAD…] and are marked as unused. Control pieces are found in no other text either.
            long type = types[i] == Unused ? Control : types[i] is >= Normal and <= Byte ? types[i] : Normal;
            // What a user defined is written with its blanks as they are; it is sought among pieces whose blanks are escaped.
            string text = type == UserDefined ? tokens[i].Replace(' ', '\u2581') : tokens[i];
            using MemoryStream piece = new();
            WriteBytes(piece, 1, Encoding.UTF8.GetBytes(text));
            WriteTag(piece, 2, Single);
            piece.Write(BitConverter.GetBytes((float)scores[i]), 0, sizeof(float));
            WriteNumber(piece, 3, (ulong)type);
            WriteBytes(model, 1, piece.ToArray());
        }

        using MemoryStream trainer = new(), normalizer = new();
        WriteNumber(trainer, 3, Bpe);
        WriteNumber(trainer, 35, types.Contains(Byte) ? 1UL : 0);
        WriteNumber(trainer, 41, unchecked((ulong)beginning));
        WriteNumber(normalizer, 3, Flag("add_space_prefix", true) ? 1UL : 0);
        WriteNumber(normalizer, 4, Flag("remove_extra_whitespaces", false) ? 1UL : 0);
        WriteNumber(normalizer, 5, 1);
        WriteBytes(model, 2, trainer.ToArray());
        WriteBytes(model, 3, normalizer.ToArray());
        return model.ToArray();
    }

    private static void WriteNumber(MemoryStream target, int field, ulong value)
    {
        WriteTag(target, field, Number);
        WriteVariable(target, value);
    }

    private static void WriteBytes(MemoryStream target, int field, byte[] value)
    {
        WriteTag(target, field, Bytes);
        WriteVariable(target, (ulong)value.Length);
        target.Write(value, 0, value.Length);
    }

    private static void WriteTag(MemoryStream target, int field, int kind) => WriteVariable(target, (ulong)((field << 3) | kind));

    // Seven bits a byte, the lowest first; the eighth says that more follow.
    private static void WriteVariable(MemoryStream target, ulong value)
    {
        for (; value >= 0x80; value >>= 7) target.WriteByte((byte)(value | 0x80));
        target.WriteByte((byte)value);
    }
}
