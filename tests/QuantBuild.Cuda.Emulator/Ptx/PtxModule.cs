namespace QuantBuild.Cuda.Emulator;

/// <summary>A parsed PTX module. <paramref name="Version"/> is the language's version times ten, <paramref name="Target"/> the compute capability times ten (75 for <c>sm_75</c>).</summary>
internal sealed record PtxModule(int Version, int Target, bool NeedsExactTarget, List<PtxVariable> Variables, Dictionary<string, PtxFunction> Functions);

/// <summary>A variable of a state space: <c>.shared .align 4 .b8 tile[512]</c>.</summary>
/// <param name="Size">Bytes; 0 for an unsized <c>.extern .shared</c> array.</param>
/// <param name="Initial">The initial bytes, empty where there are none.</param>
/// <param name="Addresses">Places in <paramref name="Initial"/> that hold another symbol's address.</param>
internal sealed record PtxVariable(string Name, string Space, string Type, int Align, long Size, bool Extern, byte[] Initial, List<(int At, string Symbol, long Offset)> Addresses);

/// <param name="Parameters">In order; their space is <c>param</c> or, for a function, <c>reg</c>.</param>
internal sealed record PtxFunction(string Name, bool IsEntry, List<PtxVariable> Parameters, List<PtxVariable> Results, List<PtxStatement>? Body, int MaxThreads, (int X, int Y, int Z)? RequiredThreads);

internal abstract record PtxStatement(int Line);

internal sealed record PtxLabel(int Line, string Name) : PtxStatement(Line);

internal sealed record PtxScope(int Line, List<PtxStatement> Body) : PtxStatement(Line);

/// <summary>Registers: <c>.reg .b32 %r&lt;5&gt;</c> has a count, <c>.reg .pred p</c> has none.</summary>
internal sealed record PtxRegisters(int Line, string Type, string Name, int? Count) : PtxStatement(Line);

internal sealed record PtxDeclaration(int Line, PtxVariable Variable) : PtxStatement(Line);

/// <summary><c>name: .branchtargets a, b, c;</c></summary>
internal sealed record PtxBranchTargets(int Line, string Name, List<string> Targets) : PtxStatement(Line);

internal sealed record PtxInstruction(int Line, string Text, string? Guard, bool GuardNegated, string[] Opcode, List<PtxOperand> Operands) : PtxStatement(Line);

internal abstract record PtxOperand;

/// <summary>A register, a symbol, a label or the sink <c>_</c>, maybe with an offset to a symbol.</summary>
internal sealed record PtxName(string Name, bool Negated, long Offset = 0) : PtxOperand;

internal sealed record PtxImmediate(TokenKind Kind, ulong Bits) : PtxOperand;

/// <summary><c>[base+offset]</c>; <paramref name="Base"/> is null for an absolute address.</summary>
internal sealed record PtxAddress(string? Base, long Offset) : PtxOperand;

/// <summary><c>{a, b}</c>, <c>(a, b)</c> or the pair <c>a|b</c>.</summary>
internal sealed record PtxList(List<PtxOperand> Items) : PtxOperand;
