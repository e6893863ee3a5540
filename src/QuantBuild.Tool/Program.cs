namespace QuantBuild.Tool;

/// <summary>The <c>quantbuild</c> command as a .NET tool: the worker's command line under its name.</summary>
internal static class Program
{
    private static int Main(string[] args) => QuantBuild.Worker.CommandLine.Run(args);
}
