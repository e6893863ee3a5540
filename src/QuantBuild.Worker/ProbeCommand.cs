using System.CommandLine;
using QuantBuild.Quantization;
using TorchSharp;

namespace QuantBuild.Worker;

/// <summary>The verb <c>probe</c>, which <c>doctor</c> starts: whether torch loads and computes. In a process of its own, since a library that is not for this machine may end it.</summary>
internal static class ProbeCommand
{
    /// <summary>The command.</summary>
    public static Command Create()
    {
        Argument<string> device = new("device") { Description = "auto, cpu, cuda, cuda:N, cuda:N+M or cuda:all." };
        Command command = new("probe", "Loads torch and computes something.") { device };
        command.Hidden = true;
        command.SetAction(result =>
        {
            using LineReport lines = new();
            return Verb.Run(lines, cancelAtEndOfInput: true, cancellation =>
            {
                string name = result.GetValue(device)!;
                TorchLibraries.Use(name, lines, cancellation.Token);
                return Compute(name);
            });
        });
        return command;
    }

    /// <summary>The device and where torch is from, after a computation that is right.</summary>
    private static string Compute(string name)
    {
        TorchDevice device = TorchDevice.Choose(name);
        foreach (torch.Device each in device.Devices)
        {
            using torch.Tensor ones = torch.ones([64, 64], device: each), product = ones.mm(ones), sum = product.sum();
            float actual = sum.ToSingle();
            const float expected = 64 * 64 * 64;
            if (actual != expected) throw new InvalidOperationException($"torch computes a sum on {each} as {actual}, expected {expected}.");
        }

        return $"computes on {name.Trim()} ({device.Name}), libtorch of {NativeLibraries.LoadedFrom}";
    }
}
