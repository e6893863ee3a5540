using System.CommandLine;

namespace QuantBuild.Worker;

/// <summary>The verb <c>completion</c>: a script by which a shell completes verbs and options. It asks the command itself, by the directive <c>[suggest]</c>.</summary>
internal static class CompletionCommand
{
    /// <summary>The scripts, by shell. Each gives the words before the cursor, without the command's own name, and falls back to names of files where none of the suggestions fits.</summary>
    private static readonly Dictionary<string, string> Scripts = new()
    {
        ["bash"] = """
            # quantbuild completion bash >> ~/.bashrc
            _quantbuild() {
                local before="${COMP_LINE:0:COMP_POINT}" word="${COMP_WORDS[COMP_CWORD]}"
                local typed="${before#*[[:space:]]}"
                local IFS=$'\n'
                COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" "[suggest:${#typed}]" "$typed" 2>/dev/null)" -- "$word"))
            }
            complete -o default -F _quantbuild quantbuild
            """,
        ["zsh"] = """
            # quantbuild completion zsh >> ~/.zshrc
            _quantbuild() {
                local before="${(j: :)words[1,CURRENT]}"
                local typed="${before#* }"
                local -a found
                found=("${(@f)$(${words[1]} "[suggest:${#typed}]" "$typed" 2>/dev/null)}")
                if [[ -n "${found[1]}" ]] && compadd -a found; then return; fi
                _files
            }
            compdef _quantbuild quantbuild
            """,
        ["fish"] = """
            # quantbuild completion fish > ~/.config/fish/completions/quantbuild.fish
            function __quantbuild_complete
                set -l typed (string replace -r '^\S+\s+' '' -- (commandline -cp))
                quantbuild "[suggest:"(string length -- "$typed")"]" "$typed" 2>/dev/null
            end
            complete -c quantbuild -a '(__quantbuild_complete)'
            """,
        ["pwsh"] = """
            # quantbuild completion pwsh >> $PROFILE
            Register-ArgumentCompleter -Native -CommandName quantbuild -ScriptBlock {
                param($wordToComplete, $commandAst, $cursorPosition)
                $before = $commandAst.ToString().PadRight($cursorPosition).Substring(0, $cursorPosition)
                $typed = $before -replace '^\S+\s+', ''
                quantbuild "[suggest:$($typed.Length)]" "$typed" 2>$null | Where-Object { $_ -like "$wordToComplete*" } | ForEach-Object {
                    [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
                }
            }
            """,
    };

    /// <summary>The command.</summary>
    public static Command Create()
    {
        Argument<string> shell = new("shell") { HelpName = "shell", Description = $"The shell: {string.Join(", ", Scripts.Keys)}." };
        shell.AcceptOnlyFromAmong([.. Scripts.Keys]);
        Command command = new("completion", "Prints a script by which a shell completes verbs and options.") { shell };
        command.SetAction(result =>
        {
            // The line ends of the shell, whichever this source has.
            Console.Out.Write(Scripts[result.GetValue(shell)!].ReplaceLineEndings("\n") + "\n");
            return Verb.Succeeded;
        });
        return command;
    }
}
