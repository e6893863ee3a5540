namespace QuantBuild.Cuda.Emulator;

/// <summary>A kernel, decoded: what a warp executes and what a block needs.</summary>
internal sealed class KernelProgram
{
    public required string Name { get; init; }

    public required Instruction[] Code { get; init; }

    /// <summary>Instructions, parts of larger ones included.</summary>
    public required int InstructionCount { get; init; }

    /// <summary>Bytes of a warp's registers.</summary>
    public required int RegisterBytes { get; init; }

    /// <summary>A guess at what an assembler would give a thread, which <c>cuFuncGetAttribute</c> reports and nothing here depends on: an eighth of the registers that the text names, 16 to 255.</summary>
    public required int Registers { get; init; }

    /// <summary>Registers that hold an immediate in all lanes.</summary>
    public required List<(int Slot, ulong Bits, bool Wide)> Constants { get; init; }

    /// <summary>Predicates that hold a constant.</summary>
    public required List<(int Slot, bool Value)> ConstantPredicates { get; init; }

    /// <summary>Registers that hold <c>%tid.x</c> and the like.</summary>
    public required List<(int Slot, string Name)> Specials { get; init; }

    /// <summary>Bytes of shared memory with a fixed size; dynamic shared memory starts at <see cref="DynamicSharedStart"/>.</summary>
    public required int StaticShared { get; init; }

    public required int DynamicSharedStart { get; init; }

    /// <summary>Bytes of a lane's local memory.</summary>
    public required int LocalBytes { get; init; }

    /// <summary>Offset and size of each parameter.</summary>
    public required List<(int Offset, int Bytes)> Parameters { get; init; }

    public required int ParameterBytes { get; init; }

    /// <summary>Threads a block may have by <c>.maxntid</c> or the architecture.</summary>
    public required int MaxThreads { get; init; }

    public required (int X, int Y, int Z)? RequiredThreads { get; init; }
}

/// <summary>An access or a use of synchronisation that ends a launch with <paramref name="result"/>.</summary>
internal sealed class KernelFault(CuResult result, string message) : Exception(message)
{
    public CuResult Result { get; } = result;
}
