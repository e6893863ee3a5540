using System.Diagnostics;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using QuantBuild.Generators.Jinja;

namespace QuantBuild.Generators.Tests;

/// <summary>What the compiler of templates makes of the language, and of what is none.</summary>
public class JinjaTests
{
    // Each template with what jinja2 3.1 writes for it, in the environment of ChatTemplates/make_expectations.py, given x = "a b", n = 3, items = [1, 2.5, "c"], map = {"k": 1, "items": 2}.
    private static readonly (string Template, string Expected)[] Cases =
    [
        ("a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc"),
        ("a  {%- if true -%}  b  {%- endif %}  c", "ab  c"),
        ("  {%+ if true %}x{% endif +%}\ny", "  x\ny"),
        ("{# c #}\n{#- d -#} x {{- ' y ' -}} z", "x y z"),
        ("{% raw %}{{ x }}{% endraw %}\n!", "{{ x }}!"),
        ("{{ x }}|{{ missing }}|{{ none }}|{{ true }}|{{ 1.0 }}|{{ 1e16 }}|{{ 1e-5 }}|{{ [1, 'a', (2,)] }}|{{ {'a': \"it's\"} }}", "a b||None|True|1.0|1e+16|1e-05|[1, 'a', (2,)]|{'a': \"it's\"}"),
        ("{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 'a' * 3 }} {{ 1 ~ 'b' ~ none }}", "3 -4 1 2 3.5 1024 aaa 1bNone"),
        ("{{ 'yes' if n > 2 else 'no' }}{{ 'x' if n > 3 }}{{ n and 'and' }}{{ 0 or 'or' }}{{ not n }}{{ 1 < n <= 3 }}", "yesandorFalseTrue"),
        ("{{ 'abcdef'[1:4] }} {{ 'abcdef'[::-1] }} {{ items[-1] }} {{ items[:2] }} {{ items[::2] }} {{ 'abc'[5] }}", "bcd fedcba c [1, 2.5] [1, 'c'] "),
        ("{{ 'abcdef'[5::9223372036854775807] }} {{ items[1::-9223372036854775807] }} {{ 'a'.ljust(-9223372036854775807) }}", "f [2.5] a"),
        ("{{ map.k }} {{ map['items'] }} {{ map.get('z', 'none') }} {% for k, v in map.items() %}{{ k }}={{ v }};{% endfor %}", "1 2 none k=1;items=2;"),
        ("{% for i in items %}{{ loop.index }}/{{ loop.length }}{{ ',' if not loop.last }}{% endfor %}{% for i in [] %}{% else %}none{% endfor %}", "1/3,2/3,3/3none"),
        ("{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i > 4 %}{% break %}{% endif %}{{ i }}{% endfor %}", "0134"),
        ("{% for i in range(6) if i % 2 %}{{ i }}{{ loop.previtem }}{{ loop.nextitem }} {% endfor %}", "13 315 53 "),
        ("{% set y = 1 %}{% for i in [1, 2] %}{{ y }}{% set y = y + 1 %}{{ y }} {% endfor %}{{ y }}", "12 12 1"),
        ("{% set ns = namespace(c=0) %}{% for i in items %}{% set ns.c = ns.c + 1 %}{% endfor %}{{ ns.c }}", "3"),
        ("{% if n == 3 %}{% set z = 'in' %}{% endif %}{{ z }}{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set t %} t {% endset %}[{{ t }}]", "in12[ t ]"),
        ("{% macro m(a, b='d', c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, c=3) }} {{ m(b=2) }}", "1d1 1d3 2"),
        ("{% macro m(a, b, c=0) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(*[1, 2]) }} {{ m(1, *[2], c=3) }} {{ [m][0](*'xy') }}", "120 123 xy0"),
        ("{% macro box(t) %}<{{ t }}:{{ caller(n) }}>{% endmacro %}{% call(v) box('a') %}{{ v }}{{ x }}{% endcall %}", "<a:3a b>"),
        ("{% macro f(k) %}{{ k }}{% if k > 0 %}{{ f(k - 1) }}{% endif %}{% endmacro %}{{ f(3) }}", "3210"),
        ("{% filter upper | replace('A', 'z') %}{{ x }}{% endfilter %}{% with q = x, x = 1 %}{{ q }}{{ x }}{% endwith %}{{ x }}", "z Ba b1a b"),
        ("{% generation %}{{ x }}{% endgeneration %}", "a b"),
        ("{{ ' a '.strip() }}{{ 'a-b-c'.split('-') }}{{ 'a b  c'.split(maxsplit=1) }}{{ 'a,b'.rsplit(',', 1)[-1] }}{{ 'Ab'.lower() }}{{ 'ab'.startswith(('x', 'a')) }}", "a['a', 'b', 'c']['a', 'b  c']babTrue"),
        ("{{ 'a b'.title() }}{{ 'aXbX'.replace('X', '', 1) }}{{ '-'.join(['a', 'b']) }}{{ 'abc'.find('c') }}{{ 'aaa'.count('a') }}{{ 'x'.upper() }}{{ 'ab\\ncd'.splitlines() }}", "A BabXa-b23X['ab', 'cd']"),
        ("{{ {'b': 1, 'a': [true, none, 1.5, 'é\"\\n<']} | tojson }}", "{\"b\": 1, \"a\": [true, null, 1.5, \"é\\\"\\n<\"]}"),
        ("{{ {'b': [1, {}]} | tojson(indent=2) }}{{ {'b': 1, 'a': 2} | tojson(sort_keys=true, separators=(',', ':')) }}", "{\n  \"b\": [\n    1,\n    {}\n  ]\n}{\"a\":2,\"b\":1}"),
        ("{{ items | length }}{{ items | first }}{{ items | last }}{{ [3, 1] | sort }}{{ 'ba' | list | sort(reverse=true) | join('+') }}{{ missing | default('d') }}{{ '' | default('e', true) }}", "31c[1, 3]b+ade"),
        ("{{ [{'a': 1}, {'a': 2}] | map(attribute='a') | list }}{{ ['a'] | map('upper') | list }}{{ [1, 2, 3] | select('odd') | list }}{{ [1, 2] | reject('equalto', 1) | list }}", "[1, 2]['A'][1, 3][2]"),
        ("{{ [{'r': 'u'}, {'r': 's'}] | selectattr('r', 'equalto', 's') | list }}{{ [{'r': 1}, {}] | rejectattr('r', 'defined') | list }}{{ [1, 1, 2] | unique | list }}{{ {'b': 1, 'a': 2} | dictsort }}", "[{'r': 's'}][{}][1, 2][('a', 2), ('b', 1)]"),
        ("{{ 'a\\nb' | indent(2) }}|{{ 'a\\nb' | indent(2, true) }}|{{ '3' | int + 1 }}|{{ 'x' | int(7) }}|{{ '1.5' | float }}|{{ 2.5 | round }}|{{ -3 | abs }}|{{ 'some words' | title }}|{{ 'aB' | capitalize }}", "a\n  b|  a\n  b|4|7|1.5|2.0|3|Some Words|Ab"),
        ("{{ x is defined }}{{ missing is defined }}{{ none is none }}{{ x is string }}{{ map is mapping }}{{ items is iterable }}{{ x is sequence }}{{ 1 is number }}{{ true is boolean }}{{ 2 is divisibleby 2 }}{{ 1 is not in items }}", "TrueFalseTrueTrueTrueTrueTrueTrueTrueTrueFalse"),
        ("{{ 'b' in x }}{{ 'k' in map }}{{ 4 not in items }}{{ 'a' in missing }}{{ strftime_now is defined }}{{ strftime_now('%d %b %Y %-d %H:%M') }}", "TrueTrueTrueFalseTrue06 Jul 2024 6 09:05"),
        ("{{ '😀é'|length }}{{ '😀é'[0] }}{{ '😀é'[::-1] }}{{ \"\\u00e9\\x41\\101\\q\" }}", "2😀é😀éAA\\q"),
        ("{{ '<' | safe + '<' }}{{ '<' | safe ~ '<' }}{{ '%s-%03d' % ('a', 7) }}{{ (1, 2) == (1, 2) }}{{ 1 == 1.0 == true }}{{ [] is sameas [] }}", "<&lt;<<a-007TrueTrueFalse"),
    ];

    private static readonly Lazy<CompiledTemplates> Compiled = new(() => CompiledTemplates.Of([.. Cases.Select(c => c.Template)], LanguageVersion.CSharp9));

    public static TheoryData<int> Numbers => [.. Enumerable.Range(0, Cases.Length)];

    [Theory]
    [MemberData(nameof(Numbers))]
    public void A_part_of_the_language_means_what_it_means_in_jinja2(int number) =>
        Assert.Equal(Cases[number].Expected, Compiled.Value.Render(number, """{"x": "a b", "n": 3, "items": [1, 2.5, "c"], "map": {"k": 1, "items": 2}}"""));

    [Theory]
    [InlineData("a\n{{ x", 1, 0)]
    [InlineData("a\n\n  {% if x %}", 2, 12)]
    [InlineData("{% for x in y %}{% endif %}", 0, 19)]
    [InlineData("{{ x | nosuch }}", 0, 7)]
    [InlineData("{{ x is nosuch }}", 0, 8)]
    [InlineData("a\r\n{% include 'x' %}", 1, 3)]
    [InlineData("{{ x.encode() }}", 0, 4)]
    [InlineData("{{ f(**x) }}", 0, 5)]
    [InlineData("{{ x | join(*x) }}", 0, 7)]
    [InlineData("{{ x.split(*x) }}", 0, 4)]
    [InlineData("{{ range(*x) }}", 0, 3)]
    [InlineData("{{ 'a }}", 0, 3)]
    [InlineData("{{ a ? b }}", 0, 5)]
    [InlineData("{% break %}", 0, 3)]
    [InlineData("{# no end", 0, 0)]
    [InlineData("{% raw %} x", 0, 0)]
    [InlineData("{{ 99999999999999999999 }}", 0, 3)]
    public void What_cannot_be_compiled_has_a_place(string template, int line, int column)
    {
        CompiledTemplate compiled = TemplateCompiler.Compile(new TemplateFile("a.jinja", template));
        Assert.Null(compiled.Code);
        Assert.NotEmpty(compiled.Error);
        Assert.Equal((line, column), (compiled.Line, compiled.Column));
    }

    [Theory]
    [InlineData("(", ")")]
    [InlineData("[", "]")]
    [InlineData("{'a':", "}")]
    [InlineData("not ", "")]
    [InlineData("-", "")]
    [InlineData("1 if ", "")]
    [InlineData("a[", "]")]
    [InlineData("f(", ")")]
    [InlineData("a is b(", ")")]
    public void Deep_nesting_is_an_error_and_not_the_end_of_the_compiler(string open, string close)
    {
        string Nested(int depth) => $"{{{{ {string.Concat(Enumerable.Repeat(open, depth))}1{string.Concat(Enumerable.Repeat(close, depth))} }}}}";
        Assert.Null(TemplateCompiler.Compile(new TemplateFile("a.jinja", Nested(20_000 / open.Length))).Code);
    }

    [Theory]
    [InlineData("{% if x %}")]
    [InlineData("{% for (((((((((((x")]
    [InlineData("{% for x in y %}")]
    [InlineData("{% set x %}")]
    [InlineData("{% macro m() %}")]
    [InlineData("{{ 1 + 1 + 1")]
    [InlineData("{{ a.b.c")]
    [InlineData("{{ a|e|e|e|e")]
    [InlineData("{%- ")]
    [InlineData("{{ a < a < (")]
    public void A_part_repeated_ends_in_an_error_and_soon(string part)
    {
        Stopwatch time = Stopwatch.StartNew();
        Assert.Null(TemplateCompiler.Compile(new TemplateFile("a.jinja", string.Concat(Enumerable.Repeat(part, JinjaParser.LargestTemplate / part.Length)))).Code);
        Assert.InRange(time.Elapsed.TotalSeconds, 0, 20);
    }

    [Fact]
    public void Damaged_templates_compile_or_have_a_place()
    {
        Random random = new(7);
        string[] templates = [.. Directory.GetFiles(Path.Combine(TestProject.Folder, "ChatTemplates", "templates")).Order(StringComparer.Ordinal).Select(File.ReadAllText)];
        const string Pieces = "{}%#()[]'\"\\-+.,|~:= \nif end for é\ud83d";
        for (int i = 0; i < 3000; i++)
        {
            List<char> text = [.. templates[random.Next(templates.Length)]];
            for (int changes = random.Next(1, 6); changes > 0; changes--)
            {
                int at = random.Next(text.Count);
                if (random.Next(2) == 0) text.RemoveRange(at, Math.Min(random.Next(1, 8), text.Count - at));
                else text.Insert(at, Pieces[random.Next(Pieces.Length)]);
                if (text.Count == 0) text.Add(' ');
            }

            string damaged = new([.. text]);
            CompiledTemplate compiled = TemplateCompiler.Compile(new TemplateFile("a.jinja", damaged));
            if (compiled.Code is null) Assert.NotEmpty(compiled.Error);
            // What is compiled is C#, whatever it was made of.
            else if (i % 50 == 0) Assert.DoesNotContain(CSharpSyntaxTree.ParseText($"class C {{ void M() {{ {compiled.Code} }} }}").GetDiagnostics(), d => d.Severity == DiagnosticSeverity.Error);
        }
    }

    [Theory]
    [InlineData("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}")]
    [InlineData("{% macro m(n) %}{% if n > 0 %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}")]
    [InlineData("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}")]
    [InlineData("{{ range(1000000000) }}")]
    [InlineData("{% for i in range(10, 0) %}{% endfor %}{{ 'a' * 100000000 * 100 }}")]
    [InlineData("{% set ns = namespace(t='aaaaaaaa') %}{% for i in range(90) %}{% set ns.t = ns.t + ns.t %}{% endfor %}")]
    [InlineData("{% set ns = namespace(t=[1]) %}{% for i in range(90) %}{% set ns.t = ns.t + ns.t %}{% endfor %}")]
    [InlineData("{% set ns = namespace(t=[1]) %}{% for i in range(99999) %}{% set ns.t = [ns.t] %}{% endfor %}{{ ns.t }}")]
    [InlineData("{{ 9223372036854775807 + 1 }}")]
    [InlineData("{{ 1 // 0 }}")]
    [InlineData("{{ missing.a }}")]
    [InlineData("{{ [1].append(2) }}")]
    [InlineData("{{ raise_exception('no') }}")]
    [InlineData("{{ ('a' * 10000000).replace('a', 'b' * 10000000) }}")]
    [InlineData("{{ ('a' * 10000000) | replace('', 'b' * 10000000) }}")]
    [InlineData("{{ range(10000) | join('a' * 10000000) }}")]
    [InlineData("{{ ('a' * 10000000).join(['b'] * 10000) }}")]
    [InlineData("{{ ('a\n' * 1000000) | indent('b' * 10000000) }}")]
    [InlineData("{{ range(10000) | list | tojson(indent='a' * 10000000) }}")]
    [InlineData("{{ range(10000) | list | tojson(separators=('a' * 10000000, ':')) }}")]
    [InlineData("{{ 'a'.ljust(1000000, 'b' * 1000000) }}")]
    [InlineData("{% set ns = namespace(t=['a']) %}{% for i in range(60) %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.t }}")]
    [InlineData("{% set ns = namespace(t=['a']) %}{% for i in range(60) %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.t | tojson }}")]
    public void A_template_that_runs_away_is_an_error_of_the_conversation(string template) => Assert.Null(CompiledTemplates.Of([template]).Render(0, "{}"));

    [Fact]
    public void What_a_template_raises_is_told()
    {
        Exception error = CompiledTemplates.Of(["{{ raise_exception('Roles must alternate!') }}"]).Error(0, "{}");
        Assert.Contains("Roles must alternate!", error.Message, StringComparison.Ordinal);
    }
}
