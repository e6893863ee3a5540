using System.CommandLine;

namespace QuantBuild.Worker;

/// <summary>The process that a build starts to quantize a model, and the <c>quantbuild</c> command line: same verbs, same code.</summary>
internal static class Program
{
    private static int Main(string[] args)
    {
        RootCommand root = new("Compiles model weights: quantizes a model into an artifact that QuantBuild.Runtime runs.")
        {
            QuantizeCommand.Create(),
            CompareCommand.Create(),
            MeasureCommand.Create(),
            SynthesizeCommand.Create(),
            TransferCommands.CreateFetch(),
            TransferCommands.CreateShare(),
            DownloadCommand.Create(),
        };
        return root.Parse(args).Invoke();
    }
}
