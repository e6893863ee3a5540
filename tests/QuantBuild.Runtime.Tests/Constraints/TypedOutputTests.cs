using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using QuantBuild.Constraints;

namespace QuantBuild.Runtime.Tests.Constraints;

public partial class TypedOutputTests
{
    public static TheoryData<JsonTypeInfo> Types { get; } =
    [
        Context.Default.Person, Context.Default.Shape, Context.Default.Tree, Context.Default.Everything, Context.Default.Int32, Context.Default.NullableInt32,
        Context.Default.String, Context.Default.ListInt32, Context.Default.DictionaryInt32String, Context.Default.DictionaryGuidColor, Context.Default.DictionaryColorByte,
        Context.Default.JsonElement, WebContext.Default.Person,
    ];

    internal static JsonTypeInfo<Person> PersonType => Context.Default.Person;

    [Theory]
    [MemberData(nameof(Types))]
    public void Random_logits_make_a_value_of_the_type(JsonTypeInfo type)
    {
        TokenConstraint constraint = new(TypedOutput.Grammar(type), RandomDecoding.Tokenizer.Trie, [RandomDecoding.EndToken]);
        for (int seed = 0; seed < 20; seed++)
        {
            string json = RandomDecoding.Run(constraint, constraint.Start.BytesToEnd + (20 * (seed % 4)), seed);
            Assert.Equal(json == "null" && type == Context.Default.NullableInt32, JsonSerializer.Deserialize(json, type) is null);
        }
    }

    [Fact]
    public void What_a_type_can_hold_is_allowed_and_no_more()
    {
        AutomatonRun bytes = new(TypedOutput.Grammar(Context.Default.DictionaryColorByte));
        Assert.True(bytes.Matches("{\"Red\":255,\"DarkGreen\":0}"));
        Assert.False(bytes.Matches("{\"Red\":256}"));
        Assert.False(bytes.Matches("{\"Blue\":1}"));
        AutomatonRun person = new(TypedOutput.Grammar(Context.Default.Person));
        Assert.True(person.Matches("{\"Name\":\"Ann\",\"Age\":2147483647,\"Mother\":{\"Name\":\"Eve\",\"Age\":-2147483648}}"));
        Assert.False(person.Matches("{\"Name\":\"Ann\",\"Age\":2147483648}"));
        Assert.False(person.Matches("{\"Name\":null,\"Age\":1}"));
        Assert.True(new AutomatonRun(TypedOutput.Grammar(WebContext.Default.Person)).Matches("{\"name\":\"Ann\",\"age\":1,\"mother\":null}"));
        Assert.True(new AutomatonRun(TypedOutput.Grammar(Context.Default.NullableInt32)).Matches("null"));
        Assert.False(new AutomatonRun(TypedOutput.Grammar(Context.Default.Int32)).Matches("null"));
    }

    [Fact]
    public void Depth_is_what_the_options_say()
    {
        JsonSerializerOptions options = new() { TypeInfoResolver = Context.Default, MaxDepth = 3 };
        JsonTypeInfo<JsonElement> type = (JsonTypeInfo<JsonElement>)options.GetTypeInfo(typeof(JsonElement));
        AutomatonRun run = new(TypedOutput.Grammar(type));
        Assert.True(run.Matches("[[[]]]"));
        Assert.True(run.After("[[[[").IsDead);
        Assert.Equal(JsonValueKind.Array, TypedOutput.Read("[[[]]]", type).ValueKind);
        Assert.Throws<QuantBuildException>(() => TypedOutput.Read("[[[[]]]]", type));
    }

    [Fact]
    public void An_output_that_is_cut_is_an_error_that_says_so()
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => TypedOutput.Read("{\"Name\":\"An", Context.Default.Person));
        Assert.Equal("QB4009", error.Id);
        Assert.Contains("Person", error.Message, StringComparison.Ordinal);
        Assert.Contains("MaxTokens", error.Message, StringComparison.Ordinal);
        Assert.Equal(new Person("Ann", 3), TypedOutput.Read("{\"Name\":\"Ann\",\"Age\":3}", Context.Default.Person));
    }

    [Fact]
    public void What_cannot_be_held_to_is_an_error()
    {
        Assert.Equal("QB4008", Assert.Throws<QuantBuildException>(() => OutputFormat.JsonOf(Context.Default.DictionaryDateTimeString)).Id);
        Assert.Equal("QB4008", Assert.Throws<QuantBuildException>(() => OutputFormat.JsonOf(Context.Default.Rights)).Id);
    }

    [Fact]
    public void The_format_of_a_type_is_made_once()
    {
        Assert.Same(OutputFormat.JsonOf(Context.Default.Person), OutputFormat.JsonOf(Context.Default.Person));
    }

    internal enum Color
    {
        Red,
        DarkGreen,
    }

    internal enum Small : byte
    {
        None,
        One,
    }

    [Flags]
    [JsonConverter(typeof(JsonStringEnumConverter<Rights>))]
    internal enum Rights
    {
        Read = 1,
        Write = 2,
    }

    internal sealed record Person(string Name, int Age, Person? Mother = null);

    [JsonDerivedType(typeof(Circle), "circle")]
    [JsonDerivedType(typeof(Group), "group")]
    internal abstract record Shape(string Name);

    internal sealed record Circle(string Name, double Radius) : Shape(Name);

    internal sealed record Group(string Name, IReadOnlyList<Shape> Parts, Shape? First) : Shape(Name);

    internal sealed class Tree
    {
        public required int Value { get; init; }

        public Tree? Left { get; init; }

        public Tree? Right { get; init; }

        public required List<Tree> Others { get; init; }
    }

    internal sealed record Everything(
        bool Bool, byte Byte, sbyte SByte, short Short, ushort UShort, uint UInt, long Long, ulong ULong, Int128 Int128, UInt128 UInt128, Half Half, float Float,
        double Double, decimal Decimal, char Char, byte[] Bytes, DateTime DateTime, DateTimeOffset DateTimeOffset, DateOnly DateOnly, TimeOnly TimeOnly, TimeSpan TimeSpan,
        Guid Guid, Uri Uri, Version Version, Color Color, Small Small, int? Maybe, Uri? MaybeUri, byte[]? MaybeBytes, Small? MaybeSmall, Color? MaybeColor, object Any,
        float[] Array, Dictionary<string, decimal> Map, ReadOnlyMemory<byte> Memory);

    [JsonSourceGenerationOptions(UseStringEnumConverter = true)]
    [JsonSerializable(typeof(Person))]
    [JsonSerializable(typeof(Shape))]
    [JsonSerializable(typeof(Tree))]
    [JsonSerializable(typeof(Everything))]
    [JsonSerializable(typeof(int?))]
    [JsonSerializable(typeof(string))]
    [JsonSerializable(typeof(List<int>))]
    [JsonSerializable(typeof(Dictionary<int, string>))]
    [JsonSerializable(typeof(Dictionary<Guid, Color>))]
    [JsonSerializable(typeof(Dictionary<Color, byte>))]
    [JsonSerializable(typeof(Dictionary<DateTime, string>))]
    [JsonSerializable(typeof(Rights))]
    [JsonSerializable(typeof(JsonElement))]
    internal sealed partial class Context : JsonSerializerContext;

    [JsonSourceGenerationOptions(JsonSerializerDefaults.Web)]
    [JsonSerializable(typeof(Person))]
    internal sealed partial class WebContext : JsonSerializerContext;
}
