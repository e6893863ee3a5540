using System.Globalization;
using System.Text;
using Microsoft.CodeAnalysis.CSharp;

namespace QuantBuild.Generators.Jinja;

/// <summary>
/// Writes a template as the body of a method of a class derived from <c>QuantBuild.ChatTemplate</c>. A name of the template becomes a variable of C# in the block where jinja2 has its scope: what a
/// loop, macro or block assigns is its own, and begins with the value that the name has outside.
/// </summary>
internal sealed partial class JinjaEmitter
{
    private const string Value = "global::QuantBuild.Chat.TemplateValue";
    private const string Buffer = "global::System.Text.StringBuilder";
    private const int DeepestExpression = 150;

    private readonly StringBuilder code = new();

    // Names that no scope has: they are asked of what the template was given, once.
    private readonly Dictionary<string, string> given = new(StringComparer.Ordinal);
    private Scope scope = new(null);
    private string output = "output";
    private int indent;
    private int names;
    private int depth;

    /// <summary>The statements of the method <c>Write(variables, output)</c>, each line indented by four spaces for each block that it is in.</summary>
    /// <exception cref="JinjaException">The template asks for what is not supported.</exception>
    public static string Write(IReadOnlyList<Statement> template)
    {
        JinjaEmitter emitter = new();
        emitter.DeclareStored(template);
        emitter.Emit(template);
        StringBuilder code = new();
        foreach (KeyValuePair<string, string> name in emitter.given) code.Append($"{Value} {name.Value} = variables[{Literal(name.Key)}];\n");
        return code.Append(emitter.code).ToString();
    }

    private static string Literal(string text) => SymbolDisplay.FormatLiteral(text, quote: true);

    private void Emit(IReadOnlyList<Statement> statements)
    {
        foreach (Statement statement in statements)
        {
            Emit(statement);
            // What follows is never reached, and C# would say so.
            if (statement is LeaveLoop) return;
        }
    }

    private void Emit(Statement statement)
    {
        switch (statement)
        {
            case Data data:
                Line($"{output}.Append({Literal(data.Text)});");
                break;
            case Output { Value: Constant { Value: string text } }:
                if (text.Length > 0) Line($"{output}.Append({Literal(text)});");
                break;
            case Output write:
                Line($"Append({output}, {ValueOf(write.Value)});");
                break;
            case If choice:
                EmitIf(choice);
                break;
            case For loop:
                EmitFor(loop);
                break;
            case Set set:
                Assign(set.Target, ValueOf(set.Value));
                break;
            case SetBlock block:
                EmitSetBlock(block);
                break;
            case FilterBlock block:
                EmitBlock(() =>
                {
                    string text = EmitText(block.Body);
                    Line($"Append({output}, {FilterOf((FilterOf)block.Filter, $"Text({text})")});");
                });
                break;
            case MacroOf macro:
                Assign(new Name(macro.Position, macro.Name), EmitMacro(macro));
                break;
            case CallBlock block:
                EmitCall(block);
                break;
            case With with:
                EmitWith(with);
                break;
            case LeaveLoop leave:
                Line(leave.IsBreak ? "break;" : "continue;");
                break;
        }
    }

    private void EmitIf(If choice)
    {
        for (int i = 0; i < choice.Branches.Count; i++)
        {
            Line($"{(i > 0 ? "else " : "")}if ({ConditionOf(choice.Branches[i].Key)})");
            EmitBlock(() => Emit(choice.Branches[i].Value));
        }

        if (choice.Otherwise.Count == 0) return;
        Line("else");
        EmitBlock(() => Emit(choice.Otherwise));
    }

    private void EmitFor(For loop) => EmitBlock(() =>
    {
        string name = NewName("loop");
        string condition = loop.Condition is null ? "" : ", " + LoopCondition(loop);
        Line($"global::QuantBuild.Chat.TemplateLoop {name} = Loop({ValueOf(loop.Items)}{condition});");
        Line($"while ({name}.Next())");
        EmitScope(() =>
        {
            Declare("loop", $"Value({name})");
            DeclareTargets(loop.Target, $"{name}.Item");
            DeclareStored(loop.Body);
            Emit(loop.Body);
        });
        if (loop.Otherwise.Count == 0) return;
        Line($"if ({name}.Count == 0)");
        EmitScope(() =>
        {
            DeclareStored(loop.Otherwise);
            Emit(loop.Otherwise);
        });
    });

    /// <summary>The condition of a loop as a function of an item.</summary>
    private string LoopCondition(For loop)
    {
        Scope outer = scope;
        scope = new Scope(outer);
        string item = NewName("item");
        int start = code.Length;
        DeclareTargets(loop.Target, item);
        Line($"return {ConditionOf(loop.Condition!)};");
        string body = string.Join(" ", code.ToString(start, code.Length - start).Split('\n').Select(line => line.Trim()));
        code.Length = start;
        scope = outer;
        return $"({Value} {item}) => {{ {body}}}";
    }

    private void EmitSetBlock(SetBlock block) => EmitBlock(() =>
    {
        string text = $"Text({EmitText(block.Body)})";
        Assign(block.Target, block.Filter is null ? text : FilterOf((FilterOf)block.Filter, text));
    });

    /// <summary>Writes statements that write to a text of their own; its variable.</summary>
    private string EmitText(IReadOnlyList<Statement> body)
    {
        string outer = output, inner = NewName("output");
        Line($"{Buffer} {inner} = new {Buffer}();");
        output = inner;
        EmitScope(() =>
        {
            DeclareStored(body);
            Emit(body);
        });
        output = outer;
        return inner;
    }

    /// <summary>Writes a macro to a variable; that.</summary>
    private string EmitMacro(MacroOf macro)
    {
        string name = NewName("macro"), arguments = NewName("arguments");
        string parameters = string.Join(", ", macro.Parameters.Select(Literal));
        Line($"{Value} {name} = Macro({Literal(macro.Name)}, {Names(parameters)}, ({Value}[] {arguments}) =>");
        EmitScope(() =>
        {
            scope.IsMacro = true;
            string outer = output;
            output = NewName("output");
            Line($"{Buffer} {output} = new {Buffer}();");
            for (int i = 0; i < macro.Parameters.Count; i++)
            {
                string parameter = Declare(macro.Parameters[i], $"{arguments}[{Plain(i)}]");
                int fallback = i - (macro.Parameters.Count - macro.Defaults.Count);
                Line($"if ({parameter}.IsMissing) {parameter} = {(fallback < 0 ? $"default({Value})" : ValueOf(macro.Defaults[fallback]))};");
            }

            Declare("caller", $"{arguments}[{Plain(macro.Parameters.Count)}]");
            DeclareStored(macro.Body);
            Emit(macro.Body);
            Line($"return {output}.ToString();");
            output = outer;
        });
        Line(");");
        return name;
    }

    private void EmitCall(CallBlock block) => EmitBlock(() =>
    {
        string caller = EmitMacro(block.Caller);
        if (block.Call.Function is AttributeOf) throw new JinjaException(block.Position, "a call block that calls a method is not supported");
        Line($"Append({output}, {CallOf(block.Call.Function, block.Call.Arguments, caller)});");
    });

    private void EmitWith(With with)
    {
        Scope outer = scope;
        EmitScope(() =>
        {
            // A value may use a name that another value is given to: it is the one outside.
            foreach (KeyValuePair<string, Expression> value in with.Values)
            {
                Scope inner = scope;
                scope = outer;
                string text = ValueOf(value.Value);
                scope = inner;
                Declare(value.Key, text);
            }

            DeclareStored(with.Body);
            Emit(with.Body);
        });
    }

    // Names.

    private void Assign(Expression target, string value)
    {
        switch (target)
        {
            case Name name:
                string variable = scope.Find(name.Text)!;
                if (variable != value) Line($"{variable} = {value};");
                break;
            case AttributeOf { Target: Name name } attribute:
                Line($"SetAttribute({NameOf(name)}, {Literal(attribute.Name)}, {value});");
                break;
            case TupleOf tuple:
                string items = Unpack(tuple, value);
                for (int i = 0; i < tuple.Items.Count; i++) Assign(tuple.Items[i], $"{items}[{Plain(i)}]");
                break;
        }
    }

    private void DeclareTargets(Expression target, string value)
    {
        if (target is Name name)
        {
            Declare(name.Text, value);
        }
        else if (target is TupleOf tuple)
        {
            string items = Unpack(tuple, value);
            for (int i = 0; i < tuple.Items.Count; i++) DeclareTargets(tuple.Items[i], $"{items}[{Plain(i)}]");
        }
    }

    private string Unpack(TupleOf tuple, string value)
    {
        string items = NewName("items");
        Line($"global::System.Collections.Generic.IReadOnlyList<{Value}> {items} = Unpack({value}, {Plain(tuple.Items.Count)});");
        return items;
    }

    /// <summary>Gives this scope a variable; a name that comes twice is one.</summary>
    private string Declare(string name, string value)
    {
        if (scope.Names.TryGetValue(name, out string variable))
        {
            Line($"{variable} = {value};");
            return variable;
        }

        variable = NewName(name);
        scope.Names.Add(name, variable);
        Line($"{Value} {variable} = {value};");
        return variable;
    }

    /// <summary>Gives this scope the names that its statements assign to, each with the value that it has outside.</summary>
    private void DeclareStored(IReadOnlyList<Statement> body)
    {
        List<string> stored = [];
        AddStored(body, stored);
        foreach (string name in stored.Distinct())
        {
            if (scope.Names.ContainsKey(name)) continue;
            string value = scope.Parent is null ? $"variables[{Literal(name)}]" : NameOf(new Name(0, name));
            Declare(name, value);
        }
    }

    private static void AddStored(IReadOnlyList<Statement> body, List<string> stored)
    {
        foreach (Statement statement in body)
        {
            if (statement is Set set) AddTargets(set.Target, stored);
            if (statement is SetBlock block) AddTargets(block.Target, stored);
            if (statement is MacroOf macro) stored.Add(macro.Name);
            if (statement is not If choice) continue;
            foreach (KeyValuePair<Expression, IReadOnlyList<Statement>> branch in choice.Branches) AddStored(branch.Value, stored);
            AddStored(choice.Otherwise, stored);
        }
    }

    private static void AddTargets(Expression target, List<string> stored)
    {
        if (target is Name name) stored.Add(name.Text);
        if (target is not TupleOf tuple) return;
        foreach (Expression item in tuple.Items) AddTargets(item, stored);
    }

    private string NewName(string name)
    {
        bool isPlain = name.All(c => c is >= 'a' and <= 'z' or >= 'A' and <= 'Z' or >= '0' and <= '9' or '_');
        return $"{(isPlain ? name : "name")}_{Plain(++names)}";
    }

    // Text.

    private static string Plain(int number) => number.ToString(CultureInfo.InvariantCulture);

    private static string Names(string literals) => literals.Length == 0 ? "global::System.Array.Empty<string>()" : $"new string[] {{ {literals} }}";

    private void Line(string text) => code.Append(' ', indent * 4).Append(text).Append('\n');

    private void EmitBlock(Action body)
    {
        Line("{");
        indent++;
        body();
        indent--;
        Line("}");
    }

    private void EmitScope(Action body)
    {
        Scope outer = scope;
        scope = new Scope(outer);
        EmitBlock(body);
        scope = outer;
    }

    /// <summary>The names of a scope of the template, and their variables.</summary>
    private sealed class Scope(Scope? parent)
    {
        public Scope? Parent => parent;

        public Dictionary<string, string> Names { get; } = new(StringComparer.Ordinal);

        public bool IsMacro { get; set; }

        public string? Find(string name) => Names.TryGetValue(name, out string variable) ? variable : parent?.Find(name);

        public bool IsInMacro => IsMacro || (parent?.IsInMacro ?? false);
    }
}
