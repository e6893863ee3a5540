using System.Diagnostics;
using System.IO.Compression;
using System.Net.Http.Json;

namespace QuantBuild.EndToEnd.Tests;

/// <summary>The templates, installed from their package, and what they make.</summary>
[Collection(Builds.Name)]
public sealed class TemplateTests(PackedFeed feed)
{
    [Fact]
    public async Task A_new_console_program_generates_text_a_new_web_service_answers_and_a_new_package_has_the_weights()
    {
        string hive = Path.Combine(feed.Root, "hive");
        (int installed, string said) = DotNet.Run(DotNet.Host, ["new", "install", feed.Pack("QuantBuild.Templates"), "--debug:custom-hive", hive], feed.Root);
        Assert.True(installed == 0, said);
        UserProject console = Create(hive, "quantbuild-console"), web = Create(hive, "quantbuild-web");
        Assert.Contains("models/", File.ReadAllText(Path.Combine(console.Folder, "README.md")), StringComparison.Ordinal);

        console.Build();
        (int exitCode, string output) = console.RunProgram();
        Assert.True(exitCode == 0, output);
        Assert.Matches("^Once upon a time.+", output);

        // The model is the same, and so it is there already.
        Assert.Equal(0, web.Build().Workers);
        await Answers(web);

        UserProject weights = Create(hive, "quantbuild-model");
        File.Delete(Path.Combine(weights.Folder, "Program.cs"));
        BuildResult packed = weights.Run("pack", "-o", "out");
        Assert.True(packed.ExitCode == 0, packed.Output);
        using ZipArchive package = ZipFile.OpenRead(Path.Combine(weights.Folder, "out", "App.1.0.0.nupkg"));
        Assert.Contains("quantbuild/net10.0/App.Models.TinyNf4.safetensors", package.Entries.Select(entry => entry.FullName));
    }

    private UserProject Create(string hive, string template)
    {
        UserProject project = new(feed, feed.SharedCache);
        project.WriteModel("models/tiny", new TinyModel());
        (int exitCode, string output) = DotNet.Run(
            DotNet.Host, ["new", template, "-n", "App", "-o", ".", "--force", "--model", "models/tiny", "--method", "Nf4", "--debug:custom-hive", hive], project.Folder);
        Assert.True(exitCode == 0, output);
        return project;
    }

    private static async Task Answers(UserProject project)
    {
        using Process server = Process.Start(new ProcessStartInfo(DotNet.Host, [Path.Combine(project.Output, "App.dll"), "--urls", "http://127.0.0.1:0"])
        {
            WorkingDirectory = project.Folder,
            RedirectStandardOutput = true,
        })!;
        try
        {
            const string listening = "Now listening on: ";
            string? line;
            do line = await server.StandardOutput.ReadLineAsync();
            while (line?.Contains(listening, StringComparison.Ordinal) == false);
            Assert.NotNull(line);
            using HttpClient client = new() { BaseAddress = new Uri(line[(line.IndexOf(listening, StringComparison.Ordinal) + listening.Length)..]) };
            Assert.Equal("Healthy", await client.GetStringAsync("/health"));
            using HttpResponseMessage answer = await client.PostAsJsonAsync("/chat", new[] { new { Role = "user", Text = "Hi" } });
            Assert.Equal("text/event-stream", answer.Content.Headers.ContentType?.MediaType);
            Assert.StartsWith("data: ", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }
        finally
        {
            server.Kill();
        }
    }
}
