using System.Globalization;
using System.Text;

namespace QuantBuild.Generators.Jinja;

/// <summary>What a token is.</summary>
internal enum TokenKind
{
    /// <summary>Text between tags.</summary>
    Data,
    BlockBegin,
    BlockEnd,
    VariableBegin,
    VariableEnd,
    Name,
    String,
    Integer,
    Float,
    Operator,
    End,
}

/// <summary>A token.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Text">Its text; that of a string without quotes and escapes.</param>
/// <param name="Position">Where it is in the template.</param>
internal readonly record struct Token(TokenKind Kind, string Text, int Position);

/// <summary>A template that cannot be compiled.</summary>
internal sealed class JinjaException(int position, string message) : Exception(message)
{
    /// <summary>Where, in the template.</summary>
    public int Position => position;
}

/// <summary>
/// Takes a template apart into tokens as jinja2 does with the settings of transformers: a tag takes the newline after it and the white space before it in its line (<c>trim_blocks</c>,
/// <c>lstrip_blocks</c>), minus takes all white space, plus none.
/// </summary>
internal sealed class JinjaLexer
{
    private static readonly string[] Operators =
    [
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";",
    ];

    private readonly string source;
    private readonly List<Token> tokens = [];
    private int position;

    // Whether only white space need come before a tag for that to be the beginning of a line.
    private bool lineStarting = true;

    private JinjaLexer(string source) => this.source = source;

    /// <summary>The tokens of a template.</summary>
    /// <param name="source">The template; its newlines are <c>\n</c>.</param>
    /// <exception cref="JinjaException">It is malformed.</exception>
    public static List<Token> Read(string source)
    {
        // One newline at the end belongs to the file, not to the text.
        JinjaLexer lexer = new(source.EndsWith("\n", StringComparison.Ordinal) ? source.Substring(0, source.Length - 1) : source);
        lexer.ReadAll();
        return lexer.tokens;
    }

    /// <summary>Whether Python takes a character for white space.</summary>
    private static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\x1c' and <= '\x1f';

    private void ReadAll()
    {
        while (position < source.Length)
        {
            int tag = NextTag(position);
            if (tag < 0)
            {
                AddData(position, source.Substring(position));
                break;
            }

            char kind = source[tag + 1];
            int after = tag + 2;
            char sign = TakeSign(ref after);
            AddData(position, BeforeTag(position, tag, sign, strips: kind != '{'));
            position = after;
            if (kind == '#') SkipComment(tag);
            else if (kind == '%' && IsWord(position, "raw", out int raw)) ReadRaw(tag, raw);
            else ReadTag(tag, kind == '%');
        }

        tokens.Add(new Token(TokenKind.End, "", source.Length));
    }

    private int NextTag(int from)
    {
        for (int i = source.IndexOf('{', from); i >= 0 && i + 1 < source.Length; i = source.IndexOf('{', i + 1))
        {
            if (source[i + 1] is '%' or '{' or '#') return i;
        }

        return -1;
    }

    private char TakeSign(ref int at)
    {
        if (at >= source.Length || source[at] is not ('-' or '+')) return '\0';
        return source[at++];
    }

    /// <summary>The text before a tag, without the white space that the tag takes.</summary>
    private string BeforeTag(int start, int tag, char sign, bool strips)
    {
        int end = tag;
        if (sign == '-')
        {
            while (end > start && IsSpace(source[end - 1])) end--;
        }
        else if (sign != '+' && strips)
        {
            int line = tag;
            while (line > start && source[line - 1] != '\n' && IsSpace(source[line - 1])) line--;
            if (line == start ? lineStarting : source[line - 1] == '\n') end = line;
        }

        return source.Substring(start, end - start);
    }

    private void AddData(int start, string text)
    {
        if (text.Length > 0) tokens.Add(new Token(TokenKind.Data, text, start));
    }

    private void SkipComment(int tag)
    {
        int end = source.IndexOf("#}", position, StringComparison.Ordinal);
        if (end < 0) throw new JinjaException(tag, "the comment has no end");
        char sign = end > position ? source[end - 1] : '\0';
        position = end + 2;
        AfterTag(sign, trims: true);
    }

    /// <summary>Takes what a tag takes of the white space after it.</summary>
    private void AfterTag(char sign, bool trims)
    {
        int start = position;
        if (sign == '-')
        {
            while (position < source.Length && IsSpace(source[position])) position++;
        }
        else if (sign != '+' && trims && position < source.Length && source[position] == '\n')
        {
            position++;
        }

        lineStarting = position > start && source[position - 1] == '\n';
    }

    /// <summary>Whether a tag is a word alone, and where it ends.</summary>
    private bool IsWord(int at, string word, out int end)
    {
        end = at;
        while (end < source.Length && IsSpace(source[end])) end++;
        if (string.CompareOrdinal(source, end, word, 0, word.Length) != 0) return false;
        end += word.Length;
        while (end < source.Length && IsSpace(source[end])) end++;
        int sign = end < source.Length && source[end] is '-' or '+' ? 1 : 0;
        if (string.CompareOrdinal(source, end + sign, "%}", 0, 2) != 0) return false;
        end += sign + 2;
        return true;
    }

    private void ReadRaw(int tag, int start)
    {
        // What begins raw text takes no newline.
        position = start;
        AfterTag(source[start - 3], trims: false);
        for (int at = source.IndexOf("{%", position, StringComparison.Ordinal); at >= 0; at = source.IndexOf("{%", at + 1, StringComparison.Ordinal))
        {
            int after = at + 2;
            char sign = TakeSign(ref after);
            if (!IsWord(after, "endraw", out int end)) continue;
            AddData(position, BeforeTag(position, at, sign, strips: true));
            position = end;
            AfterTag(source[end - 3], trims: true);
            return;
        }

        throw new JinjaException(tag, "the raw block has no end");
    }

    private void ReadTag(int tag, bool isBlock)
    {
        string end = isBlock ? "%}" : "}}";
        tokens.Add(new Token(isBlock ? TokenKind.BlockBegin : TokenKind.VariableBegin, "", tag));
        Stack<char> open = new();
        while (true)
        {
            while (position < source.Length && IsSpace(source[position])) position++;
            if (position >= source.Length) throw new JinjaException(tag, isBlock ? "the tag has no %}" : "the tag has no }}");

            // Within braces, two that close are no end.
            char sign = source[position] is '-' or '+' ? source[position] : '\0';
            int at = sign == '\0' ? position : position + 1;
            if (open.Count == 0 && (isBlock || sign != '+') && string.CompareOrdinal(source, at, end, 0, 2) == 0)
            {
                tokens.Add(new Token(isBlock ? TokenKind.BlockEnd : TokenKind.VariableEnd, "", position));
                position = at + 2;
                AfterTag(sign, trims: isBlock);
                return;
            }

            ReadToken(open);
        }
    }

    private void ReadToken(Stack<char> open)
    {
        char c = source[position];
        if (c is >= '0' and <= '9')
        {
            ReadNumber();
        }
        else if (char.IsLetter(c) || c == '_')
        {
            int start = position;
            while (position < source.Length && (char.IsLetterOrDigit(source[position]) || source[position] == '_')) position++;
            tokens.Add(new Token(TokenKind.Name, source.Substring(start, position - start), start));
        }
        else if (c is '"' or '\'')
        {
            ReadString(c);
        }
        else
        {
            string symbol = Operators.FirstOrDefault(o => string.CompareOrdinal(source, position, o, 0, o.Length) == 0)
                ?? throw new JinjaException(position, $"unexpected character {Shown(c)}");
            if (c is '(' or '[' or '{') open.Push(c);
            if (c is ')' or ']' or '}' && (open.Count == 0 || open.Pop() != (c == ')' ? '(' : c == ']' ? '[' : '{'))) throw new JinjaException(position, $"unexpected '{c}'");
            tokens.Add(new Token(TokenKind.Operator, symbol, position));
            position += symbol.Length;
        }
    }

    private void ReadNumber()
    {
        int start = position;
        bool afterDot = start > 0 && source[start - 1] == '.';
        SkipDigits();
        bool isFloat = false;
        if (!afterDot && position + 1 < source.Length && source[position] == '.' && char.IsDigit(source[position + 1]))
        {
            isFloat = true;
            position++;
            SkipDigits();
        }

        if (!afterDot && position < source.Length && source[position] is 'e' or 'E')
        {
            int digits = position + 1;
            if (digits < source.Length && source[digits] is '+' or '-') digits++;
            if (digits < source.Length && char.IsDigit(source[digits]))
            {
                isFloat = true;
                position = digits;
                SkipDigits();
            }
        }

        string text = source.Substring(start, position - start).Replace("_", "");
        if (!isFloat && text.Length > 1 && text[0] == '0' && text.Trim('0').Length > 0) throw new JinjaException(start, $"{text} is not a number");
        tokens.Add(new Token(isFloat ? TokenKind.Float : TokenKind.Integer, text, start));
    }

    private void SkipDigits()
    {
        while (position < source.Length && (source[position] is >= '0' and <= '9' || (source[position] == '_' && position + 1 < source.Length && char.IsDigit(source[position + 1])))) position++;
    }

    private void ReadString(char quote)
    {
        int start = position++;
        StringBuilder text = new();
        while (true)
        {
            if (position >= source.Length) throw new JinjaException(start, "the string has no end");
            char c = source[position++];
            if (c == quote) break;
            if (c != '\\') text.Append(c);
            else if (position < source.Length) ReadEscape(text);
        }

        tokens.Add(new Token(TokenKind.String, text.ToString(), start));
    }

    /// <summary>An escape of Python. What is none stays as it is.</summary>
    private void ReadEscape(StringBuilder text)
    {
        char c = source[position++];
        switch (c)
        {
            case '\n':
                break;
            case '\\' or '\'' or '"':
                text.Append(c);
                break;
            case 'n':
                text.Append('\n');
                break;
            case 't':
                text.Append('\t');
                break;
            case 'r':
                text.Append('\r');
                break;
            case 'a':
                text.Append('\a');
                break;
            case 'b':
                text.Append('\b');
                break;
            case 'f':
                text.Append('\f');
                break;
            case 'v':
                text.Append('\v');
                break;
            case 'x':
                AppendCode(text, ReadDigits(2, 2, 16));
                break;
            case 'u':
                AppendCode(text, ReadDigits(4, 4, 16));
                break;
            case 'U':
                AppendCode(text, ReadDigits(8, 8, 16));
                break;
            case >= '0' and <= '7':
                position--;
                AppendCode(text, ReadDigits(1, 3, 8));
                break;
            case 'N':
                throw new JinjaException(position - 2, "characters by name (\\N{…}) are not supported");
            default:
                text.Append('\\').Append(c);
                break;
        }
    }

    private long ReadDigits(int least, int most, int numberBase)
    {
        int start = position;
        long value = 0;
        while (position < source.Length && position - start < most && DigitOf(source[position]) is { } digit && digit < numberBase)
        {
            value = (value * numberBase) + digit;
            position++;
        }

        return position - start >= least ? value : throw new JinjaException(start, $"an escape lacks digits: {least} are expected");
    }

    private static int? DigitOf(char c) => c switch
    {
        >= '0' and <= '9' => c - '0',
        >= 'a' and <= 'f' => c - 'a' + 10,
        >= 'A' and <= 'F' => c - 'A' + 10,
        _ => null,
    };

    private void AppendCode(StringBuilder text, long code)
    {
        if (code > 0x10ffff) throw new JinjaException(position, "an escape is no character");
        if (code > 0xffff) text.Append(char.ConvertFromUtf32((int)code));
        else text.Append((char)code);
    }

    private static string Shown(char c) => char.IsControl(c) || char.IsSurrogate(c) ? string.Format(CultureInfo.InvariantCulture, "U+{0:X4}", (int)c) : $"'{c}'";
}
