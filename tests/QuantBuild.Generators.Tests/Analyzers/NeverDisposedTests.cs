using QuantBuild.CodeFixes;
using QuantBuild.Generators.Analyzers;

namespace QuantBuild.Generators.Tests.Analyzers;

public class NeverDisposedTests
{
    [Fact]
    public Task A_local_that_nothing_disposes_is_declared_with_using() => Check.Fixes<NeverDisposedAnalyzer, UsingDeclarationFix>(
        Check.Method(
            """
            // A model of our own.
            LanguageModel [|model|] = Large.Load();
            var [|other|] = await Small.LoadAsync().ConfigureAwait(false);
            TextSession [|session|] = Large.Shared.CreateSession();
            using TextSession fork = session.Fork();
            if (model.Config.VocabularySize > 0) Console.WriteLine(model.Generate(prompt) + await other.GenerateAsync(prompt));
            await foreach (string piece in other.StreamAsync(prompt).ConfigureAwait(false)) Console.Write(piece);
            LanguageModel [|unused|] = LanguageModel.Load("model.safetensors");
            """,
            isAsync: true),
        Check.Method(
            """
            // A model of our own.
            using LanguageModel model = Large.Load();
            using var other = await Small.LoadAsync().ConfigureAwait(false);
            using TextSession session = Large.Shared.CreateSession();
            using TextSession fork = session.Fork();
            if (model.Config.VocabularySize > 0) Console.WriteLine(model.Generate(prompt) + await other.GenerateAsync(prompt));
            await foreach (string piece in other.StreamAsync(prompt).ConfigureAwait(false)) Console.Write(piece);
            using LanguageModel unused = LanguageModel.Load("model.safetensors");
            """,
            isAsync: true));

    [Fact]
    public Task One_that_no_local_has_cannot_be_disposed() => Check.Reports<NeverDisposedAnalyzer>(Check.Method(
        """
        [|Large.Load()|].Generate(prompt);
        int tokens = [|Large.Shared.CreateSession()|].TokenCount;
        [|Small.Load()|];
        Console.WriteLine((await [|Small.LoadAsync()|]).Generate(prompt));
        """,
        isAsync: true));

    [Fact]
    public Task At_the_top_level_too() => Check.Fixes<NeverDisposedAnalyzer, UsingDeclarationFix>(
        """
        LanguageModel [|model|] = Large.Load();
        Console.WriteLine(model.Generate("Hello,"));
        """,
        """
        using LanguageModel model = Large.Load();
        Console.WriteLine(model.Generate("Hello,"));
        """,
        isProgram: true);

    [Fact]
    public Task What_is_disposed_in_any_way_is_left_alone() => Check.Reports<NeverDisposedAnalyzer>(Check.Method(
        """
        using LanguageModel declared = Large.Load();
        using (LanguageModel statement = Large.Load()) statement.Generate(prompt);
        LanguageModel given = Large.Load();
        using (given) given.Generate(prompt);
        LanguageModel byHand = Large.Load();
        try
        {
            byHand.Generate(prompt);
        }
        finally
        {
            byHand?.Dispose();
        }

        LanguageModel inLambda = Large.Load();
        AppDomain.CurrentDomain.ProcessExit += (_, _) => inLambda.Dispose();
        using IDisposable less = Large.Load();
        Large.Load().Dispose();
        """));

    [Fact]
    public Task What_leaves_the_method_is_left_alone() => Check.Reports<NeverDisposedAnalyzer>(
        """
        using Microsoft.Extensions.AI;

        class Program
        {
            private LanguageModel field = Large.Load();
            private readonly List<LanguageModel> all = [];

            LanguageModel Returned() => Large.Load();

            LanguageModel ReturnedLater()
            {
                LanguageModel model = Large.Load();
                model.Generate("Hello,");
                return model;
            }

            async Task<LanguageModel> ReturnedTask() => await Large.LoadAsync();

            void Kept()
            {
                LanguageModel kept = Large.Load();
                field = kept;
                LanguageModel added = Large.Load();
                all.Add(added);
                all.Add(Large.Load());
                field = Large.Load();
            }

            IChatClient Client()
            {
                LanguageModel model = Large.Load();
                return model.AsChatClient();
            }

            IAsyncEnumerable<string> Stream()
            {
                LanguageModel model = Large.Load();
                return model.StreamAsync("Hello,");
            }

            Task<string> Running()
            {
                LanguageModel model = Large.Load();
                return model.GenerateAsync("Hello,");
            }

            TextSession Session()
            {
                LanguageModel model = Large.Load();
                return model.CreateSession();
            }

            Func<string> Captured()
            {
                LanguageModel model = Large.Load();
                return () => model.Generate("Hello,");
            }

            Func<string, GenerationOptions?, CancellationToken, string> Group()
            {
                LanguageModel model = Large.Load();
                return model.Generate;
            }
        }
        """);

    [Fact]
    public Task The_shared_instance_is_nobodys_to_dispose() => Check.Reports<NeverDisposedAnalyzer>(Check.Method(
        """
        LanguageModel model = Large.Shared;
        model.Generate(prompt);
        Large.Shared.Generate(prompt);
        """));
}
