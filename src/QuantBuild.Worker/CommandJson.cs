using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using QuantBuild.Worker.Chat;

namespace QuantBuild.Worker;

/// <summary>Why a verb failed, for scripts.</summary>
/// <param name="Error">The error.</param>
internal sealed record Failure(FailureDetails Error);

/// <summary>An error.</summary>
/// <param name="Code">One of <see cref="DiagnosticIds"/>.</param>
/// <param name="Message">What happened, why, and what to do.</param>
/// <param name="Help">The page that explains it.</param>
internal sealed record FailureDetails(string Code, string Message, string Help);

/// <summary>What the verbs write with <c>--json</c>.</summary>
[JsonSourceGenerationOptions(
    WriteIndented = true,
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    UseStringEnumConverter = true)]
[JsonSerializable(typeof(Failure))]
[JsonSerializable(typeof(Inspection))]
[JsonSerializable(typeof(Verification))]
[JsonSerializable(typeof(Bench))]
[JsonSerializable(typeof(Diagnosis))]
[JsonSerializable(typeof(Quantized))]
[JsonSerializable(typeof(CacheListing))]
[JsonSerializable(typeof(Cleaning))]
[JsonSerializable(typeof(List<SavedMessage>))]
internal sealed partial class CommandJson : JsonSerializerContext
{
    /// <summary>The same, in which letters and signs stand as they are: nothing of it becomes part of a web page.</summary>
    public static CommandJson Readable => field ??= new(new JsonSerializerOptions(Default.Options) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
}
