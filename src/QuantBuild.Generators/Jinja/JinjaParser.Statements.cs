namespace QuantBuild.Generators.Jinja;

/// <content>Statements: what stands between tags, and what tags say.</content>
internal sealed partial class JinjaParser
{
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
}
