using System.Globalization;

namespace QuantBuild.Cuda.Emulator;

internal enum TokenKind { End, Word, Integer, Float32, Float64, Text, Punctuation }

/// <summary>One token: <paramref name="Value"/> holds an integer's two's complement, or the bits of a float32 or float64.</summary>
internal readonly record struct Token(TokenKind Kind, string Text, ulong Value, int Line, int Start)
{
    public bool Is(string text) => Kind is TokenKind.Word or TokenKind.Punctuation && Text == text;
}

/// <summary>PTX text as tokens. An opcode with its modifiers (<c>ld.global.v4.f32</c>) is one word, as is a register (<c>%tid.x</c>).</summary>
internal static class PtxLexer
{
    public static List<Token> Read(string text)
    {
        List<Token> tokens = [];
        int line = 1, i = 0;
        while (i < text.Length && text[i] != '\0')
        {
            char c = text[i];
            if (c == '\n') line++;
            if (char.IsWhiteSpace(c))
            {
                i++;
            }
            else if (c == '/' && i + 1 < text.Length && text[i + 1] == '/')
            {
                while (i < text.Length && text[i] != '\n') i++;
            }
            else if (c == '/' && i + 1 < text.Length && text[i + 1] == '*')
            {
                int end = text.IndexOf("*/", i + 2, StringComparison.Ordinal);
                if (end < 0) throw new PtxException(line, "a comment does not end");
                line += text.AsSpan(i, end - i).Count('\n');
                i = end + 2;
            }
            else if (c == '"')
            {
                int end = text.IndexOf('"', i + 1);
                if (end < 0) throw new PtxException(line, "a string does not end");
                tokens.Add(new(TokenKind.Text, text[(i + 1)..end], 0, line, i));
                i = end + 1;
            }
            else if (char.IsAsciiDigit(c))
            {
                i = Number(text, i, line, tokens);
            }
            else if (char.IsAsciiLetter(c) || c is '_' or '$' or '%' or '.')
            {
                int start = i++;
                while (i < text.Length && (IsWordPart(text[i]) || (text[i] == ':' && i + 1 < text.Length && text[i + 1] == ':')))
                    i += text[i] == ':' ? 2 : 1;
                tokens.Add(new(TokenKind.Word, text[start..i], 0, line, start));
            }
            else
            {
                tokens.Add(new(TokenKind.Punctuation, c.ToString(), 0, line, i++));
            }
        }
        tokens.Add(new(TokenKind.End, "", 0, line, text.Length));
        return tokens;
    }

    private static bool IsWordPart(char c) => char.IsAsciiLetterOrDigit(c) || c is '_' or '$' or '.' or '%';

    private static int Number(string text, int start, int line, List<Token> tokens)
    {
        int i = start;
        char kind = i + 1 < text.Length && text[i] == '0' ? char.ToLowerInvariant(text[i + 1]) : ' ';
        if (kind is 'x' or 'f' or 'd' or 'b')
        {
            i += 2;
            int digits = i;
            while (i < text.Length && char.IsAsciiHexDigit(text[i])) i++;
            ReadOnlySpan<char> body = text.AsSpan(digits, i - digits);
            if (i < text.Length && text[i] is 'U' or 'u') i++;
            ulong value = kind == 'b' ? Convert.ToUInt64(body.ToString(), 2) : ulong.Parse(body, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            tokens.Add(new(kind switch { 'f' => TokenKind.Float32, 'd' => TokenKind.Float64, _ => TokenKind.Integer }, text[start..i], value, line, start));
            return i;
        }
        while (i < text.Length && char.IsAsciiDigit(text[i])) i++;
        bool real = i + 1 < text.Length && text[i] == '.' && char.IsAsciiDigit(text[i + 1]);
        if (real)
        {
            i++;
            while (i < text.Length && (char.IsAsciiDigit(text[i]) || text[i] is 'e' or 'E' || (text[i] is '+' or '-' && text[i - 1] is 'e' or 'E'))) i++;
            double value = double.Parse(text.AsSpan(start, i - start), CultureInfo.InvariantCulture);
            tokens.Add(new(TokenKind.Float64, text[start..i], BitConverter.DoubleToUInt64Bits(value), line, start));
            return i;
        }
        ulong integer = ulong.Parse(text.AsSpan(start, i - start), CultureInfo.InvariantCulture);
        if (i < text.Length && text[i] is 'U' or 'u') i++;
        tokens.Add(new(TokenKind.Integer, text[start..i], integer, line, start));
        return i;
    }
}

/// <summary>PTX that the driver refuses, with the line.</summary>
internal sealed class PtxException(int line, string message) : Exception($"ptxas application ptx input, line {line}; error : {message}");
