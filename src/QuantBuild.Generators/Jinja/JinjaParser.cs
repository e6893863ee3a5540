namespace QuantBuild.Generators.Jinja;

/// <summary>
/// Reads a template as jinja2 does, with the extensions that transformers adds to it (<c>break</c>, <c>continue</c>, <c>generation</c>). A template is a stranger's text: its size and nesting are
/// limited, and what is not understood is an error at its place.
/// </summary>
internal sealed partial class JinjaParser
{
    /// <summary>The longest template, in characters; the longest published ones have a fifth of that.</summary>
    public const int LargestTemplate = 128 << 10;

    private const int DeepestExpression = 100;
    private const int DeepestStatement = 50;

    private readonly List<Token> tokens;
    private int next;
    private int expressionDepth;
    private int statementDepth;
    private int loops;

    private JinjaParser(List<Token> tokens) => this.tokens = tokens;

    private Token Current => tokens[next];

    /// <summary>Reads a template.</summary>
    /// <param name="source">Its text, with newlines <c>\n</c>.</param>
    /// <exception cref="JinjaException">It is malformed, too large, or asks for what is not supported.</exception>
    public static IReadOnlyList<Statement> Parse(string source)
    {
        if (source.Length > LargestTemplate) throw new JinjaException(0, $"the template has {source.Length} characters, and at most {LargestTemplate} are compiled");
        JinjaParser parser = new(JinjaLexer.Read(source));
        return parser.Body();
    }

    // Limits, and the tokens one by one.

    private Expression Deeper(Func<Expression> read)
    {
        if (++expressionDepth > DeepestExpression) throw new JinjaException(Current.Position, $"expressions are nested deeper than {DeepestExpression}");
        Expression value = read();
        expressionDepth--;
        return value;
    }

    /// <summary>A chain such as <c>a + b + c</c> is as deep as it is long.</summary>
    private void Count(ref int links)
    {
        if (++links > DeepestExpression) throw new JinjaException(Current.Position, $"an expression has more than {DeepestExpression} parts");
    }

    private bool IsName(string name) => Current.Kind == TokenKind.Name && Current.Text == name;

    private bool IsOperator(string text) => Current.Kind == TokenKind.Operator && Current.Text == text;

    private bool TakeName(string name)
    {
        if (!IsName(name)) return false;
        next++;
        return true;
    }

    private bool TakeOperator(string text)
    {
        if (!IsOperator(text)) return false;
        next++;
        return true;
    }

    private void ExpectOperator(string text)
    {
        if (!TakeOperator(text)) throw Unexpected($"'{text}'");
    }

    private Token Expect(TokenKind kind)
    {
        if (Current.Kind == kind) return tokens[next++];
        throw Unexpected(kind switch
        {
            TokenKind.BlockEnd => "%}",
            TokenKind.VariableEnd => "}}",
            TokenKind.Name => "a name",
            _ => kind.ToString(),
        });
    }

    private JinjaException Unexpected(string expected)
    {
        string actual = Current.Kind switch
        {
            TokenKind.BlockEnd => "%}",
            TokenKind.VariableEnd => "}}",
            TokenKind.String => "a string",
            TokenKind.End => "the end of the template",
            _ => $"'{Current.Text}'",
        };
        return new JinjaException(Current.Position, $"{expected} is expected, and {actual} found");
    }
}
