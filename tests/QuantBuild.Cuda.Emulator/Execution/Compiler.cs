namespace QuantBuild.Cuda.Emulator;

/// <summary>
/// Decodes a kernel of a parsed module. Each PTX register has a place of its own in the warp's registers, and so has each immediate, so that an instruction needs no operand modes; device functions
/// are inlined where they are called, with registers of their own.
/// </summary>
internal sealed unsafe partial class Compiler
{
    private const int MostInlined = 64;

    private readonly PtxModule _module;
    private readonly Func<string, ulong?> _address;
    private readonly List<Instruction> _code = [];
    private readonly Dictionary<(ulong, bool), int> _constants = [];
    private readonly Dictionary<bool, int> _constantPredicates = [];
    private readonly Dictionary<string, int> _specials = [];
    private readonly List<(Instruction Instruction, int Part, Label Label)> _jumps = [];
    private readonly Stack<string> _inlined = [];
    private int _registerBytes, _predicateBytes, _predicateBlock;
    private int _sharedBytes, _localBytes;
    private Scope _scope = new(null);
    private PtxInstruction _at = null!;
    private Label? _return;

    private Compiler(PtxModule module, Func<string, ulong?> address) => (_module, _address) = (module, address);

    /// <param name="address">The device address of a <c>.global</c> or <c>.const</c> variable; null where there is none of that name.</param>
    public static KernelProgram Compile(PtxModule module, PtxFunction entry, Func<string, ulong?> address) => new Compiler(module, address).Kernel(entry);

    /// <summary>A place in the code, known once it is reached.</summary>
    private sealed class Label { public int Pc = -1; }

    /// <summary>A register: its place, its type and whether a lane has 64 bits.</summary>
    private sealed record Register(int Slot, string Type)
    {
        public bool Wide => Type is "b64" or "u64" or "s64" or "f64";
    }

    /// <summary>An address in shared, local or parameter memory.</summary>
    private sealed record Place(Space Space, long Offset);

    private sealed class Scope(Scope? outer)
    {
        public Scope? Outer { get; } = outer;

        public Dictionary<string, object> Names { get; } = [];

        public Dictionary<string, (string Type, int Count)> Ranges { get; } = [];
    }

    private PtxException Error(string message) => new(_at.Line, message);

    private KernelProgram Kernel(PtxFunction entry)
    {
        _at = new(0, "", null, false, [], []);
        foreach (PtxVariable variable in _module.Variables.Where(v => v.Space == "shared" && !(v.Extern && v.Size == 0))) Declare(variable);
        List<(int Offset, int Bytes)> parameters = [];
        int parameterBytes = 0;
        foreach (PtxVariable parameter in entry.Parameters)
        {
            int offset = Align(parameterBytes, parameter.Align);
            _scope.Names[parameter.Name] = new Place(Space.Param, offset);
            parameters.Add((offset, (int)parameter.Size));
            parameterBytes = offset + (int)parameter.Size;
        }
        // Dynamic memory comes after all static variables, those of called functions too.
        Declarations(entry.Body!, []);
        int dynamicStart = _sharedBytes;
        foreach (PtxVariable variable in _module.Variables.Where(v => v is { Space: "shared", Extern: true, Size: 0 }))
        {
            dynamicStart = Align(_sharedBytes, Math.Max(16, variable.Align));
            _scope.Names[variable.Name] = new Place(Space.Shared, dynamicStart);
        }
        Statements(entry.Body!);
        Emit(&ControlFlow.Exit);
        foreach ((Instruction instruction, int part, Label label) in _jumps)
        {
            if (label.Pc < 0) throw new PtxException(instruction.Line, "a label is missing");
            if (part < 0) instruction.Target = label.Pc;
            else instruction.Slots[part] = label.Pc;
        }
        int count = 0;
        foreach (Instruction instruction in _code)
        {
            instruction.Number = count++;
            foreach (Instruction part in instruction.Parts) part.Number = count++;
        }
        return new()
        {
            Name = entry.Name,
            Code = [.. _code],
            InstructionCount = count,
            Registers = Math.Min(255, Math.Max(16, _registerBytes / 128 / 8)),
            RegisterBytes = Math.Max(64, _registerBytes),
            Constants = [.. _constants.Select(c => (c.Value, c.Key.Item1, c.Key.Item2))],
            ConstantPredicates = [.. _constantPredicates.Select(p => (p.Value, p.Key))],
            Specials = [.. _specials.Select(s => (s.Value, s.Key))],
            StaticShared = _sharedBytes,
            DynamicSharedStart = dynamicStart,
            LocalBytes = Align(_localBytes, 16),
            Parameters = parameters,
            ParameterBytes = parameterBytes,
            MaxThreads = entry.MaxThreads > 0 ? entry.MaxThreads : 1024,
            RequiredThreads = entry.RequiredThreads,
        };
    }

    private static int Align(int offset, int alignment) => (offset + alignment - 1) / alignment * alignment;

    /// <summary>Places for the shared variables of a body and of the functions that it calls.</summary>
    private void Declarations(List<PtxStatement> body, HashSet<string> visited)
    {
        foreach (PtxStatement statement in body)
        {
            switch (statement)
            {
                case PtxDeclaration { Variable.Space: "shared" } declaration:
                    Declare(declaration.Variable);
                    break;
                case PtxScope scope:
                    Declarations(scope.Body, visited);
                    break;
                case PtxInstruction { Opcode: ["call", ..] } call:
                    foreach (PtxName name in call.Operands.OfType<PtxName>())
                    {
                        if (visited.Add(name.Name) && _module.Functions.GetValueOrDefault(name.Name)?.Body is { } callee) Declarations(callee, visited);
                    }
                    break;
            }
        }
    }

    private void Declare(PtxVariable variable)
    {
        switch (variable.Space)
        {
            case "shared":
                if (Find(variable.Name) is Place) return;
                _sharedBytes = Align(_sharedBytes, variable.Align);
                _scope.Names[variable.Name] = new Place(Space.Shared, _sharedBytes);
                _sharedBytes += (int)variable.Size;
                break;
            case "local" or "param":
                _localBytes = Align(_localBytes, Math.Max(8, variable.Align));
                _scope.Names[variable.Name] = new Place(Space.Local, _localBytes);
                _localBytes += (int)variable.Size;
                break;
            default:
                throw Error($".{variable.Space} variables in a body are not supported");
        }
    }

    private void Statements(List<PtxStatement> body)
    {
        foreach (PtxStatement statement in body)
        {
            if (statement is PtxLabel label) _scope.Names[label.Name] = new Label();
            else if (statement is PtxBranchTargets targets) _scope.Names[targets.Name] = targets;
        }
        foreach (PtxStatement statement in body)
        {
            switch (statement)
            {
                case PtxLabel label:
                    ((Label)_scope.Names[label.Name]).Pc = _code.Count;
                    break;
                case PtxScope scope:
                    _scope = new(_scope);
                    Statements(scope.Body);
                    _scope = _scope.Outer!;
                    break;
                case PtxRegisters { Count: { } count } registers:
                    _scope.Ranges[registers.Name] = (registers.Type, count);
                    break;
                case PtxRegisters registers:
                    _scope.Names[registers.Name] = NewRegister(registers.Type);
                    break;
                case PtxDeclaration declaration:
                    _at = _at with { Line = declaration.Line };
                    Declare(declaration.Variable);
                    break;
                case PtxInstruction instruction:
                    _at = instruction;
                    Instruction(instruction);
                    break;
            }
        }
    }

    // Names.

    private object? Find(string name)
    {
        for (Scope? scope = _scope; scope is not null; scope = scope.Outer)
        {
            if (scope.Names.TryGetValue(name, out object? found)) return found;
            int digits = name.Length;
            while (digits > 0 && char.IsAsciiDigit(name[digits - 1])) digits--;
            // "%r12" is of the range "%r", but a range may itself end in a digit: "%x2<4>" has "%x21".
            for (int split = name.Length - 1; split >= digits && split > 0; split--)
            {
                if (!scope.Ranges.TryGetValue(name[..split], out (string Type, int Count) range) || !int.TryParse(name.AsSpan(split), out int index) || index >= range.Count) continue;
                Register register = NewRegister(range.Type);
                scope.Names[name] = register;
                return register;
            }
        }
        return null;
    }

    private Register NewRegister(string type)
    {
        PtxTypes.Bytes(type, _at.Line);
        if (type == "pred")
        {
            if (_predicateBytes % 64 == 0) _predicateBlock = Allocate(64);
            int predicate = _predicateBlock + (_predicateBytes % 64);
            _predicateBytes += 4;
            return new(predicate, type);
        }
        return new(Allocate(type is "b64" or "u64" or "s64" or "f64" ? 256 : 128), type);
    }

    private int Allocate(int bytes)
    {
        int slot = _registerBytes;
        _registerBytes += bytes;
        return slot;
    }

    private Register Reg(PtxOperand operand) => operand is PtxName { Negated: false, Offset: 0 } name && Find(name.Name) is Register register
        ? register
        : throw Error($"a register expected in '{_at.Text}'");

    private int Constant(ulong bits, bool wide)
    {
        if (!wide) bits = (uint)bits;
        if (!_constants.TryGetValue((bits, wide), out int slot)) _constants[(bits, wide)] = slot = Allocate(wide ? 256 : 128);
        return slot;
    }

    /// <summary>The slot of an operand that is read as <paramref name="type"/>: a register, an immediate, a special register or an address.</summary>
    /// <param name="mayBeWider">Whether the register may have more bits than are read, as a store's or a conversion's may.</param>
    private int Source(PtxOperand operand, string type, bool mayBeWider = false)
    {
        int bytes = PtxTypes.Bytes(type, _at.Line);
        bool wide = bytes == 8;
        switch (operand)
        {
            case PtxImmediate immediate:
                return Constant(PtxTypes.Bits(immediate, type), wide);
            case PtxName { Negated: false } name:
                switch (Find(name.Name))
                {
                    case Register register when register.Type == "pred":
                        throw Error($"'{name.Name}' is a predicate in '{_at.Text}'");
                    case Register register when PtxTypes.Bytes(register.Type, _at.Line) == bytes || (mayBeWider && register.Wide == wide && PtxTypes.Bytes(register.Type, _at.Line) > bytes):
                        return register.Slot;
                    case Register register:
                        throw Error($"'{name.Name}' is a .{register.Type}, where a .{type} is expected: '{_at.Text}'");
                    case Place place:
                        return Constant((ulong)(place.Offset + name.Offset), wide);
                }
                if (IsSpecial(name.Name)) return Special(name.Name, wide);
                if (_address(name.Name) is { } address) return Constant(address + (ulong)name.Offset, wide);
                throw Error($"unknown symbol '{name.Name}'");
            default:
                throw Error($"an operand expected in '{_at.Text}'");
        }
    }

    private static bool IsSpecial(string name) => name is "WARP_SZ" or "%laneid" or "%warpid" or "%nwarpid" or "%smid" or "%nsmid" or "%gridid" or "%clock" or "%clock_hi" or "%clock64" or "%globaltimer" or "%globaltimer_lo"
        or "%lanemask_eq" or "%lanemask_lt" or "%lanemask_le" or "%lanemask_gt" or "%lanemask_ge" or "%dynamic_smem_size" or "%total_smem_size"
        || (name.Length > 2 && name[^2] == '.' && name[^1] is 'x' or 'y' or 'z' && name[..^2] is "%tid" or "%ntid" or "%ctaid" or "%nctaid");

    private int Special(string name, bool wide)
    {
        if (name is "%clock" or "%clock_hi" or "%clock64" or "%globaltimer" or "%globaltimer_lo")
        {
            int now = Allocate(wide ? 256 : 128);
            Emit(&ControlFlow.Clock, d: now).Bytes = wide ? 8 : 4;
            return now;
        }
        if (!_specials.TryGetValue(name, out int slot)) _specials[name] = slot = Allocate(128);
        if (!wide) return slot;
        int widened = Allocate(256);
        Emit(OperationTable.Find("cvt.u64.u32"), d: widened, a: slot);
        return widened;
    }

    /// <summary>The slot of a predicate that is read; a negated one is negated into a place of its own.</summary>
    private int Predicate(PtxOperand operand)
    {
        if (operand is PtxImmediate immediate)
        {
            bool value = immediate.Bits != 0;
            if (!_constantPredicates.TryGetValue(value, out int constant)) _constantPredicates[value] = constant = NewRegister("pred").Slot;
            return constant;
        }
        if (operand is not PtxName name || Find(name.Name) is not Register { Type: "pred" } register) throw Error($"a predicate expected in '{_at.Text}'");
        if (!name.Negated) return register.Slot;
        int slot = NewRegister("pred").Slot;
        Emit(&ControlFlow.PredicateNot, d: slot, a: register.Slot);
        return slot;
    }

    /// <summary>A register that is written, or a place nobody reads for the sink <c>_</c>.</summary>
    private Register Destination(PtxOperand operand, string type) => operand is PtxName { Name: "_" } ? NewRegister(type) : Reg(operand);

    private int DestinationSlot(PtxOperand operand, string type)
    {
        Register register = Destination(operand, type);
        if (PtxTypes.Bytes(register.Type, _at.Line) != PtxTypes.Bytes(type, _at.Line) || register.Type == "pred" != (type == "pred")) throw Error($"the result is a .{register.Type}, where a .{type} is expected: '{_at.Text}'");
        return register.Slot;
    }

    private Instruction Emit(delegate*<Warp, Instruction, void> execute, int d = -1, int a = -1, int b = -1, int c = -1)
    {
        Instruction instruction = new() { Execute = execute, D = d, A = a, B = b, C = c, Text = _at.Text, Line = _at.Line };
        if (_at.Guard is not null && !IsControl(_at.Opcode[0]))
        {
            instruction.Guard = GuardSlot();
            instruction.GuardNegated = _at.GuardNegated;
        }
        _code.Add(instruction);
        return instruction;
    }

    private int GuardSlot() => Find(_at.Guard!) is Register { Type: "pred" } register ? register.Slot : throw Error($"a predicate expected in '{_at.Text}'");

    /// <summary>Instructions that lanes may leave or wait at: a guard in front of them is a branch around them.</summary>
    private static bool IsControl(string opcode) => opcode is "bra" or "brx" or "ret" or "exit" or "call" or "bar" or "barrier" or "shfl" or "vote" or "match" or "redux" or "mma" or "ldmatrix";
}
