using System.Buffers.Binary;
using System.Text;
using QuantBuild.Text.Models;
using QuantBuild.Text.Normalization;

namespace QuantBuild.Text;

/// <summary>
/// Reads SentencePiece's <c>tokenizer.model</c>, a protocol buffer (sentencepiece_model.proto): its pieces, and what is done with a text first. The token that begins texts
/// is put before them, as Llama's kin expect; control tokens are recognized in the text, as they are by those models' own tokenizers.
/// </summary>
internal static class SentencePieceFile
{
    // Longer pieces would take quadratic time to find the merges of. SentencePiece's own limit is 512 bytes.
    private const int LongestPiece = 512;
    private const string Blank = "\u2581";

    /// <summary>Reads the file.</summary>
    /// <exception cref="QuantBuildException">QB2009, QB2025 or QB2027.</exception>
    public static TokenizerDefinition Parse(ReadOnlySpan<byte> file, string source)
    {
        Message message;
        try
        {
            message = ReadModel(file);
        }
        catch (FormatException e)
        {
            throw Malformed(source, e.Message, e);
        }

        Dictionary<string, int> vocabulary = [];
        for (int id = 0; id < message.Pieces.Count; id++)
        {
            if (!vocabulary.TryAdd(message.Pieces[id].Text, id)) throw Malformed(source, $"it has the piece \"{message.Pieces[id].Text}\" twice");
        }

        if (message.BlankAsSuffix) throw Unsupported(source, "it puts blanks at the end of words (treat_whitespace_as_suffix)");
        if (!message.EscapesBlanks) throw Unsupported(source, "it does not escape blanks (escape_whitespaces)");
        return new TokenizerDefinition
        {
            AddedTokens = [.. AddedTokens(message)],
            Normalizers = [new SentencePieceNormalizer(ReadCharsmap(message, source), message.DummyPrefix, message.RemovesExtraBlanks)],
            Model = message.Kind switch
            {
                1 => Unigram(message, vocabulary),
                2 => Bpe(message, vocabulary, source),
                _ => throw Unsupported(source, $"its model is of the type {message.Kind}, expected 1 (unigram) or 2 (BPE)"),
            },
            Prefix = message.BeginOfText >= 0 && message.BeginOfText < message.Pieces.Count && message.Pieces[message.BeginOfText].Type == PieceType.Control ? [message.BeginOfText] : [],
            Text = new TokenText([new TokenText.ByteFallback(), new TokenText.Replace(new Normalizer.ReplaceText(Blank, " "))])
            {
                Ends = message.DummyPrefix ? new TokenText.Strip(' ', 1, 0) : null,
            },
        };
    }

    private static QuantBuildException Malformed(string source, string what, Exception? cause = null) => new(
        DiagnosticIds.SentencePieceMalformed,
        $"{source} is not a tokenizer of SentencePiece: {what.TrimEnd('.')}. Copy the file again from where the model came from: it must not be a Git LFS pointer, and not cut short.", cause);

    private static QuantBuildException Unsupported(string source, string what) => new(
        DiagnosticIds.TokenizerUnsupported, $"{source}: {what}. docs/tokenizers.md lists what is supported. Use the model's tokenizer.json, or another model.");

    private static IEnumerable<AddedToken> AddedTokens(Message message)
    {
        for (int id = 0; id < message.Pieces.Count; id++)
        {
            Piece piece = message.Pieces[id];
            if (piece.Type is PieceType.Control or PieceType.Unknown) yield return new AddedToken(id, piece.Text) { Special = true };
            // What a user defined is found in the normalized text, whose blanks are escaped as its own are. The unigram model finds it by its score.
            if (piece.Type == PieceType.UserDefined && message.Kind == 2) yield return new AddedToken(id, piece.Text) { Normalized = true, SoughtAs = piece.Text };
        }
    }

    private static Charsmap? ReadCharsmap(Message message, string source)
    {
        if (message.Charsmap.Length == 0) return null;
        try
        {
            return new Charsmap(message.Charsmap);
        }
        catch (FormatException e)
        {
            throw new QuantBuildException(
                DiagnosticIds.TokenizerCharsmapMalformed,
                $"{source}: its map of characters cannot be read: {e.Message}. Copy the file again from where the model came from.", e);
        }
    }

    private static UnigramModel Unigram(Message message, Dictionary<string, int> vocabulary)
    {
        float[] scores = [.. message.Pieces.Where(p => p.Type == PieceType.Normal).Select(p => p.Score).DefaultIfEmpty()];
        // SentencePiece looks for the highest score from the smallest positive number up: where all are negative, as logarithms are, it is that.
        float highest = Math.Max(1.17549435E-38f, scores.Max());
        return new UnigramModel(
            vocabulary,
            vocabulary.Where(t => message.Pieces[t.Value].Type is PieceType.Normal or PieceType.UserDefined),
            // What a user defined is more likely than anything that it could be cut into.
            [.. message.Pieces.Select(p => p.Type == PieceType.UserDefined ? (Encoding.UTF8.GetByteCount(p.Text) * highest) - 0.1 : p.Score)],
            message.Pieces.FindIndex(p => p.Type == PieceType.Unknown),
            message.ByteFallback,
            scores.Min(),
            singlePrecision: true);
    }

    /// <summary>Any two tokens merge whose texts together are a piece, the one with the highest score first.</summary>
    private static BpeModel Bpe(Message message, Dictionary<string, int> vocabulary, string source)
    {
        if (message.Pieces.Exists(p => p.Type == PieceType.Unused)) throw Unsupported(source, "it has pieces that are marked as unused");
        float[] scores = [.. message.Pieces.Where(p => p.Type == PieceType.Normal).Select(p => p.Score).Distinct().OrderDescending()];
        Dictionary<float, int> ranks = scores.Select((score, rank) => (score, rank)).ToDictionary(s => s.score, s => s.rank);
        Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> lookup = vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();
        List<Merge> merges = [];
        foreach (Piece piece in message.Pieces.Where(p => p.Type == PieceType.Normal))
        {
            for (int cut = 1; cut < piece.Text.Length; cut++)
            {
                if (IsNormal(piece.Text.AsSpan(0, cut)) && IsNormal(piece.Text.AsSpan(cut))) merges.Add(new Merge(piece.Text[..cut], piece.Text[cut..], ranks[piece.Score]));
            }
        }

        return new BpeModel(vocabulary, merges, new BpeOptions
        {
            ByteFallback = message.ByteFallback,
            Unknown = message.Pieces.Find(p => p.Type == PieceType.Unknown)?.Text,
            FuseUnknown = true,
        });

        bool IsNormal(ReadOnlySpan<char> text) => lookup.TryGetValue(text, out int id) && message.Pieces[id].Type == PieceType.Normal;
    }

    private static Message ReadModel(ReadOnlySpan<byte> file)
    {
        Message message = new();
        ProtobufReader model = new(file);
        while (model.Next())
        {
            if (model is { Field: 1, IsBytes: true }) message.Pieces.Add(ReadPiece(model.Bytes));
            else if (model is { Field: 2, IsBytes: true }) ReadTrainer(model.Bytes, message);
            else if (model is { Field: 3, IsBytes: true }) ReadNormalizer(model.Bytes, message);
        }

        return message.Pieces.Count > 0 ? message : throw new FormatException("it has no pieces");
    }

    private static Piece ReadPiece(ReadOnlySpan<byte> bytes)
    {
        Piece piece = new("", 0, PieceType.Normal);
        ProtobufReader reader = new(bytes);
        while (reader.Next())
        {
            switch (reader.Field)
            {
                case 1 when reader.IsBytes && reader.Bytes.Length <= LongestPiece:
                    piece = piece with { Text = Encoding.UTF8.GetString(reader.Bytes) };
                    break;
                case 1 when reader.IsBytes:
                    throw new FormatException($"it has a piece of {reader.Bytes.Length} bytes, expected at most {LongestPiece}");
                case 2 when reader.Bytes.Length == 4:
                    piece = piece with { Score = BinaryPrimitives.ReadSingleLittleEndian(reader.Bytes) };
                    break;
                case 3:
                    piece = piece with { Type = (PieceType)reader.Number };
                    break;
            }
        }

        if (piece.Text.Length == 0) throw new FormatException("it has a piece without text");
        return float.IsFinite(piece.Score) ? piece : throw new FormatException($"the piece \"{piece.Text}\" has the score {piece.Score}");
    }

    private static void ReadTrainer(ReadOnlySpan<byte> bytes, Message message)
    {
        ProtobufReader reader = new(bytes);
        while (reader.Next())
        {
            switch (reader.Field)
            {
                case 3:
                    message.Kind = reader.Number;
                    break;
                case 24:
                    message.BlankAsSuffix = reader.Number != 0;
                    break;
                case 35:
                    message.ByteFallback = reader.Number != 0;
                    break;
                case 41:
                    message.BeginOfText = unchecked((int)reader.Number);
                    break;
            }
        }
    }

    private static void ReadNormalizer(ReadOnlySpan<byte> bytes, Message message)
    {
        ProtobufReader reader = new(bytes);
        while (reader.Next())
        {
            switch (reader.Field)
            {
                case 2 when reader.IsBytes:
                    message.Charsmap = reader.Bytes.ToArray();
                    break;
                case 3:
                    message.DummyPrefix = reader.Number != 0;
                    break;
                case 4:
                    message.RemovesExtraBlanks = reader.Number != 0;
                    break;
                case 5:
                    message.EscapesBlanks = reader.Number != 0;
                    break;
            }
        }
    }

    private enum PieceType
    {
        Normal = 1,
        Unknown = 2,
        Control = 3,
        UserDefined = 4,
        Unused = 5,
        Byte = 6,
    }

    private sealed record Piece(string Text, float Score, PieceType Type);

    /// <summary>What the file says, beginning with what it need not say.</summary>
    private sealed class Message
    {
        public List<Piece> Pieces { get; } = [];

        public ulong Kind { get; set; } = 1;

        public bool BlankAsSuffix { get; set; }

        public bool ByteFallback { get; set; }

        public int BeginOfText { get; set; } = 1;

        public byte[] Charsmap { get; set; } = [];

        public bool DummyPrefix { get; set; } = true;

        public bool RemovesExtraBlanks { get; set; } = true;

        public bool EscapesBlanks { get; set; } = true;
    }
}
