using System.Text.RegularExpressions;

namespace QuantBuild.EndToEnd.Tests;

/// <summary>The README's quick start, word by word, as a new user does it: from the packages alone, in an empty folder, with an empty packages folder.</summary>
[Collection(Builds.Name)]
public sealed partial class QuickStartTests(PackedFeed feed)
{
    [Fact]
    public void The_quick_start_of_the_readme_works_as_it_stands()
    {
        string folder = Path.Combine(feed.Root, "quick start");
        Directory.CreateDirectory(folder);
        // torch comes from where this machine gets its packages.
        File.WriteAllText(Path.Combine(folder, "nuget.config"), feed.NuGetConfig(withUsersPackages: false, withUsersSources: true, packages: Path.Combine(folder, "packages")));
        Dictionary<string, string> environment = new() { ["QUANTBUILD_CACHE"] = Path.Combine(folder, "cache") };

        string readme = File.ReadAllText(Path.Combine(PackedFeed.RepositoryRoot, "README.md"));
        string section = readme[readme.IndexOf("## Quick start", StringComparison.Ordinal)..];
        section = section[..section.IndexOf("\n## ", 3, StringComparison.Ordinal)];
        Match[] blocks = Block().Matches(section).ToArray<Match>();
        Assert.Equal(["sh", "xml", "csharp", "sh"], blocks.Select(block => block.Groups["language"].Value));

        string project = Path.Combine(folder, "Hello"), output = "";
        foreach (Match block in blocks)
        {
            string text = block.Groups["text"].Value;
            switch (block.Groups["language"].Value)
            {
                case "sh":
                    output = Run(text, Directory.Exists(project) ? project : folder);
                    break;
                case "xml":
                    new TinyModel().Write(Path.Combine(project, "models/my-model"));
                    string file = Path.Combine(project, "Hello.csproj");
                    // Groups of 128 do not divide the tiny model's 32 inputs; a real model's they do.
                    string item = text.Replace("Bits=\"4\"", "Bits=\"4\" GroupSize=\"16\"", StringComparison.Ordinal);
                    File.WriteAllText(file, File.ReadAllText(file).Replace("</Project>", item + "</Project>", StringComparison.Ordinal));
                    break;
                default:
                    File.WriteAllText(Path.Combine(project, "Program.cs"), text);
                    break;
            }
        }

        Assert.Matches("\\w", output.Split('\n', StringSplitOptions.RemoveEmptyEntries)[^1]);

        string Run(string commands, string where)
        {
            // The version that was packed here is a preview of the one that users get.
            string script = commands.Replace("dotnet add package QuantBuild", $"dotnet add package QuantBuild --version {PackedFeed.Version}", StringComparison.Ordinal);
            (int exitCode, string said) = DotNet.Run("sh", ["-ec", script.Replace("dotnet ", $"\"{DotNet.Host}\" ", StringComparison.Ordinal)], where, environment);
            Assert.True(exitCode == 0, said);
            return said;
        }
    }

    [GeneratedRegex("```(?<language>\\w+)\n(?<text>.*?)```", RegexOptions.Singleline)]
    private static partial Regex Block();
}
