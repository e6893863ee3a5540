using System.Text.Json;
using System.Text.Json.Serialization;

namespace QuantBuild.Worker;

/// <summary>What it takes to run an artifact, measured in a process that does nothing else.</summary>
/// <param name="TokensPerSecond">Decoding of a single text, one token after another: one over the median of the steps' seconds.</param>
/// <param name="Steps">Steps that were measured, after those that warmed up.</param>
/// <param name="Threads">Threads that computed.</param>
/// <param name="BaseBytes">Resident memory of the process before the model was loaded.</param>
/// <param name="ResidentBytes">Resident memory of the process after the last step: the base, the weights that were touched, and the cache of the text.</param>
internal sealed record RuntimeMeasurement(double TokensPerSecond, int Steps, int Threads, long BaseBytes, long ResidentBytes)
{
    /// <summary>One line of JSON.</summary>
    public string ToLine() => JsonSerializer.Serialize(this, RuntimeMeasurementJson.Default.RuntimeMeasurement);

    /// <summary>Reads a line; <see langword="null"/> where it is something else.</summary>
    public static RuntimeMeasurement? TryParse(string line)
    {
        try
        {
            return JsonSerializer.Deserialize(line, RuntimeMeasurementJson.Default.RuntimeMeasurement);
        }
        catch (JsonException)
        {
            return null;
        }
    }
}

/// <summary>JSON of the measurement.</summary>
[JsonSerializable(typeof(RuntimeMeasurement))]
[JsonSourceGenerationOptions(RespectRequiredConstructorParameters = true)]
internal sealed partial class RuntimeMeasurementJson : JsonSerializerContext;
