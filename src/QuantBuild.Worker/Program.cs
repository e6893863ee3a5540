namespace QuantBuild.Worker;

/// <summary>The process that a build starts to quantize a model, and the <c>quantbuild</c> command line: same verbs, same code.</summary>
internal static class Program
{
    private static int Main(string[] args) => CommandLine.Run(args);
}
