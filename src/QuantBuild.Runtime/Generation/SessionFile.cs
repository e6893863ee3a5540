using System.Buffers.Binary;
using QuantBuild.Decoding;

namespace QuantBuild.Generation;

/// <summary>
/// A saved session: the letters QBSESSN2; the fingerprint of the model, 64 ASCII characters; as 32-bit little-endian integers the precision of keys and values, whether keys are turned by LongRoPE's long
/// factors, how many tokens, and how many of them are computed; the tokens; and the pages of those that are computed.
/// </summary>
internal static class SessionFile
{
    private static ReadOnlySpan<byte> Magic => "QBSESSN2"u8;

    /// <summary>Writes a session.</summary>
    public static void Write(Stream stream, string fingerprint, KvPages pages, bool isLong, TextState state)
    {
        stream.Write(Magic);
        stream.Write(System.Text.Encoding.ASCII.GetBytes(Padded(fingerprint)));
        WriteNumber(stream, (int)pages.Precision);
        WriteNumber(stream, isLong ? 1 : 0);
        WriteNumber(stream, state.Tokens.Count);
        WriteNumber(stream, state.Cache.Length);
        foreach (int token in state.Tokens) WriteNumber(stream, token);
        byte[] bytes = new byte[checked((int)pages.PageBytes)];
        foreach (KvPage page in state.Cache.Pages)
        {
            pages.Read(page, bytes);
            stream.Write(bytes);
        }
    }

    /// <summary>Reads a session.</summary>
    /// <exception cref="QuantBuildException">QB4011: it is of another model, precision or choice of rotary factors, or damaged.</exception>
    public static TextState Read(Stream stream, string fingerprint, KvPages pages, DecoderConfig config, int context)
    {
        Span<byte> start = stackalloc byte[Magic.Length + 64];
        KvCache cache = new(pages);
        try
        {
            stream.ReadExactly(start);
            if (!start[..Magic.Length].SequenceEqual(Magic)) throw Unusable("it does not begin with the letters QBSESSN2");
            string found = System.Text.Encoding.ASCII.GetString(start[Magic.Length..]);
            if (found != Padded(fingerprint)) throw Unusable($"it is of the model with the fingerprint {found.Trim()}, expected {fingerprint}");
            int precision = ReadNumber(stream);
            if (precision != (int)pages.Precision) throw Unusable($"its keys and values are kept as {(KvPrecision)precision}, expected {pages.Precision} as LoadOptions.KvCache says");
            if (ReadNumber(stream) != (config.HasLongFactors(context) ? 1 : 0))
            {
                throw Unusable(
                    $"its keys are turned by the factors for texts of {(config.HasLongFactors(context) ? "at most" : "more than")} {config.UsualContext} tokens, expected those for texts of {context}, as LoadOptions.ContextLength says");
            }

            int tokens = ReadNumber(stream), computed = ReadNumber(stream);
            if (tokens < 0 || tokens > context || computed < 0 || computed > Math.Max(0, tokens - 1))
            {
                throw Unusable($"it says that {computed} of {tokens} tokens are computed, expected fewer than all, of at most {context}");
            }

            List<int> ids = [];
            for (int i = 0; i < tokens; i++)
            {
                int id = ReadNumber(stream);
                ids.Add((uint)id < (uint)config.VocabularySize ? id : throw Unusable($"its token {i} is {id}, expected one below {config.VocabularySize}"));
            }

            // No more memory than the file has bytes for.
            byte[] bytes = new byte[computed == 0 ? 0 : checked((int)pages.PageBytes)];
            while (cache.Length < computed)
            {
                stream.ReadExactly(bytes);
                cache.Extend(Math.Min(KvPages.Tokens, computed - cache.Length));
                pages.Write(bytes, cache.Pages[^1]);
            }

            return new TextState(ids, cache);
        }
        catch (Exception e)
        {
            cache.Dispose();
            if (e is EndOfStreamException) throw Unusable("it ends too soon", e);
            throw;
        }
    }

    private static string Padded(string fingerprint) => fingerprint.PadRight(64)[..64];

    private static QuantBuildException Unusable(string reason, Exception? cause = null) => new(
        DiagnosticIds.SessionUnusable,
        $"The saved session cannot be used: {reason}. Load it with the model and options that it was saved with, or begin a session anew.", cause);

    private static void WriteNumber(Stream stream, int value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, value);
        stream.Write(bytes);
    }

    private static int ReadNumber(Stream stream)
    {
        Span<byte> bytes = stackalloc byte[sizeof(int)];
        stream.ReadExactly(bytes);
        return BinaryPrimitives.ReadInt32LittleEndian(bytes);
    }
}
