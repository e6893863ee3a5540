using System.Globalization;

namespace QuantBuild.Generators.Jinja;

/// <content>Expressions, from those that bind least.</content>
internal sealed partial class JinjaParser
{
    private static readonly string[] Comparisons = ["==", "!=", "<", "<=", ">", ">="];

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
}
