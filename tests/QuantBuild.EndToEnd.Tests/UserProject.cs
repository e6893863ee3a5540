using System.Globalization;
using System.Text.RegularExpressions;
using Microsoft.Build.Logging.StructuredLogger;

namespace QuantBuild.EndToEnd.Tests;

/// <summary>A program of a user of the package, in a folder outside the repository.</summary>
internal sealed class UserProject
{
    public const string Generating = """
        using App.Models;
        // A comment.
        System.Console.WriteLine("[" + TinyRtn4.Generate("Once upon a time", new() { MaxTokens = 8 }) + "]");
        """;

    public const string DoingNothing = "System.Console.WriteLine();";

    private readonly PackedFeed feed;
    private readonly string cache;
    private int builds;

    public UserProject(PackedFeed feed, string? cache = null, string name = "App")
    {
        this.feed = feed;
        Folder = Path.Combine(feed.Root, "a users földer " + Guid.NewGuid().ToString("N")[..8], name);
        Directory.CreateDirectory(Folder);
        this.cache = cache ?? Path.Combine(Folder, "..", "cache");
        Write("../nuget.config", feed.NuGetConfig());
        string text = System.IO.File.ReadAllText(Path.Combine(PackedFeed.RepositoryRoot, "samples/data/calibration.txt"));
        Write("calibration.txt", text[..20_000]);
        Write("Program.cs", DoingNothing);
    }

    public string Folder { get; }

    /// <summary>What the stub does where it takes the worker's place; <see langword="null"/> where the worker itself works.</summary>
    public string? Stub { get; init; }

    /// <summary>For how long the stub is silent, where it is.</summary>
    public int StubSeconds { get; init; } = 3;

    /// <summary>How often the stub was started.</summary>
    public int StubStarts => System.IO.File.Exists(StartsFile) ? System.IO.File.ReadAllLines(StartsFile).Length : 0;

    /// <summary>What the environment of builds has besides.</summary>
    public Dictionary<string, string> Variables { get; } = [];

    /// <summary>Where the stub notes its starts; a file of the project's own unless several are to share it.</summary>
    public string StartsFile { get => field ?? Path.Combine(Folder, "..", "starts.txt"); init; }

    /// <summary>What else is in the environment of its builds.</summary>
    public Dictionary<string, string> Variables { get; } = [];

    public string Cache => Path.GetFullPath(cache);

    /// <summary>The folder of the built program.</summary>
    public string Output => Path.Combine(Folder, "bin", "Debug", "net10.0");

    /// <summary>The intermediate folder.</summary>
    public string Intermediate => Path.Combine(Folder, "obj", "Debug", "net10.0");

    public void Write(string name, string text)
    {
        string path = Path.Combine(Folder, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        System.IO.File.WriteAllText(path, text);
    }

    public void WriteModel(string name, TinyModel model) => model.Write(Path.Combine(Folder, name));

    /// <summary>Writes the project file.</summary>
    public void Declare(string items, string properties = "", string file = "App.csproj") => Write(file, $"""
        <Project Sdk="Microsoft.NET.Sdk">
          <PropertyGroup>
            <OutputType>Exe</OutputType>
            <TargetFramework>net10.0</TargetFramework>
            <Nullable>enable</Nullable>
            <TreatWarningsAsErrors>true</TreatWarningsAsErrors>
            <!-- Most tests build a model of random weights, whose quality is nothing to measure or to warn of. -->
            <NoWarn>$(NoWarn);QB3010;QB3014</NoWarn>
            {properties}
          </PropertyGroup>
          <ItemGroup>
            <PackageReference Include="QuantBuild" Version="{PackedFeed.Version}" />
            {items}
          </ItemGroup>
        </Project>
        """);

    /// <summary>Runs an SDK command on the project.</summary>
    public BuildResult Run(string command, params string[] arguments) => Run(command, null, arguments);

    /// <summary>Runs an SDK command on the project and hears each line of its output as it comes.</summary>
    public BuildResult Run(string command, Action<string>? line, params string[] arguments)
    {
        // Relative: what the switch is told ends at a semicolon.
        string log = $"../{++builds}.binlog";
        (int exitCode, string output) = DotNet.Run(
            DotNet.Host, [command, .. arguments, $"-bl:{log}", "-tl:off"], Folder, Environment(), line);
        return new BuildResult(exitCode, output, Path.Combine(Folder, log));
    }

    /// <summary>Builds the project; the build must succeed.</summary>
    public BuildResult Build(params string[] arguments)
    {
        BuildResult result = Run("build", arguments);
        Assert.True(result.ExitCode == 0, result.Output);
        return result;
    }

    /// <summary>Builds the project; the build must fail.</summary>
    public BuildResult FailToBuild(params string[] arguments)
    {
        BuildResult result = Run("build", arguments);
        Assert.True(result.ExitCode != 0, result.Output);
        return result;
    }

    /// <summary>Runs a shell command with the project's environment, and hears each line of its output as it comes.</summary>
    public (int ExitCode, string Output) Shell(string command, Action<string>? line = null) => DotNet.Run("sh", ["-c", command], Folder, Environment(), line);

    /// <summary>Runs the built program.</summary>
    public (int ExitCode, string Output) RunProgram(string? folder = null) =>
        DotNet.Run(DotNet.Host, [Path.Combine(folder ?? Output, "App.dll")], Folder);

    /// <summary>Files that no build should leave: temporary names, requests, locks that are held.</summary>
    public IEnumerable<string> Leftovers()
    {
        string[] folders = [Path.Combine(Folder, "bin"), Path.Combine(Folder, "obj"), Path.Combine(Cache, "artifacts"), Path.Combine(Cache, "work")];
        return folders.Where(Directory.Exists)
            .SelectMany(folder => Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories))
            .Where(file => Regex.IsMatch(Path.GetFileName(file), "request|tmp|temp|safetensors\\.(?!stamp)|json\\.[0-9a-f]{8}", RegexOptions.IgnoreCase));
    }

    // MSBuild takes variables of the environment for properties.
    private Dictionary<string, string> Environment()
    {
        Dictionary<string, string> variables = new(Variables) { ["QUANTBUILD_CACHE"] = Cache };
        if (Stub is null) return variables;
        variables["QUANTBUILD_STUB"] = Stub;
        variables["QUANTBUILD_STUB_SECONDS"] = StubSeconds.ToString(CultureInfo.InvariantCulture);
        variables["QUANTBUILD_STUB_STARTS"] = StartsFile;
        variables["QuantBuildWorkerFolder"] = feed.StubWorkerFolder;
        variables["QuantBuildRestoresWorkerLibraries"] = "false";
        return variables;
    }
}

/// <summary>What came of a build.</summary>
internal sealed record BuildResult(int ExitCode, string Output, string LogPath)
{
    private readonly Lazy<Build> log = new(() => BinaryLog.ReadBuild(LogPath));

    /// <summary>How often a worker was started.</summary>
    public int Workers => All<Message>().Count(m => m.Text?.Contains("QuantBuild.Worker.dll\" \"quantize", StringComparison.Ordinal) == true);

    /// <summary>Whether the C# compiler ran.</summary>
    public bool Compiled => All<Microsoft.Build.Logging.StructuredLogger.Task>().Any(t => t.Name == "Csc");

    /// <summary>The names of the targets that ran.</summary>
    public IEnumerable<string> Targets => All<Target>().Where(t => t.Children.Count > 0).Select(t => t.Name);

    /// <summary>The items that targets added.</summary>
    public IEnumerable<string> Added(string itemName) =>
        All<AddItem>().Where(a => a.Name == itemName).SelectMany(a => a.Children.OfType<Item>()).Select(i => i.Text);

    /// <summary>The messages that a log of every detail has.</summary>
    public IEnumerable<string> Messages => All<Message>().Select(m => m.Text ?? "");

    /// <summary>The codes of the errors, each with its message.</summary>
    public IReadOnlyList<(string Code, string Text)> Errors => [.. All<Error>().Select(e => (e.Code ?? "", e.Text ?? ""))];

    /// <summary>The one error of a code that says something.</summary>
    public void AssertError(string code, string says) =>
        Assert.True(
            Errors.Any(e => e.Code == code && e.Text.Contains(says, StringComparison.Ordinal)) && Output.Contains("error " + code, StringComparison.Ordinal),
            $"No error {code} says \"{says}\":{System.Environment.NewLine}{Output}");

    private List<T> All<T>()
        where T : BaseNode
    {
        List<T> nodes = [];
        log.Value.VisitAllChildren<T>(nodes.Add);
        return nodes;
    }
}
