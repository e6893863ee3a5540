using System.Globalization;

namespace QuantBuild.Decoding;

/// <summary>Finds what <see cref="LoadOptions.Device"/> names.</summary>
internal static class DeviceChoice
{
    public const string Auto = "auto";

    private const string Cpu = "cpu";
    private const string Cuda = "cuda";

    /// <summary>The layers of a model that are to be elsewhere than on the processor, if any.</summary>
    /// <exception cref="QuantBuildException">QB1070: a GPU was asked for, and there is none that can be used. QB1071: it is full. QB1072: it failed. QB4006: the name is none of a device.</exception>
    public static (IDeviceLayers? Layers, ModelPlacement Placement) Open(Artifact artifact, LoadOptions options)
    {
        string name = options.Device?.Trim() ?? Auto;
        if (name.Equals(Cpu, StringComparison.OrdinalIgnoreCase)) return (null, ModelPlacement.Processor("LoadOptions.Device is cpu"));
        bool auto = name.Equals(Auto, StringComparison.OrdinalIgnoreCase);
        int index = auto ? 0 : Index(name);
        try
        {
            IDeviceBackend backend = (options.Backend ?? Installed) ?? throw new QuantBuildException(
                DiagnosticIds.GpuUnavailable,
                $"LoadOptions.Device is {name}, and the program does not have the package QuantBuild.Runtime.Cuda, which computes on NVIDIA GPUs. Add it (dotnet add package QuantBuild.Runtime.Cuda), or set Device to cpu.");
            return (backend.Open(index, artifact, options, out ModelPlacement placement), placement);
        }
        catch (QuantBuildException e) when (auto && e.Id is DiagnosticIds.GpuUnavailable or DiagnosticIds.GpuMemoryFull or DiagnosticIds.GpuFailed)
        {
            return (null, ModelPlacement.Processor(e.Message));
        }
    }

    /// <summary>What the package for NVIDIA GPUs brings, where the program has it.</summary>
    // By name: this assembly is below that one. The linker and the AOT compiler know the pattern, and keep the type where its assembly is there.
    private static IDeviceBackend? Installed { get; } =
        Type.GetType("QuantBuild.Cuda.CudaBackend, QuantBuild.Runtime.Cuda") is { } type ? (IDeviceBackend?)Activator.CreateInstance(type) : null;

    private static int Index(string name)
    {
        if (name.Equals(Cuda, StringComparison.OrdinalIgnoreCase)) return 0;
        if (name.StartsWith(Cuda + ":", StringComparison.OrdinalIgnoreCase)
            && int.TryParse(name.AsSpan(Cuda.Length + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int index))
        {
            return index;
        }

        throw new QuantBuildException(
            DiagnosticIds.OptionInvalid, $"LoadOptions.Device is \"{name}\", expected auto, cpu, cuda, or cuda and the number of a GPU, such as cuda:0.{DeviceName.Hint(name)} Set it so, or leave it out.");
    }
}

/// <summary>What computes models on devices of some kind.</summary>
internal interface IDeviceBackend
{
    /// <summary>Puts as many layers of a model on a device as there is room for.</summary>
    /// <param name="index">The device, from 0.</param>
    /// <param name="artifact">The model.</param>
    /// <param name="options">How it is loaded.</param>
    /// <param name="placement">What became of it.</param>
    /// <exception cref="QuantBuildException">QB1070: nothing of the kind can be used, or not that one. QB1071: it has no memory for the first layer. QB1072: it failed.</exception>
    IDeviceLayers Open(int index, Artifact artifact, LoadOptions options, out ModelPlacement placement);
}
