using System.Diagnostics;

namespace QuantBuild.Benchmarks;

/// <summary>What a model in a project costs a build in which nothing changed: against the same project without the item.</summary>
static class BuildOverheadBenchmark
{
    private const int Runs = 10;

    public static void Run()
    {
        // Inside the tree, so that the samples' import of the shipped targets applies.
        string folder = Path.Combine(Repository.Root, "samples", "obj-benchmark");
        try
        {
            string with = Project(folder, "With", $"""
                <QuantizedModel Include="{Repository.Model}" Method="Rtn" Bits="4" GroupSize="128" ClassName="Sample" />
                """);
            string without = Project(folder, "Without", "");
            Build(with, restore: true);
            Build(without, restore: true);

            List<double> withSeconds = [], withoutSeconds = [], ratios = [];
            for (int run = 0; run < Runs; run++)
            {
                // In pairs, so that a slow minute of the machine slows both.
                double a = Build(with, restore: false);
                double b = Build(without, restore: false);
                withSeconds.Add(a);
                withoutSeconds.Add(b);
                ratios.Add(a / b);
            }

            Console.WriteLine($"`dotnet build --no-restore` with nothing changed, medians of {Runs} pairs:");
            Console.WriteLine();
            Console.WriteLine("| with a model | without | ratio |");
            Console.WriteLine("|---|---|---|");
            Console.WriteLine($"| {Figures.Median(withSeconds):F2} s | {Figures.Median(withoutSeconds):F2} s | {Figures.Median(ratios):F3} |");
        }
        finally
        {
            if (Directory.Exists(folder)) Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>A project of its own: the same references either way, so that only the item differs.</summary>
    private static string Project(string folder, string name, string item)
    {
        string project = Path.Combine(folder, name, name + ".csproj");
        Directory.CreateDirectory(Path.GetDirectoryName(project)!);
        File.WriteAllText(project, $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
              </PropertyGroup>
              <ItemGroup>
                {item}
              </ItemGroup>
            </Project>
            """);
        File.WriteAllText(Path.Combine(folder, name, "Program.cs"), "System.Console.WriteLine(1);\n");
        return project;
    }

    private static double Build(string project, bool restore)
    {
        List<string> arguments = ["build", project, "-v:q", "-nologo", "-c", "Release"];
        if (!restore) arguments.Add("--no-restore");
        long from = Stopwatch.GetTimestamp();
        using Process build = Process.Start(new ProcessStartInfo("dotnet", arguments) { RedirectStandardOutput = true })!;
        string output = build.StandardOutput.ReadToEnd();
        build.WaitForExit();
        return build.ExitCode == 0 ? Stopwatch.GetElapsedTime(from).TotalSeconds : throw new InvalidOperationException(output);
    }
}
