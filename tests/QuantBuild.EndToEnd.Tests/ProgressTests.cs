namespace QuantBuild.EndToEnd.Tests;

/// <summary>What a build shows while it quantizes. A worker's stub takes its time.</summary>
[Collection(Builds.Name)]
public sealed class ProgressTests(PackedFeed feed)
{
    [Fact]
    public void A_log_has_a_line_every_ten_seconds_although_the_worker_says_nothing_that_a_log_shows()
    {
        UserProject project = Project("silent", seconds: 12);
        BuildResult result = project.Build("-v:minimal");
        Assert.Contains("TinyRtn4: starting, 10 s so far", result.Output, StringComparison.Ordinal);
        Assert.Contains(result.Messages, text => text == "TinyRtn4: starting, 10 s so far");
    }

    [Fact]
    public void A_binary_log_has_what_the_worker_said_and_how_it_was_started()
    {
        BuildResult result = Project("done").Run("build");
        Assert.Contains(result.Messages, text => text == "TinyRtn4: layer 1 of 2, 4 s left");
        Assert.Contains(result.Messages, text => text == "TinyRtn4: a library says something");
        Assert.Contains(result.Messages, text => text.Contains("QuantBuild.Worker.dll\" \"quantize\" \"--request\"", StringComparison.Ordinal));
    }

    [Fact]
    public void A_terminal_shows_what_the_build_is_at_and_for_how_long()
    {
        // script is a program of Linux: it gives a command a terminal.
        if (!OperatingSystem.IsLinux()) return;
        UserProject project = Project("silent");
        (int exitCode, string output) = project.Shell($"TERM=xterm-256color script -qec 'stty rows 40 cols 150; \"{DotNet.Host}\" build -tl:on' /dev/null");
        Assert.True(exitCode == 0, output);
        Assert.Equal(1, project.StubStarts);
        Assert.Matches(@"App.*QuantBuildQuantize.*\(\d+[.,]\d+s\)", output);
    }

    private UserProject Project(string stub, int seconds = 3)
    {
        UserProject project = new(feed) { Stub = stub, StubSeconds = seconds };
        project.WriteModel("tiny", new TinyModel());
        project.Declare(BuiltProject.Item);
        return project;
    }
}
