using System.Globalization;
using System.Text;

namespace QuantBuild.Constraints;

/// <summary>
/// Reads a grammar in GBNF, the notation of llama.cpp: rules <c>name ::= …</c>, literals, character classes, <c>.</c>, groups, alternatives, repetition, comments.
/// A rule ends at the end of its line, unless a group is open or an alternative is still to come.
/// </summary>
internal sealed class GrammarParser
{
    // So deep groups are nested at most: the parser and what follows it are recursive.
    private const int MaxNesting = 200;

    // A larger number of repetitions would not fit into any automaton.
    private const int MaxRepetitions = 100_000;

    private readonly string text;
    private readonly Grammar grammar = new(DiagnosticIds.GrammarInvalid);
    private readonly List<(string Rule, int Position)> references = [];
    private int position;
    private int nesting;

    private GrammarParser(string text) => this.text = text;

    private char Current => position < text.Length ? text[position] : '\0';

    private bool AtEnd => position >= text.Length;

    /// <summary>Reads a grammar.</summary>
    /// <exception cref="QuantBuildException">QB4007: it is malformed; the message says where.</exception>
    public static Grammar Parse(string text) => new GrammarParser(text).Parse();

    private Grammar Parse()
    {
        SkipSpace(newLines: true);
        while (!AtEnd)
        {
            int start = position;
            string name = ReadName("a rule's name");
            SkipSpace(newLines: false);
            if (!text.AsSpan(position).StartsWith("::=")) throw Error(position, $"expected ::= after the name {name}, found {Found()}");
            position += 3;
            SkipSpace(newLines: true);
            if (!grammar.Rules.TryAdd(name, ReadChoice())) throw Error(start, $"the rule {name} is defined twice");
            if (!AtEnd && Current is not ('\n' or '\r')) throw Error(position, $"expected the end of the rule {name}, found {Found()}");
            SkipSpace(newLines: true);
        }

        foreach ((string rule, int where) in references)
        {
            if (!grammar.Rules.ContainsKey(rule)) throw Error(where, $"there is no rule {rule}");
        }

        return grammar.Rules.ContainsKey(Grammar.Root) ? grammar : throw Error(0, "there is no rule root, which matches the whole output");
    }

    private GrammarExpression ReadChoice()
    {
        List<GrammarExpression> options = [ReadSequence()];
        while (Current == '|')
        {
            position++;
            SkipSpace(newLines: true);
            options.Add(ReadSequence());
        }

        return options.Count == 1 ? options[0] : GrammarExpression.Any(options);
    }

    private GrammarExpression ReadSequence()
    {
        List<GrammarExpression> parts = [];
        while (ReadItem() is { } item)
        {
            SkipSpace(newLines: nesting > 0);
            while (ReadRepetition() is { } times)
            {
                item = item.Times(times.Min, times.Max);
                SkipSpace(newLines: nesting > 0);
            }

            parts.Add(item);
        }

        return parts.Count == 1 ? parts[0] : GrammarExpression.Join(parts);
    }

    private GrammarExpression? ReadItem()
    {
        switch (Current)
        {
            case '"':
                return ReadLiteral();
            case '[':
                return ReadClass();
            case '.':
                position++;
                return new GrammarExpression.Characters(CodePointSet.All);
            case '(':
                return ReadGroup();
            case '*' or '+' or '?' or '{':
                throw Error(position, $"{Found()} has nothing before it to repeat");
            case '<' or '!':
                throw Error(position, "tokens in a grammar (<…>) are not supported: write the text that they stand for");
            default:
                if (!IsNameCharacter(Current)) return null;
                int start = position;
                references.Add((ReadName("a rule's name"), start));
                return new GrammarExpression.Reference(references[^1].Rule);
        }
    }

    private GrammarExpression ReadGroup()
    {
        int start = position++;
        if (++nesting > MaxNesting) throw Error(start, $"groups are nested deeper than {MaxNesting}: give the inner ones names, as rules");
        SkipSpace(newLines: true);
        GrammarExpression body = ReadChoice();
        if (Current != ')') throw Error(position, $"expected ) for the group that begins at {Place(start)}, found {Found()}");
        position++;
        nesting--;
        return body;
    }

    private GrammarExpression.Literal ReadLiteral()
    {
        int start = position++;
        StringBuilder literal = new();
        while (Current != '"')
        {
            if (AtEnd || Current is '\n' or '\r') throw Error(start, "the literal has no closing \"");
            literal.Append(new Rune(ReadCharacter()));
        }

        position++;
        return new GrammarExpression.Literal(literal.ToString());
    }

    private GrammarExpression.Characters ReadClass()
    {
        int start = position++;
        bool negated = Current == '^';
        if (negated) position++;
        List<(int, int)> ranges = [];
        while (Current != ']')
        {
            if (AtEnd || Current is '\n' or '\r') throw Error(start, "the character class has no closing ]");
            int from = position;
            int first = ReadCharacter();
            int last = first;
            if (Current == '-' && position + 1 < text.Length && text[position + 1] != ']')
            {
                position++;
                last = ReadCharacter();
                if (last < first) throw Error(from, $"the range {text[from..position]} is empty: its end comes before its beginning");
            }

            ranges.Add((first, last));
        }

        position++;
        CodePointSet set = CodePointSet.Of(ranges);
        return new GrammarExpression.Characters(negated ? set.Complement() : set);
    }

    /// <summary>One character of a literal or class, perhaps escaped.</summary>
    private int ReadCharacter()
    {
        int start = position;
        if (Current != '\\')
        {
            if (!Rune.TryGetRuneAt(text, position, out Rune rune)) throw Error(start, "half of a surrogate pair is no character");
            position += rune.Utf16SequenceLength;
            return rune.Value;
        }

        position++;
        char escape = Current;
        position++;
        return escape switch
        {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '\\' or '"' or '[' or ']' or '-' or '^' => escape,
            'x' => ReadHex(start, 2),
            'u' => ReadHex(start, 4),
            'U' => ReadHex(start, 8),
            _ => throw Error(start, "unknown escape: there are \\n, \\r, \\t, \\\\, \\\", \\[, \\], \\-, \\^, \\xHH, \\uHHHH and \\UHHHHHHHH"),
        };
    }

    private int ReadHex(int start, int digits)
    {
        if (position + digits > text.Length || !int.TryParse(
            text.AsSpan(position, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int value))
        {
            throw Error(start, $"expected {digits} hexadecimal digits after {text[start..Math.Min(start + 2, text.Length)]}");
        }

        position += digits;
        return Rune.IsValid(value) ? value : throw Error(start, $"{text[start..position]} is no character; one above U+FFFF is written \\U and eight digits");
    }

    private (int Min, int? Max)? ReadRepetition()
    {
        switch (Current)
        {
            case '*':
                position++;
                return (0, null);
            case '+':
                position++;
                return (1, null);
            case '?':
                position++;
                return (0, 1);
            case '{':
                return ReadBounds();
            default:
                return null;
        }
    }

    private (int Min, int? Max) ReadBounds()
    {
        int start = position++;
        int min = ReadNumber();
        int? max = min;
        if (Current == ',')
        {
            position++;
            SkipSpace(newLines: false);
            max = Current == '}' ? null : ReadNumber();
        }

        if (Current != '}') throw Error(position, $"expected }} of a repetition {{m}}, {{m,}} or {{m,n}}, found {Found()}");
        position++;
        if (max < min) throw Error(start, $"{text[start..position]} repeats at least {min} and at most {max} times, which is never");
        return (min, max);
    }

    private int ReadNumber()
    {
        SkipSpace(newLines: false);
        int start = position;
        while (char.IsAsciiDigit(Current)) position++;
        if (position == start) throw Error(position, $"expected a number of repetitions, found {Found()}");
        if (!int.TryParse(text.AsSpan(start, position - start), NumberStyles.None, CultureInfo.InvariantCulture, out int number) || number > MaxRepetitions)
        {
            throw Error(start, $"{text[start..position]} repetitions are too many: at most {MaxRepetitions}");
        }

        SkipSpace(newLines: false);
        return number;
    }

    private string ReadName(string what)
    {
        int start = position;
        while (IsNameCharacter(Current)) position++;
        return position > start ? text[start..position] : throw Error(position, $"expected {what}, found {Found()}");
    }

    private static bool IsNameCharacter(char c) => char.IsAsciiLetterOrDigit(c) || c is '-' or '_';

    private void SkipSpace(bool newLines)
    {
        while (true)
        {
            if (Current is ' ' or '\t' || (newLines && Current is '\n' or '\r'))
            {
                position++;
            }
            else if (Current == '#')
            {
                while (!AtEnd && Current is not ('\n' or '\r')) position++;
            }
            else
            {
                return;
            }
        }
    }

    private string Found()
    {
        if (AtEnd) return "the end of the grammar";
        if (Current is '\n' or '\r') return "the end of the line";
        return Rune.TryGetRuneAt(text, position, out Rune rune) ? rune.ToString() : "half of a surrogate pair";
    }

    private string Place(int where)
    {
        int line = 1 + text.AsSpan(0, where).Count('\n');
        return $"line {line}, column {where - text.AsSpan(0, where).LastIndexOf('\n')}";
    }

    private QuantBuildException Error(int where, string what) => new(
        DiagnosticIds.GrammarInvalid, $"The grammar is wrong at {Place(where)}: {what}. docs/constrained-output.md has the notation.");
}
