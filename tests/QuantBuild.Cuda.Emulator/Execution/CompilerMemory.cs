namespace QuantBuild.Cuda.Emulator;

internal sealed unsafe partial class Compiler
{
    private static Space SpaceOf(PtxInstruction i)
    {
        foreach (string part in i.Opcode)
        {
            switch (part)
            {
                case "global" or "const":
                    return Space.Global;
                case "shared" or "shared::cta":
                    return Space.Shared;
                case "local":
                    return Space.Local;
                case "param" or "param::entry" or "param::func":
                    return Space.Param;
            }
        }
        return Space.Generic;
    }

    /// <summary>Fills in where an access goes.</summary>
    private void Address(Instruction access, PtxOperand operand, Space space, int bytes)
    {
        if (operand is not PtxAddress address) throw Error($"an address expected in '{_at.Text}'");
        (access.Space, access.Bytes, access.Immediate, access.A) = (space, bytes, address.Offset, -1);
        if (address.Base is null) return;
        switch (Find(address.Base))
        {
            case Register { Type: not "pred" } register:
                (access.A, access.WideAddress) = (register.Slot, register.Wide);
                // "ld.param" through a register is an access to the parameters too.
                return;
            case Place place:
                if (space == Space.Generic) space = place.Space;
                // A call's parameters are kept in the caller's local memory.
                if (space == Space.Param) space = place.Space;
                if (space != place.Space) throw Error($"'{address.Base}' is not in .{space.ToString().ToLowerInvariant()} memory");
                (access.Space, access.Immediate) = (space, place.Offset + address.Offset);
                return;
        }
        if (_address(address.Base) is not { } global) throw Error($"unknown symbol '{address.Base}'");
        (access.Space, access.Immediate) = (Space.Global, (long)global + address.Offset);
    }

    private static int VectorLength(PtxInstruction i) => i.Opcode.Contains("v2") ? 2 : i.Opcode.Contains("v4") ? 4 : i.Opcode.Contains("v8") ? 8 : 1;

    private void Load(PtxInstruction i)
    {
        string type = Types(i)[^1];
        int length = VectorLength(i), bytes = PtxTypes.Bytes(type, i.Line);
        List<PtxOperand> destinations = length == 1 ? [i.Operands[0]] : i.Operands[0] is PtxList list && list.Items.Count == length ? list.Items : throw Error($"{length} registers expected in '{i.Text}'");
        // A call's parameters may be registers.
        if (i.Operands[1] is PtxAddress { Base: { } name } && i.Opcode.Contains("param") && Find(name) is Register { Type: not ("b64" or "u64") } bound)
        {
            Emit(OperationTable.Find("mov.b32"), DestinationSlot(destinations[0], type), bound.Slot);
            return;
        }
        List<Register?> registers = [.. destinations.Select(d => d is PtxName { Name: "_" } ? null : Reg(d))];
        bool wide = registers.Exists(r => r is { Wide: true });
        delegate*<Warp, Instruction, void> load = (type, wide) switch
        {
            ("u8" or "b8", false) => &MemoryAccess.Load<byte, byte>,
            ("s8", false) => &MemoryAccess.Load<sbyte, sbyte>,
            ("u16" or "b16" or "f16" or "bf16", false) => &MemoryAccess.Load<ushort, ushort>,
            ("s16", false) => &MemoryAccess.Load<short, short>,
            ("u32" or "b32" or "s32" or "f32" or "f16x2" or "bf16x2", false) => length == 4 && !registers.Contains(null) ? &MemoryAccess.Load4 : &MemoryAccess.Load<uint, uint>,
            ("u8" or "b8", true) => &MemoryAccess.Load<byte, ulong>,
            ("s8", true) => &MemoryAccess.Load<sbyte, long>,
            ("u16" or "b16", true) => &MemoryAccess.Load<ushort, ulong>,
            ("s16", true) => &MemoryAccess.Load<short, long>,
            ("u32" or "b32", true) => &MemoryAccess.Load<uint, ulong>,
            ("s32", true) => &MemoryAccess.Load<int, long>,
            ("u64" or "b64" or "s64" or "f64", true) => &MemoryAccess.Load<ulong, ulong>,
            _ => throw Unknown(),
        };
        Instruction instruction = Emit(load);
        instruction.Slots = [.. registers.Select(r => r?.Slot ?? -1)];
        Address(instruction, i.Operands[1], SpaceOf(i), bytes * length);
    }

    private void Store(PtxInstruction i)
    {
        string type = Types(i)[^1];
        int length = VectorLength(i), bytes = PtxTypes.Bytes(type, i.Line);
        List<PtxOperand> sources = length == 1 ? [i.Operands[1]] : i.Operands[1] is PtxList list && list.Items.Count == length ? list.Items : throw Error($"{length} registers expected in '{i.Text}'");
        bool wide = bytes == 8 || sources.Exists(s => s is PtxName name && Find(name.Name) is Register { Wide: true });
        delegate*<Warp, Instruction, void> store = (bytes, wide) switch
        {
            (1, false) => &MemoryAccess.Store<byte, byte>,
            (2, false) => &MemoryAccess.Store<ushort, ushort>,
            (4, false) => &MemoryAccess.Store<uint, uint>,
            (1, true) => &MemoryAccess.Store<byte, ulong>,
            (2, true) => &MemoryAccess.Store<ushort, ulong>,
            (4, true) => &MemoryAccess.Store<uint, ulong>,
            (8, true) => &MemoryAccess.Store<ulong, ulong>,
            _ => throw Unknown(),
        };
        string read = wide && bytes < 8 ? "b64" : type;
        int[] slots = [.. sources.Select(s => Source(s, read, true))];
        Instruction instruction = Emit(store);
        instruction.Slots = slots;
        Address(instruction, i.Operands[0], SpaceOf(i), bytes * length);
    }

    /// <summary>Between an address of a space and a generic one, which differ by the space's window.</summary>
    private void ConvertAddress(PtxInstruction i)
    {
        string type = Types(i)[0];
        ulong window = SpaceOf(i) switch { Space.Shared => MemoryAccess.SharedWindow, Space.Local => MemoryAccess.LocalWindow, _ => 0 };
        if (i.Opcode.Contains("to")) window = 0 - window;
        if (type is not ("u64" or "b64")) throw Unknown();
        Emit(OperationTable.Find("add.u64"), DestinationSlot(i.Operands[0], type), Source(i.Operands[1], type), Constant(window, true));
    }

    private void Atomic(PtxInstruction i)
    {
        string type = Types(i)[^1];
        bool red = i.Opcode[0] == "red";
        string operation = i.Opcode.First(p => p is "add" or "min" or "max" or "and" or "or" or "xor" or "exch" or "cas" or "inc" or "dec");
        delegate*<Warp, Instruction, void> run = (operation, type) switch
        {
            ("add", "u32" or "s32") => &Atomics.Run<AtomAdd<uint>, uint>,
            ("add", "u64" or "s64") => &Atomics.Run<AtomAdd<ulong>, ulong>,
            ("add", "f32") => &Atomics.Run<AtomAdd<float>, float>,
            ("add", "f64") => &Atomics.Run<AtomAdd<double>, double>,
            ("add", "f16") => &Atomics.Run<AtomAdd<Half>, Half>,
            ("add", "bf16") => &Atomics.Run<AtomAdd<Brain>, Brain>,
            ("add", "f16x2") => &Atomics.Run<AtomAddHalf2, uint>,
            ("add", "bf16x2") => &Atomics.Run<AtomAddBrain2, uint>,
            ("min", "u32") => &Atomics.Run<AtomMin<uint>, uint>,
            ("min", "s32") => &Atomics.Run<AtomMin<int>, int>,
            ("min", "u64") => &Atomics.Run<AtomMin<ulong>, ulong>,
            ("min", "s64") => &Atomics.Run<AtomMin<long>, long>,
            ("max", "u32") => &Atomics.Run<AtomMax<uint>, uint>,
            ("max", "s32") => &Atomics.Run<AtomMax<int>, int>,
            ("max", "u64") => &Atomics.Run<AtomMax<ulong>, ulong>,
            ("max", "s64") => &Atomics.Run<AtomMax<long>, long>,
            ("and", "b32") => &Atomics.Run<AtomAnd<uint>, uint>,
            ("and", "b64") => &Atomics.Run<AtomAnd<ulong>, ulong>,
            ("or", "b32") => &Atomics.Run<AtomOr<uint>, uint>,
            ("or", "b64") => &Atomics.Run<AtomOr<ulong>, ulong>,
            ("xor", "b32") => &Atomics.Run<AtomXor<uint>, uint>,
            ("xor", "b64") => &Atomics.Run<AtomXor<ulong>, ulong>,
            ("exch", "b32") => &Atomics.Run<AtomExchange<uint>, uint>,
            ("exch", "b64") => &Atomics.Run<AtomExchange<ulong>, ulong>,
            ("cas", "b16") => &Atomics.Run<AtomCompare<ushort>, ushort>,
            ("cas", "b32") => &Atomics.Run<AtomCompare<uint>, uint>,
            ("cas", "b64") => &Atomics.Run<AtomCompare<ulong>, ulong>,
            ("inc", "u32") => &Atomics.Run<AtomIncrement, uint>,
            ("dec", "u32") => &Atomics.Run<AtomDecrement, uint>,
            _ => throw Unknown(),
        };
        int at = red ? 0 : 1;
        int b = Source(i.Operands[at + 1], type), c = i.Operands.Count > at + 2 ? Source(i.Operands[at + 2], type) : -1;
        Instruction instruction = Emit(run, red || i.Operands[0] is PtxName { Name: "_" } ? -1 : DestinationSlot(i.Operands[0], type), -1, b, c);
        instruction.Atomic = true;
        Address(instruction, i.Operands[at], SpaceOf(i), PtxTypes.Bytes(type, i.Line));
    }

    private Instruction Part(PtxOperand address, Space space, int bytes)
    {
        Instruction part = new() { Execute = &ControlFlow.Nothing, Text = _at.Text, Line = _at.Line };
        Address(part, address, space, bytes);
        return part;
    }

    private void AsyncCopy(PtxInstruction i)
    {
        switch (i.Opcode)
        {
            case ["cp", "async", "commit_group"]:
                Emit(&AsyncCopies.Commit);
                break;
            case ["cp", "async", "wait_group"]:
                Emit(&AsyncCopies.WaitGroup).Immediate = i.Operands[0] is PtxImmediate groups ? (long)groups.Bits : throw Unknown();
                break;
            case ["cp", "async", "wait_all"]:
                Emit(&AsyncCopies.WaitAll);
                break;
            case ["cp", "async", "ca" or "cg", "shared" or "shared::cta", "global", ..]:
                int bytes = i.Operands[2] is PtxImmediate { Bits: 4 or 8 or 16 } size ? (int)size.Bits : throw Error($"4, 8 or 16 bytes expected in '{i.Text}'");
                if (i.Opcode[2] == "cg" && bytes != 16) throw Error($"cp.async.cg copies 16 bytes: '{i.Text}'");
                int sourceSize = i.Operands.Count > 3 && !i.Opcode.Contains("L2::cache_hint") ? Source(i.Operands[3], "u32") : -1;
                Instruction copy = Emit(&AsyncCopies.Issue, b: sourceSize);
                copy.Bytes = bytes;
                copy.Parts = [Part(i.Operands[0], Space.Shared, bytes), Part(i.Operands[1], Space.Global, bytes)];
                break;
            default:
                throw Unknown();
        }
    }

    private void Shuffle(PtxInstruction i)
    {
        if (i.Opcode is not ["shfl", "sync", var mode, "b32"]) throw Unknown();
        (PtxOperand value, int predicate) = i.Operands[0] is PtxList pair ? (pair.Items[0], DestinationSlot(pair.Items[1], "pred")) : (i.Operands[0], -1);
        int[] slots = [predicate, Source(i.Operands[4], "b32")];
        Instruction shuffle = Emit(&WarpOperations.Shuffle, DestinationSlot(value, "b32"), Source(i.Operands[1], "b32"), Source(i.Operands[2], "b32"), Source(i.Operands[3], "b32"));
        shuffle.Immediate = Array.IndexOf((string[])["up", "down", "bfly", "idx"], mode);
        shuffle.Slots = slots;
        shuffle.Target = mode == "bfly" && i.Operands[2] is PtxImmediate && i.Operands[3] is PtxImmediate { Bits: 31 } ? 1 : 0;
        if (shuffle.Immediate < 0) throw Unknown();
    }

    private void Vote(PtxInstruction i)
    {
        if (i.Opcode is not ["vote", "sync", var mode, _]) throw Unknown();
        int predicate = Predicate(i.Operands[1]), members = Source(i.Operands[2], "b32");
        Instruction vote = Emit(&WarpOperations.Vote, DestinationSlot(i.Operands[0], mode == "ballot" ? "b32" : "pred"), predicate);
        vote.Immediate = Array.IndexOf((string[])["all", "any", "uni", "ballot"], mode);
        vote.Slots = [members];
        if (vote.Immediate < 0) throw Unknown();
    }

    private void Match(PtxInstruction i)
    {
        if (i.Opcode is not ["match", "any" or "all", "sync", "b32" or "b64"]) throw Unknown();
        string type = i.Opcode[3];
        (PtxOperand value, int predicate) = i.Operands[0] is PtxList pair ? (pair.Items[0], DestinationSlot(pair.Items[1], "pred")) : (i.Operands[0], -1);
        int[] slots = [predicate, Source(i.Operands[2], "b32")];
        Instruction match = Emit(&WarpOperations.Match, DestinationSlot(value, "b32"), Source(i.Operands[1], type));
        (match.Immediate, match.Bytes, match.Slots) = (i.Opcode[1] == "all" ? 1 : 0, PtxTypes.Bytes(type, i.Line), slots);
    }

    private void Reduce(PtxInstruction i)
    {
        if (i.Opcode is not ["redux", "sync", var operation, "u32" or "s32" or "b32"]) throw Unknown();
        int mode = Array.IndexOf((string[])["add", "min", "max", "and", "or", "xor"], operation);
        if (mode < 0) throw Unknown();
        int members = Source(i.Operands[2], "b32");
        Instruction reduce = Emit(&WarpOperations.Reduce, DestinationSlot(i.Operands[0], "b32"), Source(i.Operands[1], "b32"));
        reduce.Immediate = mode + (i.Opcode[3] == "s32" && mode < 3 ? 8 : 0);
        reduce.Slots = [members];
    }

    private void LoadMatrix(PtxInstruction i)
    {
        int count = i.Opcode.Contains("x4") ? 4 : i.Opcode.Contains("x2") ? 2 : i.Opcode.Contains("x1") ? 1 : throw Unknown();
        if (!i.Opcode.Contains("m8n8") || i.Opcode[^1] != "b16" || SpaceOf(i) is not (Space.Shared or Space.Generic)) throw Unknown();
        List<PtxOperand> destinations = i.Operands[0] is PtxList list ? list.Items : [i.Operands[0]];
        if (destinations.Count != count) throw Error($"{count} registers expected in '{i.Text}'");
        Instruction load = Emit(&MatrixOperations.LoadMatrix);
        load.Slots = [.. destinations.Select(d => DestinationSlot(d, "b32"))];
        load.Immediate = i.Opcode.Contains("trans") ? 1 : 0;
        load.Parts = [Part(i.Operands[1], SpaceOf(i), 16)];
    }

    private void MultiplyMatrices(PtxInstruction i)
    {
        string[] types = Types(i);
        if (types is not [var d, var a, var b, var c] || d != c || !i.Opcode.Contains("row") || !i.Opcode.Contains("col")) throw Unknown();
        string size = i.Opcode.First(p => p[0] == 'm' && p.Contains('n'));
        (int m, int k) = (size, a) switch
        {
            ("m16n8k8", "f16" or "bf16" or "tf32") => (16, 8),
            ("m16n8k4", "tf32") => (16, 4),
            ("m16n8k16", "f16" or "bf16" or "s8" or "u8") => (16, 16),
            ("m16n8k32", "s8" or "u8") => (16, 32),
            ("m8n8k16", "s8" or "u8") => (8, 16),
            _ => throw Unknown(),
        };
        bool integer = a is "s8" or "u8";
        if (integer ? d != "s32" || b is not ("s8" or "u8") : b != a || !(d == "f32" || (d == "f16" && a == "f16"))) throw Unknown();
        MatrixShape shape = new(m, k, a, b, d);
        int e = shape.ElementsPerRegister, aRegisters = k / (4 * e) * (m / 8), bRegisters = k / (4 * e), dRegisters = d == "f16" ? 2 : m / 4;
        Instruction multiply = Emit(integer ? &MatrixOperations.MultiplyInteger : &MatrixOperations.MultiplyFloat);
        List<int> slots = [];
        int[] counts = [dRegisters, aRegisters, bRegisters, dRegisters];
        for (int operand = 0; operand < 4; operand++)
        {
            List<PtxOperand> items = i.Operands[operand] is PtxList list ? list.Items : [i.Operands[operand]];
            if (items.Count != counts[operand]) throw Error($"{counts[operand]} registers expected in operand {operand} of '{i.Text}'");
            slots.AddRange(items.Select(item => operand == 0 ? DestinationSlot(item, "b32") : Source(item, "b32")));
        }
        (multiply.Shape, multiply.Slots) = (shape, [.. slots]);
    }
}
