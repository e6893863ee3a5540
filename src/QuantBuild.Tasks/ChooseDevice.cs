using Microsoft.Build.Framework;
using MSBuildTask = Microsoft.Build.Utilities.Task;

namespace QuantBuild.Tasks;

/// <summary>
/// Decides where models are quantized: which libraries are restored depends on it. Asks the driver, so it runs only where something is quantized.
/// </summary>
public sealed class ChooseDevice : MSBuildTask
{
    /// <summary>Full path of the project file.</summary>
    [Required]
    public string ProjectFile { get; set; } = "";

    /// <summary>What is asked for, as <see cref="DeviceName"/> has it.</summary>
    [Required]
    public string Device { get; set; } = "";

    /// <summary>The portable runtime identifier of this machine.</summary>
    [Required]
    public string Platform { get; set; } = "";

    /// <summary>What it is: <c>cpu</c>, <c>cuda:N</c>, or <c>cuda:N+M</c>.</summary>
    [Output]
    public string Chosen { get; private set; } = "";

    /// <summary>Whose libraries it takes: <c>cpu</c> or <c>cuda</c>.</summary>
    [Output]
    public string Libraries { get; private set; } = "";

    /// <inheritdoc/>
    public override bool Execute()
    {
        try
        {
            BuildDevice choice = BuildDevice.Of(Device, NvidiaDriver.Ask, Platform);
            (Chosen, Libraries) = (choice.Device, choice.IsCuda ? "cuda" : "cpu");
            if (choice.Device != Device)
            {
                Log.LogMessage(MessageImportance.High, $"{Path.GetFileNameWithoutExtension(ProjectFile)}: quantizing on {(choice.IsCuda ? choice.Device : "the CPU")} (QuantBuildDevice is {Device}): {choice.Reason}");
            }
        }
        catch (QuantBuildException e)
        {
            Log.ErrorAt(e, new ItemPosition(ProjectFile, 0, 0));
        }

        return !Log.HasLoggedErrors;
    }
}
