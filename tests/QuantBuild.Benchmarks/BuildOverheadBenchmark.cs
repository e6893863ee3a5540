using System.Diagnostics;

namespace QuantBuild.Benchmarks;

/// <summary>What a model in a project costs a build in which nothing changed: against the same project without the item.</summary>
static class BuildOverheadBenchmark
{
    private const int Runs = 10;
    private const string Version = "0.1.0-benchmark";

    public static void Run()
    {
        using TemporaryFolder folder = new();
        Pack(folder);
        string with = Project(folder, "With", $"""<QuantizedModel Include="{Repository.Model}" Method="Rtn" Bits="4" GroupSize="128" />""");
        string without = Project(folder, "Without", "");
        Build(with, "-restore");
        Build(without, "-restore");

        List<double> withSeconds = [], withoutSeconds = [], ratios = [];
        for (int run = 0; run < Runs; run++)
        {
            // In pairs, so that a slow minute of the machine slows both.
            double a = Build(with, "--no-restore");
            double b = Build(without, "--no-restore");
            withSeconds.Add(a);
            withoutSeconds.Add(b);
            ratios.Add(a / b);
        }

        Console.WriteLine($"`dotnet build --no-restore` with nothing changed, medians of {Runs} pairs:");
        Console.WriteLine();
        Console.WriteLine("| with a model | without | difference | ratio |");
        Console.WriteLine("|---|---|---|---|");
        double difference = Figures.Median(withSeconds.Zip(withoutSeconds, (a, b) => a - b));
        Console.WriteLine(
            $"| {Figures.Median(withSeconds):F2} s | {Figures.Median(withoutSeconds):F2} s | {1000 * difference:F0} ms | {Figures.Median(ratios):F3} |");
    }

    /// <summary>Packs what is built, and makes it the source of the projects in the folder.</summary>
    private static void Pack(TemporaryFolder folder)
    {
        foreach (string project in new[] { "QuantBuild.Core", "QuantBuild.Runtime", "QuantBuild" })
        {
            DotNet("pack", Path.Combine(Repository.Root, "src", project), "-c", "Release", "-o", folder.File("feed"), $"-p:Version={Version}", "-v:q");
        }

        File.WriteAllText(folder.File("nuget.config"), $"""
            <configuration>
              <config><add key="globalPackagesFolder" value="{folder.File("packages")}" /></config>
              <fallbackPackageFolders><clear /><add key="user" value="{Repository.Packages}" /></fallbackPackageFolders>
              <packageSources><clear /><add key="feed" value="{folder.File("feed")}" /></packageSources>
            </configuration>
            """);
    }

    /// <summary>A project of its own: the same references either way, so that only the item differs.</summary>
    private static string Project(TemporaryFolder folder, string name, string item)
    {
        string project = folder.File($"{name}/{name}.csproj");
        Directory.CreateDirectory(Path.GetDirectoryName(project)!);
        File.WriteAllText(project, $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
              </PropertyGroup>
              <ItemGroup>
                <PackageReference Include="QuantBuild" Version="{Version}" />
                {item}
              </ItemGroup>
            </Project>
            """);
        File.WriteAllText(Path.Combine(Path.GetDirectoryName(project)!, "Program.cs"), "System.Console.WriteLine(1);\n");
        return project;
    }

    private static double Build(string project, string restore) => DotNet("build", project, "-v:q", "-nologo", restore);

    private static double DotNet(params string[] arguments)
    {
        long from = Stopwatch.GetTimestamp();
        using Process process = Process.Start(new ProcessStartInfo("dotnet", arguments) { RedirectStandardOutput = true })!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0 ? Stopwatch.GetElapsedTime(from).TotalSeconds : throw new InvalidOperationException(output);
    }
}
