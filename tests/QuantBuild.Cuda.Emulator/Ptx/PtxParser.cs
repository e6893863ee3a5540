namespace QuantBuild.Cuda.Emulator;

/// <summary>Reads PTX text into a <see cref="PtxModule"/>; what it does not understand is an error with the line.</summary>
internal sealed class PtxParser
{
    private readonly string _text;
    private readonly List<Token> _tokens;
    private int _next;

    private PtxParser(string text) => (_text, _tokens) = (text, PtxLexer.Read(text));

    public static PtxModule Parse(string text) => new PtxParser(text).Module();

    private Token Current => _tokens[_next];

    private Token Take() => _tokens[_next++];

    private bool TryTake(string text)
    {
        if (!Current.Is(text)) return false;
        _next++;
        return true;
    }

    private Token Expect(string text) => Current.Is(text) ? Take() : throw Error($"'{text}' expected, '{Current.Text}' found");

    private string Word() => Current.Kind == TokenKind.Word ? Take().Text : throw Error($"a name expected, '{Current.Text}' found");

    private PtxException Error(string message) => new(Current.Line, message);

    private PtxModule Module()
    {
        int version = 0;
        int? target = null;
        bool exact = false, sized = false;
        List<PtxVariable> variables = [];
        Dictionary<string, PtxFunction> functions = [];
        if (!Current.Is(".version")) throw Error("Missing .version directive at start of file");
        while (Current.Kind != TokenKind.End)
        {
            string word = Current.Kind == TokenKind.Word ? Current.Text : throw Error($"a directive expected, '{Current.Text}' found");
            switch (word)
            {
                case ".version":
                    Take();
                    version = (int)Math.Round(BitConverter.UInt64BitsToDouble(Take().Value) * 10);
                    break;
                case ".target":
                    Take();
                    string name = Word();
                    if (!name.StartsWith("sm_", StringComparison.Ordinal) || !int.TryParse(name.AsSpan(3).TrimEnd('a'), out int number)) throw Error($"unknown target '{name}'");
                    (target, exact) = (number, name.EndsWith('a'));
                    while (TryTake(",")) Word();
                    break;
                case ".address_size":
                    Take();
                    if (Take().Value != 64) throw Error("only .address_size 64 is supported");
                    sized = true;
                    break;
                case ".file" or ".section":
                    SkipLine();
                    break;
                default:
                    TopLevel(variables, functions);
                    break;
            }
        }
        if (target is null) throw Error("Missing .target directive");
        return sized ? new(version, target.Value, exact, variables, functions) : throw Error("only .address_size 64 is supported");
    }

    private void SkipLine()
    {
        int line = Current.Line;
        while (Current.Kind != TokenKind.End && Current.Line == line) Take();
        if (!TryTake("{")) return;
        while (!TryTake("}")) Take();
    }

    private void TopLevel(List<PtxVariable> variables, Dictionary<string, PtxFunction> functions)
    {
        bool isExtern = false;
        while (Current.Is(".visible") || Current.Is(".weak") || Current.Is(".extern") || Current.Is(".common")) isExtern |= Take().Text == ".extern";
        if (TryTake(".entry"))
        {
            PtxFunction entry = Function(true);
            functions[entry.Name] = entry;
        }
        else if (TryTake(".func"))
        {
            PtxFunction function = Function(false);
            // A prototype may come before the body.
            if (function.Body is not null || !functions.ContainsKey(function.Name)) functions[function.Name] = function;
        }
        else
        {
            do variables.Add(Variable(isExtern));
            while (TryTake(","));
            Expect(";");
        }
    }

    private PtxFunction Function(bool isEntry)
    {
        List<PtxVariable> results = !isEntry && Current.Is("(") ? Parameters() : [];
        string name = Word();
        List<PtxVariable> parameters = Current.Is("(") ? Parameters() : [];
        int maxThreads = 0;
        (int, int, int)? required = null;
        while (!Current.Is("{") && !Current.Is(";"))
        {
            string directive = Word();
            switch (directive)
            {
                case ".noreturn":
                    break;
                case ".pragma":
                    Take();
                    Expect(";");
                    break;
                case ".maxntid" or ".reqntid" or ".minnctapersm" or ".maxnreg" or ".maxnctapersm":
                    int[] values = [(int)Take().Value, 1, 1];
                    for (int i = 1; TryTake(","); i++) values[i] = (int)Take().Value;
                    if (directive == ".maxntid") maxThreads = values[0] * values[1] * values[2];
                    if (directive == ".reqntid") required = (values[0], values[1], values[2]);
                    break;
                default:
                    throw Error($"unknown directive '{directive}'");
            }
        }
        return new(name, isEntry, parameters, results, TryTake(";") ? null : Body(), maxThreads, required);
    }

    private List<PtxVariable> Parameters()
    {
        List<PtxVariable> parameters = [];
        Expect("(");
        while (!TryTake(")"))
        {
            parameters.Add(Variable(false));
            TryTake(",");
        }
        return parameters;
    }

    /// <summary><c>.space [.align n] [.v2|.v4] .type name[dims] [= initialiser]</c>, without the end.</summary>
    private PtxVariable Variable(bool isExtern)
    {
        string space = Word();
        if (space is not (".global" or ".const" or ".shared" or ".local" or ".param" or ".reg")) throw Error($"unknown directive '{space}'");
        int align = 0, vector = 1;
        string type = "";
        while (Current.Kind == TokenKind.Word && Current.Text[0] == '.')
        {
            string word = Take().Text;
            switch (word)
            {
                case ".align":
                    align = (int)Take().Value;
                    break;
                case ".v2" or ".v4":
                    vector = word[2] - '0';
                    break;
                case ".ptr" or ".global" or ".shared" or ".const" or ".local" or ".attribute":
                    break;
                default:
                    type = word[1..];
                    break;
            }
        }
        int element = PtxTypes.Bytes(type, Current.Line) * vector;
        string name = Word();
        long count = 1;
        bool unsized = false;
        while (TryTake("["))
        {
            if (Current.Is("]")) unsized = true;
            else count *= (long)Take().Value;
            Expect("]");
        }
        List<(int, string, long)> addresses = [];
        byte[] initial = TryTake("=") ? Initial(type, element / vector, addresses) : [];
        if (unsized) count = initial.Length / element;
        return new(name, space[1..], type, Math.Max(align, vector > 1 ? element : Math.Max(element, 1)), count * element, isExtern, initial, addresses);
    }

    private byte[] Initial(string type, int element, List<(int At, string Symbol, long Offset)> addresses)
    {
        List<byte> bytes = [];
        int depth = 0;
        do
        {
            while (TryTake("{")) depth++;
            if (!Current.Is("}"))
            {
                ulong value = 0;
                if (Current.Kind == TokenKind.Word)
                {
                    bool generic = TryTake("generic");
                    if (generic) Expect("(");
                    string symbol = Word();
                    if (generic) Expect(")");
                    addresses.Add((bytes.Count, symbol, Current.Is("+") ? Offset() : 0));
                }
                else
                {
                    PtxImmediate immediate = Immediate();
                    value = PtxTypes.Bits(immediate, type);
                }
                for (int i = 0; i < element; i++) bytes.Add((byte)(value >> (8 * i)));
            }
            while (Current.Is("}"))
            {
                Take();
                depth--;
            }
        }
        while (TryTake(",") || depth > 0);
        return [.. bytes];
    }

    private List<PtxStatement> Body()
    {
        Expect("{");
        List<PtxStatement> statements = [];
        while (!TryTake("}"))
        {
            if (Current.Kind == TokenKind.End) throw Error("a body does not end");
            Statement(statements);
        }
        return statements;
    }

    private void Statement(List<PtxStatement> statements)
    {
        int line = Current.Line;
        if (TryTake(";")) return;
        if (Current.Is("{"))
        {
            statements.Add(new PtxScope(line, Body()));
            return;
        }
        if (Current.Kind == TokenKind.Word && _tokens[_next + 1].Is(":"))
        {
            string label = Word();
            Take();
            if (TryTake(".branchtargets"))
            {
                List<string> targets = [];
                do targets.Add(Word());
                while (TryTake(","));
                Expect(";");
                statements.Add(new PtxBranchTargets(line, label, targets));
            }
            else
            {
                statements.Add(new PtxLabel(line, label));
            }
            return;
        }
        switch (Current.Text)
        {
            case ".loc":
                SkipLine();
                return;
            case ".pragma":
                Take();
                Take();
                Expect(";");
                return;
            case ".reg":
                Take();
                while (Current.Is(".v2") || Current.Is(".v4")) throw Error("vector registers are not supported");
                string type = Word()[1..];
                do
                {
                    string name = Word();
                    int? count = null;
                    if (TryTake("<"))
                    {
                        count = (int)Take().Value;
                        Expect(">");
                    }
                    statements.Add(new PtxRegisters(line, type, name, count));
                }
                while (TryTake(","));
                Expect(";");
                return;
            case ".local" or ".shared" or ".param" or ".global" or ".const":
                statements.Add(new PtxDeclaration(line, Variable(false)));
                Expect(";");
                return;
            default:
                statements.Add(Instruction());
                return;
        }
    }

    private PtxInstruction Instruction()
    {
        Token first = Current;
        string? guard = null;
        bool negated = false;
        if (TryTake("@"))
        {
            negated = TryTake("!");
            guard = Word();
        }
        string opcode = Word();
        if (opcode[0] == '.') throw Error($"unknown directive '{opcode}'");
        List<PtxOperand> operands = [];
        while (!Current.Is(";"))
        {
            if (Current.Kind == TokenKind.End) throw Error("';' expected");
            operands.Add(Operand());
            if (!Current.Is(";")) Expect(",");
        }
        int end = Take().Start;
        string text = string.Join(' ', _text[first.Start..end].Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
        return new(first.Line, text, guard, negated, opcode.Split('.'), operands);
    }

    private PtxOperand Operand()
    {
        if (Current.Is("{") || Current.Is("("))
        {
            string end = Take().Text == "{" ? "}" : ")";
            List<PtxOperand> items = [];
            while (!TryTake(end))
            {
                items.Add(Operand());
                if (!Current.Is(end)) Expect(",");
            }
            return new PtxList(items);
        }
        if (TryTake("["))
        {
            string? name = Current.Kind == TokenKind.Word ? Take().Text : null;
            long offset = name is null ? (long)Immediate().Bits : Current.Is("+") || Current.Is("-") ? Offset() : 0;
            Expect("]");
            return new PtxAddress(name, offset);
        }
        if (Current.Kind == TokenKind.Word || Current.Is("!"))
        {
            bool negated = TryTake("!");
            PtxName name = new(Word(), negated);
            if (Current.Is("+")) return name with { Offset = Offset() };
            return TryTake("|") ? new PtxList([name, Operand()]) : name;
        }
        return Immediate();
    }

    private long Offset()
    {
        bool negative = Take().Text == "-";
        PtxImmediate value = Immediate();
        return negative ? -(long)value.Bits : (long)value.Bits;
    }

    private PtxImmediate Immediate()
    {
        bool negative = TryTake("-");
        Token token = Take();
        return token.Kind switch
        {
            TokenKind.Integer => new(token.Kind, negative ? 0 - token.Value : token.Value),
            TokenKind.Float32 => new(token.Kind, negative ? token.Value ^ 0x8000_0000 : token.Value),
            TokenKind.Float64 => new(token.Kind, negative ? token.Value ^ 0x8000_0000_0000_0000 : token.Value),
            _ => throw new PtxException(token.Line, $"a number expected, '{token.Text}' found"),
        };
    }
}
