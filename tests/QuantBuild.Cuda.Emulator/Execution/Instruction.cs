namespace QuantBuild.Cuda.Emulator;

internal enum Space { Generic, Global, Shared, Local, Param }

/// <summary>One decoded instruction. <c>D</c>, <c>A</c>, <c>B</c> and <c>C</c> are byte offsets into the warp's registers.</summary>
internal sealed unsafe class Instruction
{
    public required delegate*<Warp, Instruction, void> Execute;

    public int D, A, B, C;

    /// <summary>The predicate that decides which lanes run it; negative for none.</summary>
    public int Guard = -1;

    public bool GuardNegated;

    /// <summary>A branch's target.</summary>
    public int Target;

    /// <summary>An offset, a mode or the like.</summary>
    public long Immediate;

    public Space Space;

    /// <summary>Bytes that a lane moves to or from memory.</summary>
    public int Bytes;

    /// <summary>Registers of a vector or of a matrix fragment, or targets of an indexed branch.</summary>
    public int[] Slots = [];

    /// <summary>Whether the address register has 64 bits.</summary>
    public bool WideAddress;

    public Conversion? Conversion;

    public MatrixShape? Shape;

    /// <summary>The accesses to memory that a larger instruction consists of.</summary>
    public Instruction[] Parts = [];

    /// <summary>Whether an access to memory is an atomic one, which races with no other of its kind.</summary>
    public bool Atomic;

    /// <summary>A comparison's lanes.</summary>
    public delegate*<byte*, byte*, uint> Compare;

    /// <summary>Its number among those of the kernel, parts included.</summary>
    public int Number;

    /// <summary>As written, for messages.</summary>
    public string Text = "";

    public int Line;
}
