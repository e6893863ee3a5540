using System.IO.Compression;
using System.Text.Json.Nodes;

namespace QuantBuild.EndToEnd.Tests;

/// <summary>The .NET tool, installed from its package.</summary>
[Collection(Builds.Name)]
public sealed class ToolTests(PackedFeed feed)
{
    [Fact]
    public void The_tool_is_small_works_at_once_and_restores_torch_where_something_is_quantized()
    {
        string package = feed.Pack("QuantBuild.Tool");
        Assert.InRange(new FileInfo(package).Length, 0, 10_000_000);
        using (ZipArchive zip = ZipFile.OpenRead(package)) Assert.DoesNotContain(zip.Entries, entry => entry.Name.Contains("Torch", StringComparison.OrdinalIgnoreCase));
        UserProject project = new(feed);
        project.WriteModel("tiny", new TinyModel());
        (int installed, string said) = DotNet.Run(
            DotNet.Host,
            ["tool", "install", "QuantBuild.Tool", "--tool-path", "tools", "--version", PackedFeed.Version, "--configfile", Path.Combine(project.Folder, "../nuget.config")],
            project.Folder);
        Assert.True(installed == 0, said);

        (int helped, string help) = Tool(project, "--help");
        Assert.Equal(0, helped);
        Assert.Contains("  quantbuild [command] [options]", help, StringComparison.Ordinal);
        JsonNode before = Json(project, 0, "doctor", "--json");
        Assert.Equal("Warning", (string?)Check(before, "torch")["status"]);
        Assert.False(Directory.Exists(Path.Combine(project.Cache, "libraries")));

        // Where no source has torch, the restore says so; where one has it, it is restored once.
        string config = Path.Combine(project.Folder, "../nuget.config"), good = File.ReadAllText(config);
        string[] quantize = ["quantize", "tiny", "--method", "Nf4", "--device", "cpu", "-o", "tiny.safetensors"];
        File.WriteAllText(config, feed.NuGetConfig(withUsersPackages: false));
        (int refused, string error) = Tool(project, quantize);
        Assert.Equal(1, refused);
        Assert.Contains("error QB1007: ", error, StringComparison.Ordinal);
        Assert.Contains("NU1101", error, StringComparison.Ordinal);
        File.WriteAllText(config, good);
        (int quantized, string first) = Tool(project, quantize);
        Assert.True(quantized == 0, first);
        Assert.Contains("restoring the libraries of torch", first, StringComparison.Ordinal);
        Assert.True(File.Exists(Path.Combine(project.Folder, "tiny.html")));
        (_, string second) = Tool(project, quantize);
        Assert.DoesNotContain("restoring the libraries of torch", second, StringComparison.Ordinal);

        Assert.Equal("Ok", (string?)Check(Json(project, 0, "doctor", "--device", "cpu", "--json"), "torch")["status"]);
        JsonNode inspected = Json(project, 0, "inspect", "tiny.safetensors", "--json");
        Assert.Equal("tiny", (string?)inspected["modelName"]);
        Assert.Contains(inspected["formats"]!.AsArray(), format => (string)format!["format"]! == "Nf4");
    }

    private static JsonNode Check(JsonNode diagnosis, string name) => diagnosis["checks"]!.AsArray().Single(check => (string)check!["name"]! == name)!;

    private static JsonNode Json(UserProject project, int expected, params string[] arguments)
    {
        (int exitCode, string output) = Tool(project, arguments);
        Assert.True(exitCode == expected, output);
        return JsonNode.Parse(output)!;
    }

    private static (int ExitCode, string Output) Tool(UserProject project, params string[] arguments)
    {
        Dictionary<string, string> environment = new() { ["QUANTBUILD_CACHE"] = project.Cache };
        // The program of a tool finds a runtime that is not where it usually is by this.
        if (Path.GetDirectoryName(DotNet.Host) is { Length: > 0 } root) environment["DOTNET_ROOT"] = root;
        return DotNet.Run(Path.Combine(project.Folder, "tools", OperatingSystem.IsWindows() ? "quantbuild.exe" : "quantbuild"), arguments, project.Folder, environment);
    }
}
