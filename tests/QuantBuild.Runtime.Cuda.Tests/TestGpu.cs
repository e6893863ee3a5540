using QuantBuild.Cuda.Driver;
using QuantBuild.Cuda.Emulator;

namespace QuantBuild.Cuda.Tests;

/// <summary>A machine with emulated GPUs, and what computes models on it.</summary>
internal sealed class TestGpu(EmulatedGpuOptions? options = null) : IDisposable
{
    private readonly EmulatedGpu machine = new(options ?? new EmulatedGpuOptions());

    /// <summary>For <see cref="LoadOptions.Backend"/>.</summary>
    public CudaBackend Backend => new(Driver);

    public EmulatedGpu Machine => machine;

    public IReadOnlyList<string> Violations => machine.Violations;

    public CudaDriver Driver() => new(machine.Resolve);

    public void Dispose() => machine.Dispose();
}
