namespace QuantBuild.Generators.Jinja;

/// <summary>A filter or test: the method of <c>QuantBuild.ChatTemplate</c> that does it, and the names of its arguments.</summary>
internal sealed record LibraryFunction(string Method, int Required, params string[] Parameters);

/// <summary>The filters, tests and functions that templates may use: those of jinja2 and transformers that published templates do.</summary>
internal static class JinjaLibrary
{
    /// <summary>Filters. Those that take a filter or a test by its name are not among them.</summary>
    public static IReadOnlyDictionary<string, LibraryFunction> Filters { get; } = new Dictionary<string, LibraryFunction>(StringComparer.Ordinal)
    {
        ["abs"] = new("FilterAbs", 0),
        ["attr"] = new("FilterAttr", 1, "name"),
        ["batch"] = new("FilterBatch", 1, "linecount", "fill_with"),
        ["capitalize"] = new("FilterCapitalize", 0),
        ["center"] = new("FilterCenter", 0, "width"),
        ["count"] = new("FilterLength", 0),
        ["d"] = new("FilterDefault", 0, "default_value", "boolean"),
        ["default"] = new("FilterDefault", 0, "default_value", "boolean"),
        ["dictsort"] = new("FilterDictSort", 0, "case_sensitive", "by", "reverse"),
        ["e"] = new("FilterEscape", 0),
        ["escape"] = new("FilterEscape", 0),
        ["first"] = new("FilterFirst", 0),
        ["float"] = new("FilterFloat", 0, "default"),
        ["indent"] = new("FilterIndent", 0, "width", "first", "blank"),
        ["int"] = new("FilterInt", 0, "default", "base"),
        ["items"] = new("FilterItems", 0),
        ["join"] = new("FilterJoin", 0, "d", "attribute"),
        ["last"] = new("FilterLast", 0),
        ["length"] = new("FilterLength", 0),
        ["list"] = new("FilterList", 0),
        ["lower"] = new("FilterLower", 0),
        ["max"] = new("FilterMax", 0, "case_sensitive", "attribute"),
        ["min"] = new("FilterMin", 0, "case_sensitive", "attribute"),
        ["replace"] = new("FilterReplace", 2, "old", "new", "count"),
        ["reverse"] = new("FilterReverse", 0),
        ["round"] = new("FilterRound", 0, "precision", "method"),
        ["safe"] = new("FilterSafe", 0),
        ["sort"] = new("FilterSort", 0, "reverse", "case_sensitive", "attribute"),
        ["string"] = new("FilterString", 0),
        ["sum"] = new("FilterSum", 0, "attribute", "start"),
        ["title"] = new("FilterTitle", 0),
        ["tojson"] = new("FilterToJson", 0, "ensure_ascii", "indent", "separators", "sort_keys"),
        ["trim"] = new("FilterTrim", 0, "chars"),
        ["unique"] = new("FilterUnique", 0, "case_sensitive", "attribute"),
        ["upper"] = new("FilterUpper", 0),
        ["wordcount"] = new("FilterWordCount", 0),
    };

    /// <summary>Tests.</summary>
    public static IReadOnlyDictionary<string, LibraryFunction> Tests { get; } = new Dictionary<string, LibraryFunction>(StringComparer.Ordinal)
    {
        ["boolean"] = new("TestBoolean", 0),
        ["callable"] = new("TestCallable", 0),
        ["defined"] = new("TestDefined", 0),
        ["divisibleby"] = new("TestDivisibleBy", 1, "num"),
        ["even"] = new("TestEven", 0),
        ["false"] = new("TestFalse", 0),
        ["float"] = new("TestFloat", 0),
        ["in"] = new("IsIn", 1, "seq"),
        ["integer"] = new("TestInteger", 0),
        ["iterable"] = new("TestIterable", 0),
        ["lower"] = new("TestLower", 0),
        ["mapping"] = new("TestMapping", 0),
        ["none"] = new("TestNone", 0),
        ["number"] = new("TestNumber", 0),
        ["odd"] = new("TestOdd", 0),
        ["sameas"] = new("TestSameAs", 1, "other"),
        ["sequence"] = new("TestSequence", 0),
        ["string"] = new("TestString", 0),
        ["true"] = new("TestTrue", 0),
        ["undefined"] = new("TestUndefined", 0),
        ["upper"] = new("TestUpper", 0),
        ["=="] = new("AreEqual", 1, "b"),
        ["eq"] = new("AreEqual", 1, "b"),
        ["equalto"] = new("AreEqual", 1, "b"),
        ["!="] = new("!AreEqual", 1, "b"),
        ["ne"] = new("!AreEqual", 1, "b"),
        ["<"] = new("IsLess", 1, "b"),
        ["lt"] = new("IsLess", 1, "b"),
        ["lessthan"] = new("IsLess", 1, "b"),
        ["<="] = new("IsLessOrEqual", 1, "b"),
        ["le"] = new("IsLessOrEqual", 1, "b"),
        [">"] = new("IsGreater", 1, "b"),
        ["gt"] = new("IsGreater", 1, "b"),
        ["greaterthan"] = new("IsGreater", 1, "b"),
        [">="] = new("IsGreaterOrEqual", 1, "b"),
        ["ge"] = new("IsGreaterOrEqual", 1, "b"),
    };

    /// <summary>Functions that a template may call, and the methods that do it.</summary>
    public static IReadOnlyDictionary<string, string> Functions { get; } = new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["dict"] = "Dict",
        ["namespace"] = "Namespace",
        ["raise_exception"] = "RaiseException",
        ["range"] = "Range",
        ["strftime_now"] = "StrftimeNow",
    };

    /// <summary>Functions of jinja2 that no published template uses.</summary>
    public static IReadOnlyCollection<string> UnsupportedFunctions { get; } = ["cycler", "joiner", "lipsum"];

    /// <summary>Methods of Python's texts that no published template uses.</summary>
    public static IReadOnlyCollection<string> UnsupportedMethods { get; } =
        ["encode", "expandtabs", "format", "format_map", "isascii", "isidentifier", "isprintable", "maketrans", "translate"];

    /// <summary>Names of the arguments of methods that may be given by name.</summary>
    public static IReadOnlyDictionary<string, string[]> MethodParameters { get; } = new Dictionary<string, string[]>(StringComparer.Ordinal)
    {
        ["rsplit"] = ["sep", "maxsplit"],
        ["split"] = ["sep", "maxsplit"],
        ["splitlines"] = ["keepends"],
    };
}
