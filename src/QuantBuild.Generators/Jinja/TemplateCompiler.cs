namespace QuantBuild.Generators.Jinja;

/// <summary>A template as read.</summary>
/// <param name="Path">Where it is.</param>
/// <param name="Text">What it says.</param>
internal sealed record TemplateFile(string Path, string Text);

/// <summary>What became of a template.</summary>
/// <param name="Path">Where it is.</param>
/// <param name="Code">The statements of its method; <see langword="null"/> where it cannot be compiled.</param>
/// <param name="Error">Why not.</param>
/// <param name="Line">Line of the error, from 0.</param>
/// <param name="Column">Column of the error, from 0.</param>
internal sealed record CompiledTemplate(string Path, string? Code, string Error, int Line, int Column);

/// <summary>Makes C# of a chat template.</summary>
internal static class TemplateCompiler
{
    /// <summary>Compiles a template. What is wrong with it is part of the result.</summary>
    public static CompiledTemplate Compile(TemplateFile template)
    {
        string source = template.Text.Replace("\r\n", "\n").Replace('\r', '\n');
        try
        {
            return new CompiledTemplate(template.Path, JinjaEmitter.Write(JinjaParser.Parse(source)), "", 0, 0);
        }
        catch (JinjaException e)
        {
            int position = Math.Min(e.Position, source.Length);
            int line = source.Take(position).Count(c => c == '\n');
            int column = position == 0 ? 0 : position - 1 - source.LastIndexOf('\n', position - 1);
            return new CompiledTemplate(template.Path, null, e.Message, line, column);
        }
    }
}
