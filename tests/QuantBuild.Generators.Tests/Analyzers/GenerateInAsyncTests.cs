using QuantBuild.CodeFixes;
using QuantBuild.Generators.Analyzers;

namespace QuantBuild.Generators.Tests.Analyzers;

public class GenerateInAsyncTests
{
    [Fact]
    public Task In_an_async_function_the_counterpart_is_awaited() => Check.Fixes<GenerateInAsyncAnalyzer, AwaitGenerateFix>(
        Check.Method(
            """
            string text = [|Large.Generate(prompt)|];
            int length = [|Large.Shared.Generate(prompt, new() { MaxTokens = 3 })|].Length;
            using TextSession session = Large.Shared.CreateSession();
            text = [|session.Generate("Hello,")|];
            Func<Task<string>> lambda = async () => { await Task.Yield(); return [|Small.Generate(prompt)|]; };
            async Task<string> Local() { await Task.Yield(); return [|Small.Generate(prompt)|]; }
            await Local();
            [|session.Generate(prompt)|];
            """,
            isAsync: true),
        Check.Method(
            """
            string text = await Large.GenerateAsync(prompt);
            int length = (await Large.Shared.GenerateAsync(prompt, new() { MaxTokens = 3 })).Length;
            using TextSession session = Large.Shared.CreateSession();
            text = (await session.CompleteAsync("Hello,")).Text;
            Func<Task<string>> lambda = async () => { await Task.Yield(); return await Small.GenerateAsync(prompt); };
            async Task<string> Local() { await Task.Yield(); return await Small.GenerateAsync(prompt); }
            await Local();
            await session.CompleteAsync(prompt);
            """,
            isAsync: true));

    [Fact]
    public Task Typed_output_keeps_its_type() => Check.Fixes<GenerateInAsyncAnalyzer, AwaitGenerateFix>(
        """
        using System.Text.Json.Serialization.Metadata;
        class Program
        {
            async Task<T?> Use<T>(JsonTypeInfo<T> type) { await Task.Yield(); return [|Large.Shared.Generate<T>("Hello,", type)|]; }
        }
        """,
        """
        using System.Text.Json.Serialization.Metadata;
        class Program
        {
            async Task<T?> Use<T>(JsonTypeInfo<T> type) { await Task.Yield(); return await Large.Shared.GenerateAsync<T>("Hello,", type); }
        }
        """);

    [Fact]
    public Task Where_nothing_is_async_or_may_await_it_is_left_alone() => Check.Reports<GenerateInAsyncAnalyzer>(
        """
        class Program
        {
            string Plain(string prompt) => Large.Generate(prompt);

            async Task<string> Elsewhere(string prompt) => await Task.Run(() => Large.Generate(prompt));

            async Task<string> Async(string prompt) => await Large.GenerateAsync(prompt);

            async Task Locked(string prompt)
            {
                await Task.Yield();
                lock (this) Console.WriteLine(Large.Generate(prompt));
            }

            async Task Others()
            {
                await Task.Yield();
                Other.Generate();
                static void Local() => Large.Generate("Hello,");
                Local();
            }

            class Other { public static void Generate() { } }
        }
        """);

    [Fact]
    public Task The_entry_point_holds_up_nobody_else() => Check.Reports<GenerateInAsyncAnalyzer>(
        """
        Console.WriteLine(Large.Generate("Hello,"));
        await Task.Yield();
        await Answer();
        static async Task Answer() { await Task.Yield(); Console.WriteLine([|Large.Generate("Hello,")|]); }
        """,
        isProgram: true);

    [Fact]
    public Task A_test_may_wait() => Check.Reports<GenerateInAsyncAnalyzer>(
        """
        namespace Xunit { class FactAttribute : Attribute; }
        class Tests
        {
            [Xunit.Fact]
            public async Task Streams_what_it_generates() { await Task.Yield(); Large.Generate("Hello,"); }

            [Obsolete]
            public async Task Other() { await Task.Yield(); [|Large.Generate("Hello,")|]; }
        }
        """);
}
