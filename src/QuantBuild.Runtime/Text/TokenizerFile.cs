using System.Buffers.Text;
using System.Text;

namespace QuantBuild.Text;

/// <summary>The kinds of files that tokenizers come in.</summary>
internal enum TokenizerKind
{
    /// <summary><c>tokenizer.json</c>, of the tokenizers library.</summary>
    Json,

    /// <summary><c>tokenizer.model</c>, of SentencePiece.</summary>
    SentencePiece,

    /// <summary>Lines of a token in base64 and its rank, of tiktoken.</summary>
    Tiktoken,
}

/// <summary>Tells the kinds of tokenizer files apart. Names do not: Llama 3's <c>tokenizer.model</c> is tiktoken's, and Llama 2's is SentencePiece's.</summary>
internal static class TokenizerFile
{
    /// <summary>The kind of a file.</summary>
    public static TokenizerKind KindOf(ReadOnlySpan<byte> file)
    {
        if (file.StartsWith(Encoding.UTF8.Preamble)) file = file[Encoding.UTF8.Preamble.Length..];
        ReadOnlySpan<byte> trimmed = file.Trim(" \t\r\n"u8);
        if (trimmed is [(byte)'{', .., (byte)'}']) return TokenizerKind.Json;
        // The first field of SentencePiece's message is a piece, whose first field is its text.
        if (file is [0x0A, _, 0x0A, ..] or [0x0A, _, _, 0x0A, ..]) return TokenizerKind.SentencePiece;
        int blank = file.IndexOf((byte)' ');
        return blank > 0 && blank < 1024 && Base64.IsValid(file[..blank]) && blank + 1 < file.Length && char.IsAsciiDigit((char)file[blank + 1]) ? TokenizerKind.Tiktoken : TokenizerKind.Json;
    }
}
