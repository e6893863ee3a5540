using System.Text;
using System.Text.RegularExpressions;

namespace QuantBuild;

/// <summary>The name of a model's class, and of its file, from what the item says.</summary>
public static class ClassNames
{
    // C#'s reserved words. A name made here starts with a capital or an underscore, so only given names can meet one.
    private static readonly HashSet<string> Keywords = new(StringComparer.Ordinal)
    {
        "abstract", "as", "base", "bool", "break", "byte", "case", "catch", "char", "checked", "class", "const", "continue", "decimal",
        "default", "delegate", "do", "double", "else", "enum", "event", "explicit", "extern", "false", "finally", "fixed", "float", "for",
        "foreach", "goto", "if", "implicit", "in", "int", "interface", "internal", "is", "lock", "long", "namespace", "new", "null",
        "object", "operator", "out", "override", "params", "private", "protected", "public", "readonly", "ref", "return", "sbyte",
        "sealed", "short", "sizeof", "stackalloc", "static", "string", "struct", "switch", "this", "throw", "true", "try", "typeof",
        "uint", "ulong", "unchecked", "unsafe", "ushort", "using", "virtual", "void", "volatile", "while",
    };

    // Of a file that was split, with the number of the part.
    private static readonly Regex GgufEnding = new(@"(?:-[0-9]{5}-of-[0-9]{5})?\.gguf\z", RegexOptions.CultureInvariant | RegexOptions.IgnoreCase);

    // A class cannot have a member of its own name.
    private static readonly HashSet<string> MemberNames = new(StringComparer.Ordinal)
    {
        "Generate", "GenerateAsync", "Info", "Load", "LoadAsync", "Shared", "StreamAsync", "QuantBuildInstance",
    };

    /// <summary>
    /// The last segment of a model's path or hub id, without a <c>.gguf</c> and without <c>-00001-of-00003</c> before that: <c>meta-llama/Llama-2-7b-hf</c> is <c>Llama-2-7b-hf</c>, and so is a commit of it in the hub's cache,
    /// <c>models--meta-llama--Llama-2-7b-hf/snapshots/…</c>.
    /// </summary>
    /// <param name="include">The item's <c>Include</c>: a folder, a GGUF file or a hub id.</param>
    public static string ModelName(string include)
    {
        string[] segments = include.TrimEnd('/', '\\').Split('/', '\\');
        const string ofModels = "models--";
        string repository = segments.Length > 2 && segments[segments.Length - 2] == "snapshots" ? segments[segments.Length - 3] : "";
        if (repository.StartsWith(ofModels, StringComparison.Ordinal)) return repository.Substring(Math.Max(repository.LastIndexOf("--", StringComparison.Ordinal) + 2, ofModels.Length));
        string name = segments[segments.Length - 1];
        return GgufEnding.Replace(name, "");
    }

    /// <summary>
    /// The class name of a model: its name in PascalCase without a trailing <c>-hf</c>, an underscore where two digits would meet,
    /// then method, then bits unless the method's name ends with them. <c>llama-7b</c>, GPTQ, 4 bits is <c>Llama7bGptq4</c>;
    /// <c>Qwen2.5-0.5B</c> is <c>Qwen2_5_0_5BGptq4</c>; <c>llama-7b</c>, NF4 is <c>Llama7bNf4</c>.
    /// </summary>
    /// <param name="modelName">What <see cref="ModelName"/> gave.</param>
    /// <param name="method">The method's name.</param>
    /// <param name="width">Bits, or the budget in their place; a point in it becomes an underscore.</param>
    public static string Create(string modelName, string method, string width)
    {
        string name = modelName.EndsWith("-hf", StringComparison.OrdinalIgnoreCase) ? modelName.Substring(0, modelName.Length - 3) : modelName;
        StringBuilder result = new();
        bool startOfWord = true;
        foreach (char c in name)
        {
            if (!char.IsLetterOrDigit(c))
            {
                startOfWord = true;
                continue;
            }

            if (startOfWord && result.Length > 0 && char.IsDigit(c) && char.IsDigit(result[result.Length - 1])) result.Append('_');
            result.Append(startOfWord ? char.ToUpperInvariant(c) : c);
            startOfWord = false;
        }

        result.Append(method);
        if (!method.EndsWith(width, StringComparison.Ordinal)) result.Append(width.Replace('.', '_'));
        if (char.IsDigit(result[0])) result.Insert(0, '_');
        return result.ToString();
    }

    /// <summary>
    /// The namespace of a project's models: its root namespace and <c>.Models</c>. A root namespace comes from the project file's name, which need
    /// not be a C# name: what C# does not accept becomes an underscore, so that <c>my-app</c> gives <c>my_app.Models</c>.
    /// </summary>
    /// <param name="rootNamespace">The project's <c>RootNamespace</c>; may be empty.</param>
    public static string DefaultNamespace(string rootNamespace)
    {
        IEnumerable<string> segments = rootNamespace.Split(['.'], StringSplitOptions.RemoveEmptyEntries).Select(segment =>
        {
            string name = string.Concat(segment.Select(c => c == '_' || char.IsLetterOrDigit(c) ? c : '_'));
            return IsIdentifier(name) ? name : "_" + name;
        });
        return string.Join(".", segments.Append("Models"));
    }

    /// <summary>Whether a text is a C# identifier that needs no escape.</summary>
    public static bool IsIdentifier(string text) =>
        text.Length > 0
        && (text[0] == '_' || char.IsLetter(text[0]))
        && text.All(c => c == '_' || char.IsLetterOrDigit(c))
        && !Keywords.Contains(text);

    /// <summary>Whether a text can name a generated class: an identifier that none of the class's members has.</summary>
    public static bool IsClassName(string text) => IsIdentifier(text) && !MemberNames.Contains(text);

    /// <summary>Whether a text is a dotted C# namespace.</summary>
    public static bool IsNamespace(string text) => text.Split('.').All(IsIdentifier);
}
