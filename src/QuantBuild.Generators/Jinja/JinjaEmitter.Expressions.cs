using System.Globalization;

namespace QuantBuild.Generators.Jinja;

// Expressions, as a value of the template or as a condition of C#.
internal sealed partial class JinjaEmitter
{
    private static readonly Dictionary<string, string> BinaryMethods = new(StringComparer.Ordinal)
    {
        ["+"] = "Add",
        ["-"] = "Subtract",
        ["*"] = "Multiply",
        ["/"] = "Divide",
        ["//"] = "FloorDivide",
        ["%"] = "Modulo",
        ["**"] = "Power",
    };

    private static readonly Dictionary<string, string> ComparisonMethods = new(StringComparer.Ordinal)
    {
        ["=="] = "AreEqual",
        ["!="] = "!AreEqual",
        ["<"] = "IsLess",
        ["<="] = "IsLessOrEqual",
        [">"] = "IsGreater",
        [">="] = "IsGreaterOrEqual",
        ["in"] = "IsIn",
        ["not in"] = "!IsIn",
    };

    private string ValueOf(Expression expression)
    {
        if (++depth > DeepestExpression) throw new JinjaException(expression.Position, $"expressions are nested deeper than {DeepestExpression}");
        string text = expression switch
        {
            Constant constant => ConstantOf(constant),
            Name name => NameOf(name),
            TupleOf tuple => $"Tuple({ValuesOf(tuple.Items)})",
            ListOf list => $"List({ValuesOf(list.Items)})",
            MappingOf mapping => $"Mapping({ValuesOf(mapping.Entries)})",
            AttributeOf attribute => $"Attribute({ValueOf(attribute.Target)}, {Literal(attribute.Name)})",
            ItemOf item => $"Item({ValueOf(item.Target)}, {ValueOf(item.Index)})",
            SliceOf slice => $"Slice({ValueOf(slice.Target)}, {BoundOf(slice.Start)}, {BoundOf(slice.Stop)}, {BoundOf(slice.Step)})",
            CallOf { Function: AttributeOf method } call => MethodOf(method, call.Arguments),
            CallOf call => CallOf(call.Function, call.Arguments, caller: null),
            FilterOf filter => FilterOf(filter, ValueOf(filter.Target!)),
            Unary { Operator: "-" } unary => $"Negate({ValueOf(unary.Operand)})",
            Unary { Operator: "+" } unary => $"Plus({ValueOf(unary.Operand)})",
            Binary { Operator: "and" } both => $"({ValueOf(both.Left)} && {ValueOf(both.Right)})",
            Binary { Operator: "or" } either => $"({ValueOf(either.Left)} || {ValueOf(either.Right)})",
            Binary binary => $"{BinaryMethods[binary.Operator]}({ValueOf(binary.Left)}, {ValueOf(binary.Right)})",
            ConcatOf concat => $"Concat({ValuesOf(concat.Items)})",
            Conditional choice => $"({ConditionOf(choice.Condition)} ? {ValueOf(choice.Then)} : {(choice.Otherwise is null ? $"default({Value})" : ValueOf(choice.Otherwise))})",
            _ => $"Bool({ConditionOf(expression)})",
        };
        depth--;
        return text;
    }

    private string ConditionOf(Expression expression)
    {
        if (++depth > DeepestExpression) throw new JinjaException(expression.Position, $"expressions are nested deeper than {DeepestExpression}");
        string text = expression switch
        {
            Unary { Operator: "not" } unary => $"!({ConditionOf(unary.Operand)})",
            Binary { Operator: "and" } both => $"({ConditionOf(both.Left)} && {ConditionOf(both.Right)})",
            Binary { Operator: "or" } either => $"({ConditionOf(either.Left)} || {ConditionOf(either.Right)})",
            Comparison comparison => ComparisonOf(comparison),
            TestOf test => TestOf(test.Position, test.Name, ValueOf(test.Target), test.Arguments),
            _ => $"IsTrue({ValueOf(expression)})",
        };
        depth--;
        return text;
    }

    private static string ConstantOf(Constant constant) => constant.Value switch
    {
        null => "None",
        bool boolean => boolean ? "Bool(true)" : "Bool(false)",
        long integer => $"Number({integer.ToString(CultureInfo.InvariantCulture)}L)",
        double number => double.IsInfinity(number) ? throw new JinjaException(constant.Position, "the number is too large") : $"Number({number.ToString("R", CultureInfo.InvariantCulture)}D)",
        _ => $"Text({Literal((string)constant.Value)})",
    };

    private string NameOf(Name name)
    {
        if (scope.Find(name.Text) is { } variable) return variable;
        // A template may ask whether a function is there.
        if (JinjaLibrary.Functions.ContainsKey(name.Text)) return "Bool(true)";
        if (JinjaLibrary.UnsupportedFunctions.Contains(name.Text)) throw new JinjaException(name.Position, $"the function '{name.Text}' is not supported");
        if (name.Text is "varargs" or "kwargs" && scope.IsInMacro) throw new JinjaException(name.Position, $"'{name.Text}' of macros is not supported");
        if (!given.TryGetValue(name.Text, out variable)) given.Add(name.Text, variable = NewName(name.Text));
        return variable;
    }

    private string BoundOf(Expression? bound) => bound is null ? "None" : ValueOf(bound);

    private string ValuesOf(IEnumerable<Expression> expressions) => string.Join(", ", expressions.Select(ValueOf));

    private string ComparisonOf(Comparison comparison)
    {
        // Between two operators an operand is needed twice.
        foreach (Expression operand in comparison.Operands.Take(comparison.Operands.Count - 1))
        {
            if (operand is not (Constant or Name or AttributeOf { Target: Name })) throw new JinjaException(operand.Position, "a chain of comparisons is supported of names and constants alone");
        }

        List<string> links = [];
        string left = ValueOf(comparison.First);
        for (int i = 0; i < comparison.Operands.Count; i++)
        {
            string right = ValueOf(comparison.Operands[i]);
            links.Add($"{ComparisonMethods[comparison.Operators[i]]}({left}, {right})");
            left = right;
        }

        return links.Count == 1 ? links[0] : $"({string.Join(" && ", links)})";
    }

    private string TestOf(int position, string name, string value, Arguments arguments)
    {
        if (!JinjaLibrary.Tests.TryGetValue(name, out LibraryFunction function)) throw new JinjaException(position, $"the test '{name}' is not supported");
        return Library(position, $"test '{name}'", function, value, arguments);
    }

    private string FilterOf(FilterOf filter, string value)
    {
        // Filters of a block come one after another, the first of them without a target.
        if (filter.Target is FilterOf inner && value.StartsWith("Text(", StringComparison.Ordinal) && IsOfBlock(filter)) value = FilterOf(inner, value);
        return FilterOf(filter.Position, filter.Name, value, filter.Arguments);
    }

    private static bool IsOfBlock(FilterOf filter)
    {
        Expression? target = filter.Target;
        while (target is FilterOf inner) target = inner.Target;
        return target is null;
    }

    private string FilterOf(int position, string name, string value, Arguments arguments)
    {
        switch (name)
        {
            case "map":
                CheckRest(position, arguments);
                return Map(position, value, arguments);
            case "select" or "reject":
                return $"FilterSelect({value}, {Predicate(position, name, arguments, first: 0)})";
            case "selectattr" or "rejectattr":
                if (arguments.Positional == 0) throw new JinjaException(position, $"the filter '{name}' needs the name of an attribute");
                return $"FilterSelectAttribute({value}, {ValueOf(arguments.Values[0])}, {Predicate(position, name, arguments, first: 1)})";
            case "format":
                CheckRest(position, arguments);
                if (arguments.Names.Count > 0) throw new JinjaException(position, "named arguments of the filter 'format' are not supported");
                return $"FilterFormat({string.Join(", ", [value, .. arguments.Values.Select(ValueOf)])})";
            default:
                if (!JinjaLibrary.Filters.TryGetValue(name, out LibraryFunction function)) throw new JinjaException(position, $"the filter '{name}' is not supported");
                return Library(position, $"filter '{name}'", function, value, arguments);
        }
    }

    private string Map(int position, string value, Arguments arguments)
    {
        if (arguments.Positional == 0 && arguments.Names.Contains("attribute"))
        {
            string? Named(string name) => arguments.Names.Contains(name) ? ValueOf(arguments.Values[arguments.Names.ToList().IndexOf(name)]) : null;
            if (arguments.Names.Any(name => name is not ("attribute" or "default"))) throw new JinjaException(position, "the filter 'map' has arguments that are not supported");
            return $"FilterMapAttribute({value}, {Named("attribute")}, {Named("default") ?? $"default({Value})"})";
        }

        if (arguments.Positional == 0 || arguments.Values[0] is not Constant { Value: string filter }) throw new JinjaException(position, "the filter 'map' needs the name of a filter or attribute=");
        string item = NewName("item");
        return $"FilterMap({value}, ({Value} {item}) => {FilterOf(position, filter, item, new Arguments([.. arguments.Values.Skip(1)], arguments.Names))})";
    }

    /// <summary>A test of items as a function, the name of the test being an argument, if there is one.</summary>
    private string Predicate(int position, string filter, Arguments arguments, int first)
    {
        CheckRest(position, arguments);
        string item = NewName("item");
        string test = $"IsTrue({item})";
        if (arguments.Values.Count > first)
        {
            if (arguments.Positional <= first || arguments.Values[first] is not Constant { Value: string name }) throw new JinjaException(position, $"the filter '{filter}' needs the name of a test as a constant");
            test = TestOf(position, name, item, new Arguments([.. arguments.Values.Skip(first + 1)], arguments.Names));
        }

        return $"({Value} {item}) => {(filter.StartsWith("reject", StringComparison.Ordinal) ? $"!({test})" : test)}";
    }

    private string Library(int position, string what, LibraryFunction function, string value, Arguments arguments) =>
        $"{function.Method}({string.Join(", ", [value, .. Bind(position, what, function.Parameters, function.Required, arguments)])})";

    /// <summary>Arguments in the order of the parameters; those at the end that are not given are left out.</summary>
    private List<string> Bind(int position, string what, string[] parameters, int required, Arguments arguments)
    {
        CheckRest(position, arguments);
        if (arguments.Positional > parameters.Length) throw new JinjaException(position, $"the {what} takes at most {parameters.Length} arguments");
        Expression?[] values = new Expression?[parameters.Length];
        for (int i = 0; i < arguments.Values.Count; i++)
        {
            int parameter = i < arguments.Positional ? i : Array.IndexOf(parameters, arguments.Names[i - arguments.Positional]);
            if (parameter < 0 || values[parameter] is not null) throw new JinjaException(position, $"the {what} takes no argument '{arguments.Names[i - arguments.Positional]}' here");
            values[parameter] = arguments.Values[i];
        }

        int count = values.Length;
        while (count > 0 && values[count - 1] is null) count--;
        if (Array.IndexOf(values, null, 0, Math.Min(required, values.Length)) >= 0) throw new JinjaException(position, $"the {what} needs {required} arguments");
        return [.. values.Take(count).Select(value => value is null ? $"default({Value})" : ValueOf(value))];
    }

    // What is called must be a macro for that.
    private static void CheckRest(int position, Arguments arguments)
    {
        if (arguments.Rest is not null) throw new JinjaException(position, "arguments of a sequence are supported of macros alone");
    }

    private string MethodOf(AttributeOf method, Arguments arguments)
    {
        CheckRest(method.Position, arguments);
        if (JinjaLibrary.UnsupportedMethods.Contains(method.Name)) throw new JinjaException(method.Position, $"the method '{method.Name}' is not supported");
        IEnumerable<string> values = arguments.Values.Select(ValueOf);
        if (arguments.Names.Count > 0)
        {
            if (!JinjaLibrary.MethodParameters.TryGetValue(method.Name, out string[] parameters)) throw new JinjaException(method.Position, $"named arguments of the method '{method.Name}' are not supported");
            values = Bind(method.Position, $"method '{method.Name}'", parameters, 0, arguments).Select(value => value.StartsWith("default(", StringComparison.Ordinal) ? "None" : value);
        }

        return $"Method({string.Join(", ", [ValueOf(method.Target), Literal(method.Name), .. values])})";
    }

    /// <param name="function">What is called.</param>
    /// <param name="arguments">With what.</param>
    /// <param name="caller">The variable of the macro that a call block is.</param>
    private string CallOf(Expression function, Arguments arguments, string? caller)
    {
        List<string> values = [.. arguments.Values.Select(ValueOf)];
        List<string> argumentNames = [.. arguments.Names.Select(Literal)];
        if (caller is not null)
        {
            values.Add(caller);
            argumentNames.Add(Literal("caller"));
        }

        string named = Names(string.Join(", ", argumentNames));
        if (function is not Name name || scope.Find(name.Text) is not null || !JinjaLibrary.Functions.TryGetValue(name.Text, out string method))
        {
            string[] rest = arguments.Rest is null ? [] : [ValueOf(arguments.Rest)];
            return $"{(rest.Length > 0 ? "CallWith" : "Call")}({string.Join(", ", [ValueOf(function), named, .. rest, .. values])})";
        }

        CheckRest(name.Position, arguments);

        if (name.Text is "dict" or "namespace") return $"{method}({string.Join(", ", [named, .. values])})";
        if (argumentNames.Count > 0) throw new JinjaException(name.Position, $"named arguments of '{name.Text}' are not supported");
        if (name.Text is "range") return $"{method}({string.Join(", ", values)})";
        if (values.Count != 1) throw new JinjaException(name.Position, $"'{name.Text}' takes one argument");
        return name.Text is "strftime_now" ? $"{method}(variables, {values[0]})" : $"{method}({values[0]})";
    }
}
