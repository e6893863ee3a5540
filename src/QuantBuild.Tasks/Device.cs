using System.Globalization;

namespace QuantBuild.Tasks;

/// <summary>The device that <c>QuantBuildDevice</c> names, as far as a build can judge it without torch.</summary>
internal static class Device
{
    /// <summary>Checks the spelling.</summary>
    /// <exception cref="QuantBuildException">QB1006: not <c>auto</c>, <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>.</exception>
    public static void CheckSpelling(string device)
    {
        if (device is "auto" or "cpu" or "cuda") return;
        if (device.StartsWith("cuda:", StringComparison.Ordinal)
            && int.TryParse(device.Substring("cuda:".Length), NumberStyles.None, CultureInfo.InvariantCulture, out _))
        {
            return;
        }

        throw new QuantBuildException(
            DiagnosticIds.DeviceInvalid,
            $"QuantBuildDevice is \"{device}\", expected auto, cpu, cuda, or cuda:N with the number of a GPU (cuda:0).{DeviceName.Hint(device)} Set the property to one of them, or leave it out for auto.");
    }

    /// <summary>Checks that a CUDA device that was asked for can be there at all.</summary>
    /// <remarks>Costs microseconds, so that nobody waits for a restore or a process to hear of it.</remarks>
    /// <exception cref="QuantBuildException">QB1001: there is no NVIDIA driver.</exception>
    public static void CheckDriver(string device)
    {
        if (!device.StartsWith("cuda", StringComparison.Ordinal)) return;
        if (NvidiaDriver.Find() is not null) return;
        throw new QuantBuildException(
            DiagnosticIds.CudaUnavailable,
            $"QuantBuildDevice is {device}, and this machine has no NVIDIA driver. Looked for {string.Join(", ", NvidiaDriver.Places())}. " +
            "Install the driver, or set QuantBuildDevice to auto or cpu.");
    }
}
