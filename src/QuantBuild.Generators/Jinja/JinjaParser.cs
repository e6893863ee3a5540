using System.Globalization;

namespace QuantBuild.Generators.Jinja;

/// <summary>
/// Reads a template as jinja2 does, with the extensions that transformers adds to it (<c>break</c>, <c>continue</c>, <c>generation</c>). A template is a stranger's text: its size and nesting are
/// limited, and what is not understood is an error at its place.
/// </summary>
internal sealed class JinjaParser
{
    /// <summary>The longest template, in characters; the longest published ones have a fifth of that.</summary>
    public const int LargestTemplate = 128 << 10;

    private const int DeepestExpression = 100;
    private const int DeepestStatement = 50;

    private static readonly string[] Comparisons = ["==", "!=", "<", "<=", ">", ">="];

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

    // Statements.

    /// <summary>Statements up to a tag that ends them, which stays to be read; without one, up to the end.</summary>
    private List<Statement> Body(params string[] ends)
    {
        if (++statementDepth > DeepestStatement) throw new JinjaException(Current.Position, $"blocks are nested deeper than {DeepestStatement}");
        List<Statement> body = [];
        while (true)
        {
            Token token = Current;
            switch (token.Kind)
            {
                case TokenKind.Data:
                    next++;
                    body.Add(new Data(token.Position, token.Text));
                    break;
                case TokenKind.VariableBegin:
                    next++;
                    body.Add(new Output(token.Position, TupleOrExpression()));
                    Expect(TokenKind.VariableEnd);
                    break;
                case TokenKind.BlockBegin:
                    next++;
                    if (Current.Kind == TokenKind.Name && ends.Contains(Current.Text))
                    {
                        statementDepth--;
                        return body;
                    }

                    body.Add(ReadStatement());
                    Expect(TokenKind.BlockEnd);
                    break;
                default:
                    if (ends.Length > 0) throw new JinjaException(token.Position, $"the template ends where {string.Join(" or ", ends)} is expected");
                    statementDepth--;
                    return body;
            }
        }
    }

    /// <summary>The same as the whole rest of a block: its first tag's end, the statements, and the name in the tag that ends it.</summary>
    private List<Statement> BodyOf(string end)
    {
        Expect(TokenKind.BlockEnd);
        List<Statement> body = Body(end);
        next++;
        return body;
    }

    private Statement ReadStatement()
    {
        Token tag = Expect(TokenKind.Name);
        switch (tag.Text)
        {
            case "if":
                return ReadIf(tag);
            case "for":
                return ReadFor(tag);
            case "set":
                return ReadSet(tag);
            case "macro":
                return ReadMacro(tag);
            case "call":
                return ReadCall(tag);
            case "filter":
                Expression filter = Filters(null);
                return new FilterBlock(tag.Position, filter, BodyOf("endfilter"));
            case "with":
                return ReadWith(tag);
            case "generation":
                return new With(tag.Position, [], BodyOf("endgeneration"));
            case "break" or "continue":
                if (loops == 0) throw new JinjaException(tag.Position, $"'{tag.Text}' is in no loop");
                return new LeaveLoop(tag.Position, tag.Text == "break");
            default:
                throw new JinjaException(tag.Position, $"the tag '{tag.Text}' is not supported");
        }
    }

    private If ReadIf(Token tag)
    {
        List<KeyValuePair<Expression, IReadOnlyList<Statement>>> branches = [];
        while (true)
        {
            Expression condition = TupleOrExpression();
            Expect(TokenKind.BlockEnd);
            branches.Add(new(condition, Body("elif", "else", "endif")));
            if (branches.Count > DeepestExpression) throw new JinjaException(tag.Position, $"the block has more than {DeepestExpression} branches");
            string end = tokens[next++].Text;
            if (end == "elif") continue;
            return new If(tag.Position, branches, end == "else" ? BodyOf("endif") : []);
        }
    }

    private For ReadFor(Token tag)
    {
        Expression target = AssignTarget(TokenKind.Name, "in");
        if (!TakeName("in")) throw Unexpected("'in'");
        Expression items = TupleOrExpression(conditional: false);
        Expression? condition = TakeName("if") ? ReadExpression() : null;
        if (IsName("recursive")) throw new JinjaException(Current.Position, "recursive loops are not supported");
        Expect(TokenKind.BlockEnd);
        loops++;
        List<Statement> body = Body("else", "endfor");
        loops--;
        bool hasElse = tokens[next++].Text == "else";
        return new For(tag.Position, target, items, condition, body, hasElse ? BodyOf("endfor") : []);
    }

    private Statement ReadSet(Token tag)
    {
        Expression target = AssignTarget(TokenKind.Operator, "=");
        if (TakeOperator("=")) return new Set(tag.Position, target, TupleOrExpression());
        if (target is TupleOf) throw new JinjaException(target.Position, "a block is assigned to several names");
        Expression? filter = IsOperator("|") ? Filters(null) : null;
        return new SetBlock(tag.Position, target, filter, OwnLoops(() => BodyOf("endset")));
    }

    private MacroOf ReadMacro(Token tag)
    {
        string name = Expect(TokenKind.Name).Text;
        (List<string> parameters, List<Expression> defaults) = Signature();
        return new MacroOf(tag.Position, name, parameters, defaults, OwnLoops(() => BodyOf("endmacro")));
    }

    private CallBlock ReadCall(Token tag)
    {
        (List<string> parameters, List<Expression> defaults) = IsOperator("(") ? Signature() : ([], []);
        if (ReadExpression() is not CallOf call) throw new JinjaException(tag.Position, "what is called is expected");
        List<Statement> body = OwnLoops(() => BodyOf("endcall"));
        return new CallBlock(tag.Position, call, new MacroOf(tag.Position, "caller", parameters, defaults, body));
    }

    private With ReadWith(Token tag)
    {
        List<KeyValuePair<string, Expression>> values = [];
        while (Current.Kind != TokenKind.BlockEnd)
        {
            if (values.Count > 0) ExpectOperator(",");
            string name = Expect(TokenKind.Name).Text;
            ExpectOperator("=");
            values.Add(new(name, ReadExpression()));
        }

        return new With(tag.Position, values, BodyOf("endwith"));
    }

    /// <summary>A body that a loop around it cannot be left from.</summary>
    private List<Statement> OwnLoops(Func<List<Statement>> body)
    {
        int outer = loops;
        loops = 0;
        List<Statement> statements = body();
        loops = outer;
        return statements;
    }

    private (List<string> Parameters, List<Expression> Defaults) Signature()
    {
        List<string> parameters = [];
        List<Expression> defaults = [];
        ExpectOperator("(");
        while (!IsOperator(")"))
        {
            if (parameters.Count > 0) ExpectOperator(",");
            Token name = Expect(TokenKind.Name);
            if (parameters.Contains(name.Text)) throw new JinjaException(name.Position, $"the parameter '{name.Text}' comes twice");
            if (name.Text == "caller") throw new JinjaException(name.Position, "a parameter 'caller' is not supported");
            parameters.Add(name.Text);
            if (TakeOperator("=")) defaults.Add(ReadExpression());
            else if (defaults.Count > 0) throw new JinjaException(name.Position, "a parameter without a default follows one that has one");
        }

        next++;
        return (parameters, defaults);
    }

    /// <summary>A name, an attribute of a name, or several of them.</summary>
    private Expression AssignTarget(TokenKind endKind, string end)
    {
        int position = Current.Position;
        List<Expression> targets = [];
        bool isTuple = false;
        do
        {
            if (targets.Count > 0 && Current.Kind == endKind && Current.Text == end) break;
            if (TakeOperator("("))
            {
                targets.Add(Deeper(() => AssignTarget(TokenKind.Operator, ")")));
                ExpectOperator(")");
                continue;
            }

            Token name = Expect(TokenKind.Name);
            if (name.Text is "true" or "false" or "none" or "True" or "False" or "None") throw new JinjaException(name.Position, $"can't assign to '{name.Text}'");
            Expression target = new Name(name.Position, name.Text);
            if (endKind == TokenKind.Operator && TakeOperator(".")) target = new AttributeOf(name.Position, target, Expect(TokenKind.Name).Text);
            targets.Add(target);
        }
        while (TakeOperator(",") && (isTuple = true));
        return isTuple ? new TupleOf(position, targets) : targets[0];
    }

    // Expressions, from those that bind least.

    /// <summary>An expression, or several with commas between them.</summary>
    private Expression TupleOrExpression(bool conditional = true)
    {
        int position = Current.Position;
        List<Expression> items = [];
        bool isTuple = false;
        while (!EndsTuple(conditional))
        {
            items.Add(conditional ? ReadExpression() : Deeper(Or));
            if (!TakeOperator(",")) break;
            isTuple = true;
        }

        if (isTuple) return new TupleOf(position, items);
        return items.Count == 1 ? items[0] : throw Unexpected("an expression");
    }

    private bool EndsTuple(bool conditional) =>
        Current.Kind is TokenKind.BlockEnd or TokenKind.VariableEnd || IsOperator(")") || (!conditional && (IsName("if") || IsName("recursive")));

    private Expression ReadExpression() => Deeper(() =>
    {
        Expression value = Or();
        int links = 0;
        while (IsName("if"))
        {
            Count(ref links);
            int position = tokens[next++].Position;
            Expression condition = Or();
            value = new Conditional(position, condition, value, TakeName("else") ? ReadExpression() : null);
        }

        return value;
    });

    private Expression Or() => LeftToRight(And, name: "or");

    private Expression And() => LeftToRight(Not, name: "and");

    private Expression Not()
    {
        if (!IsName("not")) return Compare();
        int position = tokens[next++].Position;
        return new Unary(position, "not", Deeper(Not));
    }

    private Expression Compare()
    {
        Expression first = Sum();
        List<string> operators = [];
        List<Expression> operands = [];
        while (true)
        {
            if (Current.Kind == TokenKind.Operator && Comparisons.Contains(Current.Text))
            {
                operators.Add(tokens[next++].Text);
            }
            else if (TakeName("in"))
            {
                operators.Add("in");
            }
            else if (IsName("not") && tokens[next + 1] is { Kind: TokenKind.Name, Text: "in" })
            {
                next += 2;
                operators.Add("not in");
            }
            else
            {
                return operators.Count == 0 ? first : new Comparison(first.Position, first, operators, operands);
            }

            operands.Add(Sum());
        }
    }

    private Expression Sum() => LeftToRight(Concat, operators: ["+", "-"]);

    private Expression Concat()
    {
        Expression first = Product();
        if (!IsOperator("~")) return first;
        List<Expression> items = [first];
        while (TakeOperator("~")) items.Add(Product());
        return new ConcatOf(first.Position, items);
    }

    private Expression Product() => LeftToRight(Power, operators: ["*", "/", "//", "%"]);

    private Expression Power() => LeftToRight(() => Unary(withFilters: true), operators: ["**"]);

    private Expression Unary(bool withFilters)
    {
        Token token = Current;
        Expression value;
        if (IsOperator("-") || IsOperator("+"))
        {
            next++;
            value = new Unary(token.Position, token.Text, Deeper(() => Unary(withFilters: false)));
        }
        else
        {
            value = Primary();
        }

        value = Postfix(value);
        return withFilters ? Filters(value) : value;
    }

    private Expression Primary()
    {
        Token token = Current;
        next++;
        switch (token.Kind)
        {
            case TokenKind.Name:
                return token.Text switch
                {
                    "true" or "True" => new Constant(token.Position, true),
                    "false" or "False" => new Constant(token.Position, false),
                    "none" or "None" => new Constant(token.Position, null),
                    _ => new Name(token.Position, token.Text),
                };
            case TokenKind.String:
                List<string> parts = [token.Text];
                while (Current.Kind == TokenKind.String) parts.Add(tokens[next++].Text);
                return new Constant(token.Position, string.Concat(parts));
            case TokenKind.Integer:
                return long.TryParse(token.Text, NumberStyles.None, CultureInfo.InvariantCulture, out long integer)
                    ? new Constant(token.Position, integer)
                    : throw new JinjaException(token.Position, $"the number {token.Text} is larger than 64 bits");
            case TokenKind.Float:
                return new Constant(token.Position, double.Parse(token.Text, CultureInfo.InvariantCulture));
            case TokenKind.Operator when token.Text == "(":
                if (TakeOperator(")")) return new TupleOf(token.Position, []);
                Expression inner = Deeper(() => TupleOrExpression());
                ExpectOperator(")");
                return inner;
            case TokenKind.Operator when token.Text == "[":
                return new ListOf(token.Position, Items("]", items => items.Add(ReadExpression())));
            case TokenKind.Operator when token.Text == "{":
                return new MappingOf(token.Position, Items("}", items =>
                {
                    items.Add(ReadExpression());
                    ExpectOperator(":");
                    items.Add(ReadExpression());
                }));
            default:
                next--;
                throw Unexpected("an expression");
        }
    }

    private List<Expression> Items(string end, Action<List<Expression>> read)
    {
        List<Expression> items = [];
        while (!IsOperator(end))
        {
            if (items.Count > 0) ExpectOperator(",");
            if (IsOperator(end)) break;
            read(items);
        }

        next++;
        return items;
    }

    private Expression Postfix(Expression value)
    {
        int links = 0;
        while (true)
        {
            Token token = Current;
            if (IsOperator("(")) value = new CallOf(token.Position, value, ReadArguments());
            else if (TakeOperator(".")) value = ReadAttribute(value, token.Position);
            else if (TakeOperator("[")) value = ReadItem(value, token.Position);
            else return value;
            Count(ref links);
        }
    }

    private Expression ReadAttribute(Expression value, int position)
    {
        Token name = Current;
        if (name.Kind == TokenKind.Integer) return new ItemOf(position, value, Primary());
        return new AttributeOf(position, value, Expect(TokenKind.Name).Text);
    }

    private Expression ReadItem(Expression value, int position)
    {
        Expression?[] bounds = new Expression?[3];
        int bound = 0;
        while (!IsOperator("]"))
        {
            if (TakeOperator(":"))
            {
                if (++bound > 2) throw Unexpected("]");
            }
            else if (bounds[bound] is null)
            {
                bounds[bound] = ReadExpression();
            }
            else
            {
                throw Unexpected("]");
            }
        }

        next++;
        if (bound > 0) return new SliceOf(position, value, bounds[0], bounds[1], bounds[2]);
        return new ItemOf(position, value, bounds[0] ?? throw new JinjaException(position, "an index is expected"));
    }

    private Expression Filters(Expression? value)
    {
        int links = 0;
        bool isFirst = value is null;
        while (true)
        {
            Token token = Current;
            // A block's filters may begin without a bar.
            if (TakeOperator("|") || isFirst)
            {
                isFirst = false;
                Token name = Expect(TokenKind.Name);
                value = new FilterOf(name.Position, value, name.Text, IsOperator("(") ? ReadArguments() : Arguments.None);
            }
            else if (value is not null && TakeName("is"))
            {
                value = ReadTest(value);
            }
            else if (value is not null && IsOperator("("))
            {
                value = new CallOf(token.Position, value, ReadArguments());
            }
            else
            {
                return value!;
            }

            Count(ref links);
        }
    }

    private Expression ReadTest(Expression value)
    {
        bool negated = TakeName("not");
        Token name = Expect(TokenKind.Name);
        Arguments arguments = Arguments.None;
        if (IsOperator("("))
        {
            arguments = ReadArguments();
        }
        else if ((Current.Kind is TokenKind.String or TokenKind.Integer or TokenKind.Float || IsOperator("[") || IsOperator("{") || Current.Kind == TokenKind.Name)
            && !(IsName("else") || IsName("or") || IsName("and")))
        {
            if (IsName("is")) throw new JinjaException(Current.Position, "tests cannot be chained with 'is'");
            arguments = new Arguments([Deeper(() => Postfix(Primary()))], []);
        }

        Expression test = new TestOf(name.Position, value, name.Text, arguments);
        return negated ? new Unary(name.Position, "not", test) : test;
    }

    private Arguments ReadArguments()
    {
        ExpectOperator("(");
        List<Expression> values = [];
        List<string> names = [];
        Expression? rest = null;
        while (!IsOperator(")"))
        {
            if (values.Count > 0 || rest is not null) ExpectOperator(",");
            if (IsOperator(")")) break;
            if (IsOperator("**")) throw new JinjaException(Current.Position, "arguments of a mapping are not supported");
            if (IsOperator("*") && rest is null)
            {
                next++;
                rest = ReadExpression();
                continue;
            }

            if (Current.Kind == TokenKind.Name && tokens[next + 1] is { Kind: TokenKind.Operator, Text: "=" })
            {
                names.Add(Current.Text);
                next += 2;
            }
            else if (names.Count > 0 || rest is not null)
            {
                throw new JinjaException(Current.Position, "an argument without a name follows one that has one");
            }

            values.Add(ReadExpression());
        }

        next++;
        return new Arguments(values, names, rest);
    }

    private Expression LeftToRight(Func<Expression> operand, string name = "", params string[] operators)
    {
        Expression left = operand();
        int links = 0;
        while ((name.Length > 0 && IsName(name)) || (Current.Kind == TokenKind.Operator && operators.Contains(Current.Text)))
        {
            Count(ref links);
            Token token = tokens[next++];
            left = new Binary(token.Position, token.Text, left, operand());
        }

        return left;
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
