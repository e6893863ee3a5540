using System.Text.Json;
using System.Text.Json.Serialization;

namespace QuantBuild.Runtime.Tests.Generation;

public sealed partial class FormatTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly LanguageModel model;

    public FormatTests() => model = LanguageModel.Load(TestArtifact.WriteSample(folder.File("m"), new TestArtifact.Rounding(4, 128, false, false)));

    public void Dispose()
    {
        model.Dispose();
        folder.Dispose();
    }

    [Fact]
    public async Task Generated_json_is_always_a_value_of_the_type()
    {
        for (int seed = 0; seed < 12; seed++)
        {
            GenerationOptions options = new() { MaxTokens = 90 + (10 * seed), Temperature = seed % 3, Seed = (ulong)seed };
            Person? person = await model.GenerateAsync("A person: ", FormatContext.Default.Person, options);
            Assert.NotNull(person!.Name);
            Assert.All(person.Friends, friend => Assert.NotNull(friend));
        }

        Assert.NotNull(model.Generate("A person: ", FormatContext.Default.Person, new() { MaxTokens = 120, Speculation = Speculation.PromptLookup() }));
    }

    [Fact]
    public async Task Text_ends_with_the_grammar_and_in_a_session_and_a_stream_too()
    {
        GenerationOptions options = new() { MaxTokens = 100, Temperature = 1, Seed = 4, Format = OutputFormat.Grammar("""root ::= ("yes" | "no") ", because " [a-z ]{10,20} "."  """) };
        GenerationResult result = await model.CompleteAsync("Is it so? ", options);
        Assert.Matches("^(yes|no), because [a-z ]{10,20}\\.$", result.Text);
        Assert.Equal(FinishReason.EndOfText, result.FinishReason);
        using TextSession session = model.CreateSession();
        Assert.Matches("^(yes|no), because [a-z ]{10,20}\\.$", session.Generate("Is it so? ", options));
        string streamed = "";
        await foreach (string piece in session.StreamAsync("And that? ", options)) streamed += piece;
        Assert.Matches("^(yes|no), because [a-z ]{10,20}\\.$", streamed);
    }

    [Fact]
    public async Task The_text_of_a_format_is_the_same_with_guesses_and_beside_others()
    {
        GenerationOptions options = new() { MaxTokens = 60, Temperature = 0.8, Seed = 5, Format = OutputFormat.Json };
        string alone = model.Generate("{\"a\": 1} {\"a\": 2} ", options);
        JsonDocument.Parse(alone).Dispose();
        Assert.Equal(alone, model.Generate("{\"a\": 1} {\"a\": 2} ", options with { Speculation = Speculation.PromptLookup() }));
        string[] together = await Task.WhenAll(Enumerable.Range(0, 6).Select(_ => model.GenerateAsync("{\"a\": 1} {\"a\": 2} ", options)));
        Assert.All(together, text => Assert.Equal(alone, text));
    }

    [Fact]
    public void Too_few_tokens_for_any_value_are_QB4009()
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => model.Generate("A person: ", FormatContext.Default.Person, new() { MaxTokens = 3 }));
        Assert.Equal("QB4009", error.Id);
    }

    public sealed record Person(string Name, int Age, bool Retired, Mood Mood, IReadOnlyList<string> Friends);

    [JsonConverter(typeof(JsonStringEnumConverter<Mood>))]
    public enum Mood
    {
        Merry,
        Gloomy,
    }

    [JsonSerializable(typeof(Person))]
    private sealed partial class FormatContext : JsonSerializerContext;
}
