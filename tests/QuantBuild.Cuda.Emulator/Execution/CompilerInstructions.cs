namespace QuantBuild.Cuda.Emulator;

internal sealed unsafe partial class Compiler
{
    /// <summary>Modifiers of arithmetic that change nothing: results are rounded to the nearest where the hardware approximates.</summary>
    private static readonly HashSet<string> s_ignored = ["rn", "approx", "full", "uni"];

    private void Instruction(PtxInstruction i)
    {
        Label? around = null;
        if (i.Guard is not null && IsControl(i.Opcode[0]) && i.Opcode[0] != "bra")
        {
            around = new();
            Instruction skip = Emit(&ControlFlow.Branch, a: GuardSlot());
            skip.Immediate = i.GuardNegated ? 0 : uint.MaxValue;
            _jumps.Add((skip, -1, around));
        }
        switch (i.Opcode[0])
        {
            case "bra":
                Branch(i);
                break;
            case "brx":
                BranchIndexed(i);
                break;
            case "call":
                Call(i);
                break;
            case "ret" when _return is not null:
                _jumps.Add((Emit(&ControlFlow.Jump), -1, _return));
                break;
            case "ret" or "exit":
                Emit(&ControlFlow.Exit);
                break;
            case "trap":
                Emit(&ControlFlow.Trap);
                break;
            case "griddepcontrol" when i.Opcode is ["griddepcontrol", "wait"]:
                Emit(&ControlFlow.WaitForPrevious);
                break;
            case "brkpt" or "membar" or "fence" or "nanosleep" or "griddepcontrol" or "prefetch" or "prefetchu" or "pmevent" or "discard" or "applypriority" or "createpolicy":
                break;
            case "bar" or "barrier":
                Barrier(i);
                break;
            case "mov":
                Move(i);
                break;
            case "ld" or "ldu":
                Load(i);
                break;
            case "st":
                Store(i);
                break;
            case "cvta":
                ConvertAddress(i);
                break;
            case "isspacep":
                IsSpace(i);
                break;
            case "setp" or "set":
                SetPredicate(i);
                break;
            case "selp":
                string type = Types(i)[0];
                bool selectWide = PtxTypes.Bytes(type, i.Line) == 8;
                Emit(selectWide ? &ControlFlow.Select64 : &ControlFlow.Select32, DestinationSlot(i.Operands[0], type), Source(i.Operands[1], type), Source(i.Operands[2], type), Predicate(i.Operands[3]));
                break;
            case "slct":
                Select(i);
                break;
            case "cvt":
                Convert(i);
                break;
            case "and" or "or" or "xor" or "not" when i.Opcode[^1] == "pred":
                LogicOfPredicates(i);
                break;
            case "lop3":
                Logic3(i);
                break;
            case "bfi":
                BitInsert(i);
                break;
            case "testp":
                TestProperty(i);
                break;
            case "atom" or "red":
                Atomic(i);
                break;
            case "shfl":
                Shuffle(i);
                break;
            case "vote":
                Vote(i);
                break;
            case "match":
                Match(i);
                break;
            case "redux":
                Reduce(i);
                break;
            case "activemask":
                Emit(&WarpOperations.ActiveMask, DestinationSlot(i.Operands[0], "b32"));
                break;
            case "ldmatrix":
                LoadMatrix(i);
                break;
            case "mma":
                MultiplyMatrices(i);
                break;
            case "cp":
                AsyncCopy(i);
                break;
            default:
                Arithmetic(i);
                break;
        }
        if (around is not null) around.Pc = _code.Count;
    }

    private PtxException Unknown() => Error($"Not a name of any known instruction: '{string.Join('.', _at.Opcode)}'");

    private static string[] Types(PtxInstruction i) => [.. i.Opcode.Skip(1).Where(PtxTypes.IsType)];

    /// <summary>What the operation table knows: the result, then two or three operands of the types that the operation wants.</summary>
    private void Arithmetic(PtxInstruction i)
    {
        string[] types = Types(i);
        if (types.Length == 0) throw Unknown();
        string name = i.Opcode[0], type = types[0];
        string key = string.Join('.', i.Opcode.Where(part => !s_ignored.Contains(part)));
        // Bit operations of signed, unsigned or untyped operands are the same.
        delegate*<Warp, Instruction, void> operation = OperationTable.Find(key);
        if (operation is null) throw Unknown();
        string narrow = type, result = type, second = type, third = type;
        switch (name)
        {
            case "mul" or "mad" when i.Opcode.Contains("wide"):
                result = third = type[0] + (PtxTypes.Bytes(type, i.Line) == 2 ? "32" : "64");
                break;
            case "shl" or "shr":
                second = "u32";
                break;
            case "bfe":
                (second, third) = ("u32", "u32");
                break;
            case "popc" or "clz" or "bfind":
                result = "u32";
                break;
            case "shf" or "prmt" or "dp4a" or "dp2a":
                (narrow, result, second, third) = ("b32", "b32", "b32", "b32");
                break;
        }
        int d = DestinationSlot(i.Operands[0], result), a = Source(i.Operands[1], narrow);
        int b = i.Operands.Count > 2 ? Source(i.Operands[2], second) : -1, c = i.Operands.Count > 3 ? Source(i.Operands[3], third) : -1;
        Emit(operation, d, a, b, c);
    }

    private Label Target(PtxOperand operand) => operand is PtxName name && Find(name.Name) is Label label ? label : throw Error($"a label expected in '{_at.Text}'");

    private void Branch(PtxInstruction i)
    {
        Instruction jump;
        if (i.Guard is null)
        {
            jump = Emit(&ControlFlow.Jump);
        }
        else
        {
            jump = Emit(&ControlFlow.Branch, a: GuardSlot());
            jump.Immediate = i.GuardNegated ? uint.MaxValue : 0;
        }
        _jumps.Add((jump, -1, Target(i.Operands[0])));
    }

    private void BranchIndexed(PtxInstruction i)
    {
        if (i.Operands[1] is not PtxName name || Find(name.Name) is not PtxBranchTargets targets) throw Error($"a list of targets expected in '{i.Text}'");
        Instruction jump = Emit(&ControlFlow.BranchIndexed, a: Source(i.Operands[0], "u32"));
        jump.Slots = new int[targets.Targets.Count];
        for (int t = 0; t < jump.Slots.Length; t++) _jumps.Add((jump, t, Target(new PtxName(targets.Targets[t], false))));
    }

    /// <summary>A call: the callee's body, with its parameters bound to the caller's.</summary>
    private void Call(PtxInstruction i)
    {
        List<PtxOperand> operands = [.. i.Operands];
        List<PtxOperand> results = operands[0] is PtxList list ? list.Items : [];
        if (operands[0] is PtxList) operands.RemoveAt(0);
        string name = operands[0] is PtxName target ? target.Name : throw Error($"a function expected in '{i.Text}'");
        List<PtxOperand> arguments = operands.Count > 1 && operands[1] is PtxList given ? given.Items : [];
        if (!_module.Functions.TryGetValue(name, out PtxFunction? function) || function.Body is null) throw Error($"Unresolved extern function '{name}'");
        if (_inlined.Contains(name) || _inlined.Count > MostInlined) throw Error($"'{name}' calls itself, which the emulator does not support");
        if (arguments.Count != function.Parameters.Count || results.Count != function.Results.Count) throw Error($"'{name}' takes {function.Parameters.Count} parameters: '{i.Text}'");
        Scope callee = new(null), caller = _scope;
        // Shared variables are seen from everywhere.
        Scope outermost = caller;
        while (outermost.Outer is not null) outermost = outermost.Outer;
        foreach ((string shared, object place) in outermost.Names)
        {
            if (place is Place { Space: Space.Shared }) callee.Names[shared] = place;
        }
        foreach ((PtxVariable formal, PtxOperand actual) in function.Parameters.Zip(arguments).Concat(function.Results.Zip(results)))
        {
            if (actual is PtxName { Negated: false } bound && Find(bound.Name) is { } found)
            {
                callee.Names[formal.Name] = found;
                continue;
            }
            Register copy = NewRegister(formal.Type);
            Emit(OperationTable.Find(copy.Wide ? "mov.b64" : "mov.b32"), copy.Slot, Source(actual, formal.Type));
            callee.Names[formal.Name] = copy;
        }
        (Label? outerReturn, PtxInstruction at) = (_return, _at);
        Label end = new();
        (_scope, _return) = (callee, end);
        _inlined.Push(name);
        Statements(function.Body);
        _inlined.Pop();
        end.Pc = _code.Count;
        (_scope, _return, _at) = (caller, outerReturn, at);
    }

    private void Barrier(PtxInstruction i)
    {
        string[] rest = [.. i.Opcode.Skip(1).Where(p => p is not ("cta" or "aligned"))];
        switch (rest)
        {
            case ["sync"] or [] or ["arrive"]:
                int number = i.Operands.Count > 0 ? Source(i.Operands[0], "u32") : Constant(0, false), count = i.Operands.Count > 1 ? Source(i.Operands[1], "u32") : -1;
                Emit(rest is ["arrive"] ? &ControlFlow.BarrierArrive : &ControlFlow.Barrier, a: number, b: count);
                break;
            case ["red", "popc" or "and" or "or", "u32" or "pred"]:
                BarrierReduction(i, rest[1]);
                break;
            case ["warp", "sync"]:
                Emit(&ControlFlow.WarpBarrier, a: Source(i.Operands[0], "b32"));
                break;
            default:
                throw Unknown();
        }
    }

    /// <summary><c>barrier.red</c>: threads leave their predicates when they arrive, and take the result when all have come.</summary>
    private void BarrierReduction(PtxInstruction i, string operation)
    {
        int barrier = Source(i.Operands[1], "u32"), count = i.Operands.Count > 3 ? Source(i.Operands[2], "u32") : -1, predicate = Predicate(i.Operands[^1]);
        int mode = Array.IndexOf((string[])["popc", "and", "or"], operation);
        Instruction arrive = Emit(&ControlFlow.BarrierReduce, a: barrier, b: count, c: predicate), take = Emit(&ControlFlow.TakeReduction, DestinationSlot(i.Operands[0], mode == 0 ? "u32" : "pred"), barrier);
        (arrive.Immediate, take.Immediate) = (mode, mode);
    }

    private void IsSpace(PtxInstruction i)
    {
        Space space = SpaceOf(i);
        (ulong start, ulong bytes) = space switch
        {
            Space.Shared => (MemoryAccess.SharedWindow, MemoryAccess.WindowBytes),
            Space.Local => (MemoryAccess.LocalWindow, MemoryAccess.WindowBytes),
            Space.Global when i.Opcode[1] == "global" => (MemoryAccess.LocalWindow + MemoryAccess.WindowBytes, ulong.MaxValue - MemoryAccess.LocalWindow - MemoryAccess.WindowBytes),
            _ => throw Unknown(),
        };
        int offset = Allocate(256);
        Emit(OperationTable.Find("sub.u64"), offset, Source(i.Operands[1], "u64"), Constant(start, true));
        Emit(&ControlFlow.SetPredicate, DestinationSlot(i.Operands[0], "pred"), offset, Constant(bytes, true)).Compare = OperationTable.FindComparison("lt.u64");
    }

    private void Move(PtxInstruction i)
    {
        string type = Types(i)[0];
        int bytes = PtxTypes.Bytes(type, i.Line);
        if (type == "pred")
        {
            Emit(&ControlFlow.PredicateMove, DestinationSlot(i.Operands[0], type), Predicate(i.Operands[1]));
        }
        else if (i.Operands[1] is PtxList parts)
        {
            string part = "b" + (bytes * 8 / parts.Items.Count);
            Instruction pack = Emit(&ControlFlow.Pack, DestinationSlot(i.Operands[0], type));
            pack.Bytes = bytes / parts.Items.Count;
            pack.Slots = [.. parts.Items.Select(p => Source(p, part))];
        }
        else if (i.Operands[0] is PtxList destinations)
        {
            string part = "b" + (bytes * 8 / destinations.Items.Count);
            Instruction unpack = Emit(&ControlFlow.Unpack, a: Source(i.Operands[1], type));
            unpack.Bytes = bytes / destinations.Items.Count;
            unpack.Slots = [.. destinations.Items.Select(p => p is PtxName { Name: "_" } ? -1 : DestinationSlot(p, part))];
        }
        else
        {
            Emit(OperationTable.Find(bytes == 8 ? "mov.b64" : "mov.b32"), DestinationSlot(i.Operands[0], type), Source(i.Operands[1], type));
        }
    }

    private void SetPredicate(PtxInstruction i)
    {
        bool set = i.Opcode[0] == "set";
        string[] types = Types(i);
        string type = types[^1], comparison = i.Opcode[1];
        string? join = i.Opcode.Skip(2).FirstOrDefault(p => p is "and" or "or" or "xor");
        // lo, ls, hi and hs are lt, le, gt and ge of unsigned numbers.
        comparison = comparison switch { "lo" => "lt", "ls" => "le", "hi" => "gt", "hs" => "ge", _ => comparison };
        delegate*<byte*, byte*, uint> compare = OperationTable.FindComparison(comparison + (i.Opcode.Contains("ftz") && type == "f32" ? ".ftz." : ".") + type);
        if (compare == null) throw Unknown();
        int p, q = -1;
        if (set) p = NewRegister("pred").Slot;
        else if (i.Operands[0] is PtxList pair) (p, q) = (DestinationSlot(pair.Items[0], "pred"), DestinationSlot(pair.Items[1], "pred"));
        else p = DestinationSlot(i.Operands[0], "pred");
        int other = join is null ? -1 : Predicate(i.Operands[3]);
        Instruction instruction = Emit(&ControlFlow.SetPredicate, p, Source(i.Operands[1], type), Source(i.Operands[2], type), other);
        instruction.Compare = compare;
        instruction.Immediate = join switch { "or" => 1, "xor" => 2, _ => 0 };
        if (join is not null || q >= 0) instruction.Slots = [q];
        if (!set) return;
        ulong on = types[0] == "f32" ? 0x3F80_0000u : uint.MaxValue;
        Emit(&ControlFlow.Select32, DestinationSlot(i.Operands[0], types[0]), Constant(on, false), Constant(0, false), p);
    }

    /// <summary><c>slct</c>: a where c ≥ 0, else b.</summary>
    private void Select(PtxInstruction i)
    {
        string[] types = Types(i);
        int p = NewRegister("pred").Slot;
        Emit(&ControlFlow.SetPredicate, p, Source(i.Operands[3], types[1]), Constant(0, false)).Compare = OperationTable.FindComparison("ge." + types[1]);
        Emit(PtxTypes.Bytes(types[0], i.Line) == 8 ? &ControlFlow.Select64 : &ControlFlow.Select32, DestinationSlot(i.Operands[0], types[0]), Source(i.Operands[1], types[0]), Source(i.Operands[2], types[0]), p);
    }

    private void LogicOfPredicates(PtxInstruction i)
    {
        delegate*<Warp, Instruction, void> operation = i.Opcode[0] switch
        {
            "and" => &ControlFlow.PredicateAnd,
            "or" => &ControlFlow.PredicateOr,
            "xor" => &ControlFlow.PredicateXor,
            _ => &ControlFlow.PredicateNot,
        };
        Emit(operation, DestinationSlot(i.Operands[0], "pred"), Predicate(i.Operands[1]), i.Operands.Count > 2 ? Predicate(i.Operands[2]) : -1);
    }

    private void Logic3(PtxInstruction i)
    {
        if (i.Opcode is not ["lop3", "b32"] || i.Operands[4] is not PtxImmediate table) throw Unknown();
        Emit(&ControlFlow.Logic3, DestinationSlot(i.Operands[0], "b32"), Source(i.Operands[1], "b32"), Source(i.Operands[2], "b32"), Source(i.Operands[3], "b32")).Immediate = (long)table.Bits;
    }

    private void BitInsert(PtxInstruction i)
    {
        string type = Types(i)[0];
        Instruction insert = Emit(&ControlFlow.InsertBits, DestinationSlot(i.Operands[0], type), Source(i.Operands[1], type), Source(i.Operands[2], type), Source(i.Operands[3], "u32"));
        insert.Bytes = PtxTypes.Bytes(type, i.Line);
        insert.Slots = [Source(i.Operands[4], "u32")];
    }

    private void TestProperty(PtxInstruction i)
    {
        string type = Types(i)[0];
        int property = Array.IndexOf((string[])["finite", "infinite", "number", "notanumber", "normal", "subnormal"], i.Opcode[1]);
        if (property < 0) throw Unknown();
        Instruction test = Emit(&ControlFlow.TestProperty, DestinationSlot(i.Operands[0], "pred"), Source(i.Operands[1], type));
        (test.Immediate, test.Bytes) = (property, PtxTypes.Bytes(type, i.Line));
    }

    private void Convert(PtxInstruction i)
    {
        string[] types = Types(i);
        string to = types[0], from = types[^1];
        string? rounding = i.Opcode.Skip(1).FirstOrDefault(p => p is "rn" or "rz" or "rm" or "rp" or "rni" or "rzi" or "rmi" or "rpi" or "rna");
        bool saturate = i.Opcode.Contains("sat"), flush = i.Opcode.Contains("ftz"), relu = i.Opcode.Contains("relu");
        Rounding way = rounding?[1] switch { 'z' => Rounding.Zero, 'm' => Rounding.Down, 'p' => Rounding.Up, _ => Rounding.Nearest };
        // A conversion from a float to an integer without a mode cannot be, one from f16 to f32 needs none.
        Conversion conversion = new(to, from, way, rounding is [_, _, 'i'], saturate, flush, relu);
        if (to is "f16x2" or "bf16x2")
        {
            if (from != "f32" || i.Operands.Count != 3) throw Unknown();
            Emit(&ControlFlow.ConvertPair, DestinationSlot(i.Operands[0], to), Source(i.Operands[1], from), Source(i.Operands[2], from)).Conversion = conversion with { To = to[..^2] };
            return;
        }
        if (i.Operands.Count != 2) throw Unknown();
        Register destination = Reg(i.Operands[0]);
        // Either register may be wider than its type.
        int source = i.Operands[1] is PtxName name && Find(name.Name) is Register { Wide: true } wide && PtxTypes.Bytes(from, i.Line) < 8 ? Narrow(wide.Slot) : Source(i.Operands[1], from, true);
        bool widen = destination.Wide && PtxTypes.Bytes(to, i.Line) < 8;
        int result = widen ? Allocate(128) : destination.Slot;
        delegate*<Warp, Instruction, void> direct = saturate || flush || relu ? null
            : rounding is null ? OperationTable.Find($"cvt.{Plain(to)}.{Plain(from)}")
            : rounding is "rn" or "rni" or "rzi" ? OperationTable.Find($"cvt.{rounding}.{to}.{from}")
            : null;
        if (direct is not null)
        {
            Emit(direct, result, source);
        }
        else
        {
            Instruction convert = Emit(&ControlFlow.Convert, result, source);
            (convert.Conversion, convert.Bytes, convert.Target) = (conversion, PtxTypes.Bytes(from, i.Line), widen || !destination.Wide ? 4 : 8);
        }
        if (widen) Emit(OperationTable.Find(to[0] == 's' ? "cvt.s64.s32" : "cvt.u64.u32"), destination.Slot, result);
    }

    private static string Plain(string type) => type[0] == 'b' && type[1] != 'f' ? "u" + type[1..] : type;

    private int Narrow(int wide)
    {
        int slot = Allocate(128);
        Emit(OperationTable.Find("cvt.u32.u64"), slot, wide);
        return slot;
    }
}
