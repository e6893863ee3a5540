using System.Text;
using Microsoft.CodeAnalysis.CSharp;

namespace QuantBuild.Generators;

/// <summary>Writes the class of a model's chat template.</summary>
internal static class ChatTemplateEmitter
{
    /// <summary>The class, private and within that of the model.</summary>
    /// <param name="className">Its name.</param>
    /// <param name="model">The model, for its special tokens.</param>
    /// <param name="code">The statements that the template came to.</param>
    public static string Emit(string className, ModelDescriptor model, string code)
    {
        StringBuilder text = new();
        text.Append($"private sealed class {className} : global::QuantBuild.ChatTemplate\n{{\n    internal {className}()\n");
        text.Append($"        : base({Literal(model.BosToken)}, {Literal(model.EosToken)}, {Literal(model.UnkToken)}, {Literal(model.PadToken)})\n    {{\n    }}\n\n");
        text.Append("    protected override void Write(global::QuantBuild.Chat.TemplateVariables variables, global::System.Text.StringBuilder output)\n    {\n");
        foreach (string line in code.TrimEnd('\n').Split('\n')) text.Append(line.Length > 0 ? $"        {line}\n" : "\n");
        return text.Append("    }\n}\n").ToString();
    }

    private static string Literal(string? value) => value is null ? "null" : SymbolDisplay.FormatLiteral(value, quote: true);
}
