using System.Collections.Generic;
using QuantBuild.Chat;

namespace QuantBuild;

// What templates ask with `is`. A test named "x" is the method "TestX" here.
#pragma warning disable CS1591 // For generated code alone.
public abstract partial class ChatTemplate
{
    protected static bool TestDefined(TemplateValue value) => !value.IsUndefined;

    protected static bool TestUndefined(TemplateValue value) => value.IsUndefined;

    protected static bool TestNone(TemplateValue value) => value.IsNone;

    protected static bool TestBoolean(TemplateValue value) => value.Content is bool;

    protected static bool TestTrue(TemplateValue value) => value.Content is true;

    protected static bool TestFalse(TemplateValue value) => value.Content is false;

    protected static bool TestInteger(TemplateValue value) => value.Content is long;

    protected static bool TestFloat(TemplateValue value) => value.Content is double;

    protected static bool TestNumber(TemplateValue value) => value.Float is not null;

    protected static bool TestString(TemplateValue value) => value.Content is string;

    protected static bool TestMapping(TemplateValue value) => value.Content is OrderedDictionary<TemplateValue, TemplateValue>;

    protected static bool TestSequence(TemplateValue value) =>
        value.IsUndefined || value.Content is string or TemplateSequence { IsIndexed: true } or OrderedDictionary<TemplateValue, TemplateValue>;

    protected static bool TestIterable(TemplateValue value) =>
        value.IsUndefined || value.Content is string or TemplateSequence or OrderedDictionary<TemplateValue, TemplateValue> or TemplateLoop;

    protected static bool TestCallable(TemplateValue value) => value.IsUndefined || value.Content is TemplateMacro or TemplateMethod;

    protected static bool TestOdd(TemplateValue value) => Modulo(value, 2L).Equals(1L);

    protected static bool TestEven(TemplateValue value) => Modulo(value, 2L).Equals(0L);

    protected static bool TestDivisibleBy(TemplateValue value, TemplateValue divisor) => Modulo(value, divisor).Equals(0L);

    protected static bool TestLower(TemplateValue value) => TextMethod(value.ToString(), "islower", []).IsTrue;

    protected static bool TestUpper(TemplateValue value) => TextMethod(value.ToString(), "isupper", []).IsTrue;

    protected static bool TestSameAs(TemplateValue value, TemplateValue other) =>
        ReferenceEquals(value.Content, other.Content) || (value.Content is bool or long or double or string && value.Content.GetType() == other.Content?.GetType() && value.Equals(other));
}
