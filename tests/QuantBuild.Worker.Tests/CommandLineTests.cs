using System.CommandLine;
using System.Diagnostics;
using System.Text.RegularExpressions;

namespace QuantBuild.Worker.Tests;

[Collection(SharedArtifact.Name)]
public sealed class CommandLineTests(SampleArtifact sample)
{
    private static readonly string Page = File.ReadAllText(Path.Combine(SampleFiles.Model, "../../../docs/command-line.md"));

    private static readonly string[] ForPeople = [.. CommandLine.Create().Subcommands.Where(verb => !verb.Hidden).Select(verb => verb.Name)];

    public static TheoryData<string> Verbs { get; } = [.. ForPeople];

    [Theory]
    [MemberData(nameof(Verbs))]
    public void The_page_has_a_section_for_each_verb_with_all_its_arguments_and_options(string name)
    {
        Match section = Regex.Match(Page, $@"(?ms)^### {name}\n(.*?)(^##|\z)");
        Assert.True(section.Success, $"docs/command-line.md has no section {name}");
        Documented(CommandLine.Create().Subcommands.Single(verb => verb.Name == name), section.Groups[1].Value);
    }

    [Fact]
    public void Each_error_of_the_command_line_has_exit_code_2_and_says_so_on_standard_error_alone()
    {
        foreach (string[] wrong in new string[][] { [], ["inspekt"], ["inspect"], ["inspect", "a", "--nonsense"], ["bench", "a", "--threads", "many"], ["quantize", "model"], ["completion", "cmd"] })
        {
            CommandLineRun run = CommandLineRun.Of(wrong);
            Assert.Equal((2, ""), (run.ExitCode, run.Output));
            Assert.Contains("--help shows what there is.", run.Error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Verbs_of_the_build_are_not_shown_to_people()
    {
        CommandLineRun help = CommandLineRun.Of("--help");
        Assert.Equal(0, help.ExitCode);
        foreach (string verb in ForPeople) Assert.Matches($@"(?m)^  {verb} ", help.Output);
        Assert.DoesNotMatch("(?m)^  (measure|probe) ", help.Output);
        Assert.DoesNotContain("--request", CommandLineRun.Of("quantize", "--help").Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Quantize_says_in_JSON_what_the_artifact_says()
    {
        Assert.True(sample.Quantize.ExitCode == 0, sample.Quantize.Error);
        using Artifact artifact = Artifact.Open(sample.Path);
        Assert.Equal(artifact.Manifest.Fingerprint, (string?)sample.Quantize.Json["fingerprint"]);
        Assert.Equal(artifact.Length, (long?)sample.Quantize.Json["bytes"]);
        Assert.Equal(artifact.Manifest.OriginalBytes, (long?)sample.Quantize.Json["originalBytes"]);
        Assert.Equal("gutenberg-7m", (string?)sample.Quantize.Json["modelName"]);
        foreach (string file in new[] { "artifact", "record", "report" }) Assert.True(File.Exists((string?)sample.Quantize.Json[file]), file);
        Assert.Contains("layer 6 of 6", sample.Quantize.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("quantize")]
    [InlineData("compare")]
    public void What_failed_is_JSON_too_where_JSON_is_asked_for(string verb)
    {
        CommandLineRun run = CommandLineRun.Of(verb, sample.File("no model"), "-o", sample.File("out"), "--json");
        Assert.Equal(1, run.ExitCode);
        Assert.Equal("QB2001", (string?)run.Json["error"]!["code"]);
        Assert.Equal(DiagnosticIds.HelpLink("QB2001"), (string?)run.Json["error"]!["help"]);
    }

    [Theory]
    [InlineData("quantbuild ins", "inspect")]
    [InlineData("quantbuild inspect --js", "--json")]
    [InlineData("quantbuild   completion p", "pwsh")]
    [InlineData("quantbuild quantize --method Rtn --group", "--group-size")]
    public void Bash_completes_verbs_and_options(string typed, string expected)
    {
        if (OperatingSystem.IsWindows() || !File.Exists("/bin/bash")) return;
        CommandLineRun script = CommandLineRun.Of("completion", "bash");
        Assert.Equal(0, script.ExitCode);
        // A command of that name, as the tool's is.
        string folder = sample.File("bin"), command = Path.Combine(folder, "quantbuild");
        Directory.CreateDirectory(folder);
        if (!File.Exists(command))
        {
            File.WriteAllText(command, $"#!/bin/sh\nexec dotnet '{Path.Combine(AppContext.BaseDirectory, "QuantBuild.Worker.dll")}' \"$@\"\n");
            File.SetUnixFileMode(command, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        }

        ProcessStartInfo start = new("/bin/bash", ["--norc", "-c", $$"""
            {{script.Output}}
            COMP_LINE='{{typed}}' COMP_POINT={{typed.Length}}
            COMP_WORDS=($COMP_LINE) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _quantbuild
            printf '%s\n' "${COMPREPLY[@]}"
            """])
        {
            RedirectStandardOutput = true,
        };
        start.Environment["PATH"] = folder + ":" + Environment.GetEnvironmentVariable("PATH");
        using Process bash = Process.Start(start)!;
        Assert.Equal(expected, bash.StandardOutput.ReadToEnd().Trim());
    }

    [Theory]
    [InlineData("zsh", "compdef _quantbuild quantbuild")]
    [InlineData("fish", "complete -c quantbuild")]
    [InlineData("pwsh", "Register-ArgumentCompleter -Native -CommandName quantbuild")]
    public void The_other_shells_have_a_script_that_asks_the_command(string shell, string registers)
    {
        CommandLineRun script = CommandLineRun.Of("completion", shell);
        Assert.Equal(0, script.ExitCode);
        Assert.Contains(registers, script.Output, StringComparison.Ordinal);
        Assert.Contains("[suggest:", script.Output, StringComparison.Ordinal);
    }

    private static void Documented(Command command, string section)
    {
        foreach (Argument argument in command.Arguments.Where(argument => !argument.Hidden)) Assert.Contains($"<{argument.HelpName ?? argument.Name}>", section, StringComparison.Ordinal);
        foreach (Option option in command.Options.Where(option => !option.Hidden && option.Name != "--help")) Assert.Matches($@"(?m)^\| `{option.Name}[ `]", section);
        foreach (Command verb in command.Subcommands.Where(verb => !verb.Hidden))
        {
            Assert.Contains($"{command.Name} {verb.Name}", section, StringComparison.Ordinal);
            Documented(verb, section);
        }
    }
}
