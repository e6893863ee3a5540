using System.CommandLine;
using System.CommandLine.Invocation;
using QuantBuild.Worker.Chat;

namespace QuantBuild.Worker;

/// <summary>The <c>quantbuild</c> command line: its verbs, and how it ends.</summary>
public static class CommandLine
{
    /// <summary>The name of the command, as people type it.</summary>
    internal const string Name = "quantbuild";

    /// <summary>Runs a command line.</summary>
    /// <param name="args">Verb, arguments and options: see <c>docs/command-line.md</c>.</param>
    /// <returns>The exit code: 0 it succeeded, 1 it failed and said why, 2 the command line is wrong, 130 it was interrupted.</returns>
    public static int Run(string[] args)
    {
        ParseResult result = Create().Parse(args);
        if (result.Action is not ParseErrorAction misuse) return result.Invoke();
        // What stands on standard output would be taken for the result.
        misuse.ShowHelp = false;
        result.Invoke(new InvocationConfiguration { Output = Console.Error });
        string verb = result.CommandResult.Command is RootCommand ? "" : result.CommandResult.Command.Name + " ";
        Console.Error.WriteLine($"{Name} {verb}--help shows what there is.");
        return Verb.Misused;
    }

    /// <summary>The command with all its verbs.</summary>
    internal static RootCommand Create() => new("Compiles model weights: quantizes a model into an artifact that QuantBuild.Runtime runs, and works with such artifacts.")
    {
        QuantizeCommand.Create(),
        CompareCommand.Create(),
        InspectCommand.Create(),
        VerifyCommand.Create(),
        ChatCommand.Create(),
        BenchCommand.Create(),
        CacheCommand.Create(),
        DoctorCommand.Create(),
        CompletionCommand.Create(),
        SynthesizeCommand.Create(),
        MeasureCommand.Create(),
        ProbeCommand.Create(),
        TransferCommands.CreateFetch(),
        TransferCommands.CreateShare(),
        DownloadCommand.Create(),
    };

    /// <summary>The option for scripts.</summary>
    internal static Option<bool> JsonOption() => new("--json") { Description = "Write the result as one JSON document." };

    /// <summary>The option for the processor threads that run a model.</summary>
    internal static Option<int> ThreadsOption() => new("--threads") { Description = "Processor threads; 0 is all cores.", DefaultValueFactory = _ => 0 };

    /// <summary>The option for what runs a model.</summary>
    internal static Option<string> DeviceOption() => new("--device")
    {
        Description = "What runs the model: cpu, cuda or cuda:N, or auto, a GPU if there is one that can be used.",
        DefaultValueFactory = _ => "auto",
    };

    /// <summary>The option for how long a text may be.</summary>
    internal static Option<int?> ContextOption() => new("--context") { Description = "Tokens that a text may have. Left out, the model's context; of one with LongRoPE, the original context." };

    /// <summary>The artifact that a verb works on.</summary>
    internal static Argument<string> ArtifactArgument() => new("artifact") { Description = "The artifact: a .safetensors file that QuantBuild made." };
}
