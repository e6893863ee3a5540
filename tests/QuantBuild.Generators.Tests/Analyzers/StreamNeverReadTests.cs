using QuantBuild.CodeFixes;
using QuantBuild.Generators.Analyzers;

namespace QuantBuild.Generators.Tests.Analyzers;

public class StreamNeverReadTests
{
    [Fact]
    public Task A_dropped_stream_is_read() => Check.Fixes<StreamNeverReadAnalyzer, ReadStreamFix>(
        Check.Method(
            """
            string piece = "";
            [|Large.StreamAsync(prompt)|];
            _ = [|Large.Shared.StreamUpdatesAsync(prompt)|];
            using TextSession session = Large.Shared.CreateSession();
            [|session.StreamAsync(prompt)|];
            """,
            isAsync: true),
        Check.Method(
            """
            string piece = "";
            await foreach (string piece2 in Large.StreamAsync(prompt))
            {
            }
            await foreach (GenerationUpdate piece2 in Large.Shared.StreamUpdatesAsync(prompt))
            {
            }
            using TextSession session = Large.Shared.CreateSession();
            await foreach (string piece2 in session.StreamAsync(prompt))
            {
            }
            """,
            isAsync: true));

    [Fact]
    public Task Where_nothing_may_await_it_is_only_reported() => Check.Reports<StreamNeverReadAnalyzer>(
        """
        using Microsoft.Extensions.AI;

        class Program
        {
            void Use(string prompt, IChatClient client)
            {
                [|Large.StreamAsync(prompt)|];
                IAsyncEnumerable<string> unused = [|Large.StreamAsync(prompt)|];
                [|client.GetStreamingResponseAsync(prompt)|];
                Action action = () => [|Large.StreamAsync(prompt)|];
            }
        }
        """);

    [Fact]
    public Task A_stream_that_is_read_or_given_away_is_left_alone() => Check.Reports<StreamNeverReadAnalyzer>(
        """
        using Microsoft.Extensions.AI;

        class Program
        {
            private IAsyncEnumerable<string> field = Large.StreamAsync("Hello,");

            async Task Use(string prompt, IChatClient client, List<IAsyncEnumerable<string>> all)
            {
                await foreach (string piece in Large.StreamAsync(prompt).WithCancellation(default)) Console.Write(piece);
                IAsyncEnumerable<string> later = Large.StreamAsync(prompt);
                await foreach (string piece in later) Console.Write(piece);
                await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(prompt)) Console.Write(update);
                all.Add(Large.StreamAsync(prompt));
                field = Large.StreamAsync(prompt);
                await using IAsyncEnumerator<string> reader = Large.StreamAsync(prompt).GetAsyncEnumerator();
                Func<IAsyncEnumerable<string>> function = () => Large.StreamAsync(prompt);
                Log.StreamAsync();
            }

            IAsyncEnumerable<string> Returned(string prompt) => Large.StreamAsync(prompt);
        }

        static class Log
        {
            public static IAsyncEnumerable<int> StreamAsync() => throw new NotSupportedException();
        }
        """);
}
