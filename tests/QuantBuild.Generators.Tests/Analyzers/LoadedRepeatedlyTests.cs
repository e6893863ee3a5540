using QuantBuild.CodeFixes;
using QuantBuild.Generators.Analyzers;

namespace QuantBuild.Generators.Tests.Analyzers;

public class LoadedRepeatedlyTests
{
    [Fact]
    public Task In_a_loop_the_shared_instance_takes_its_place() => Check.Fixes<LoadedRepeatedlyAnalyzer, SharedModelFix>(
        Check.Method(
            """
            foreach (char c in prompt)
            {
                // One for each character.
                using LanguageModel model = [|Large.Load()|];
                model.Generate(c.ToString());
            }

            for (int i = 0; i < 3; i++) Console.WriteLine([|Small.Load()|].Generate(prompt));
            while (prompt.Length < 100)
            {
                var model = [|Large.Load()|];
                prompt += model.Generate(prompt);
            }
            """),
        Check.Method(
            """
            foreach (char c in prompt)
            {
                // One for each character.
                LanguageModel model = Large.Shared;
                model.Generate(c.ToString());
            }

            for (int i = 0; i < 3; i++) Console.WriteLine(Small.Shared.Generate(prompt));
            while (prompt.Length < 100)
            {
                var model = Large.Shared;
                prompt += model.Generate(prompt);
            }
            """));

    [Fact]
    public Task Nothing_is_offered_where_the_model_is_disposed_by_hand_or_has_options() => Fixed(
        """
        LoadOptions options = new() { Threads = 1 };
        for (int i = 0; i < 3; i++)
        {
            LanguageModel model = [|Large.Load()|];
            model.Generate(prompt);
            model.Dispose();
            using LanguageModel other = [|Small.Load(options)|];
            using LanguageModel third = [|LanguageModel.Load(Small.Info)|];
            IDisposable fourth = [|Small.Load()|];
            fourth.Dispose();
        }
        """);

    [Fact]
    public Task Requests_of_a_server() => Check.Reports<LoadedRepeatedlyAnalyzer>(
        """
        using Microsoft.AspNetCore.Builder;
        using Microsoft.AspNetCore.Http;
        using Microsoft.AspNetCore.Mvc;
        using Microsoft.Extensions.DependencyInjection;

        static class Server
        {
            static void Map(WebApplication app, IServiceCollection services)
            {
                app.MapGet("/", (string prompt) =>
                {
                    using LanguageModel model = [|Large.Load()|];
                    return model.Generate(prompt);
                });
                app.MapPost("/async", async (string prompt) =>
                {
                    using LanguageModel model = await [|Large.LoadAsync()|];
                    return await model.GenerateAsync(prompt);
                });
                app.MapGet("/local", Answer);
                app.Use(async (context, next) => { using LanguageModel model = [|Large.Load()|]; await next(context); });
                app.Run(async context => await context.Response.WriteAsync([|Large.Load()|].Generate("Hello,")));
                services.AddScoped(_ => [|Large.Load()|]);
                services.AddTransient<LanguageModel>(provider => [|Small.Load()|]);
                static string Answer(string prompt) => [|Large.Load()|].Generate(prompt);
            }
        }

        public class TextController : ControllerBase
        {
            private readonly LanguageModel own;

            public TextController() => own = [|Large.Load()|];

            [HttpGet]
            public string Get(string prompt)
            {
                using LanguageModel model = [|Small.Load()|];
                return model.Generate(prompt) + own.Generate(prompt);
            }
        }

        public class TextMiddleware(RequestDelegate next)
        {
            public async Task InvokeAsync(HttpContext context)
            {
                using LanguageModel model = [|Large.Load()|];
                await next(context);
            }
        }
        """);

    [Fact]
    public Task A_server_that_loads_once_is_left_alone() => Check.Reports<LoadedRepeatedlyAnalyzer>(
        """
        using Microsoft.AspNetCore.Builder;
        using Microsoft.AspNetCore.Http;
        using Microsoft.AspNetCore.Mvc;
        using Microsoft.Extensions.DependencyInjection;

        static class Server
        {
            private static LanguageModel? kept;

            static void Map(WebApplication app, IServiceCollection services)
            {
                LanguageModel model = Large.Load();
                app.MapGet("/", (string prompt) => model.Generate(prompt));
                app.MapGet("/shared", (string prompt) => Large.Shared.Generate(prompt));
                app.MapGet("/lazy", (string prompt) => (kept ??= Large.Load()).Generate(prompt));
                app.MapGet("/path", (string path) => { using LanguageModel other = LanguageModel.Load(path); return other.Generate(""); });
                app.Map("/branch", branch => { LanguageModel own = Large.Load(); branch.Run(context => context.Response.WriteAsync(own.Generate(""))); });
                services.AddSingleton(_ => Large.Load());
                services.AddQuantizedModel<Large>();
                Lazy<LanguageModel> lazy = new(() => Large.Load());
            }
        }

        public class TextController : ControllerBase
        {
            private static readonly LanguageModel Model = Large.Load();
            private static LanguageModel? kept;

            static TextController() => kept = Large.Load();

            [HttpGet]
            public string Get(string prompt)
            {
                if (kept is null) kept = Large.Load();
                return Model.Generate(prompt);
            }

            private LanguageModel Helper() => Large.Load();

            [NonAction]
            public LanguageModel Other() => Large.Load();
        }

        public class TextMiddleware(RequestDelegate next)
        {
            private LanguageModel model = Large.Load();

            public Task InvokeAsync(HttpContext context)
            {
                model ??= Large.Load();
                return next(context);
            }
        }

        public class Batch
        {
            public void Invoke(string text) { using LanguageModel model = Large.Load(); }
        }
        """);

    [Fact]
    public Task A_loop_that_loads_other_models_or_once_is_left_alone() => Check.Reports<LoadedRepeatedlyAnalyzer>(Check.Method(
        """
        foreach (string path in new[] { "a", "b" })
        {
            using LanguageModel model = LanguageModel.Load(path);
            model.Generate(prompt);
        }

        for (int threads = 1; threads < 4; threads++)
        {
            using LanguageModel model = Large.Load(new LoadOptions { Threads = threads });
            model.Generate(prompt);
        }

        int changing = 0;
        while (changing < 3)
        {
            using LanguageModel model = Large.Load(new LoadOptions { Threads = changing });
            changing++;
        }

        LanguageModel? kept = null;
        for (int attempt = 0; ; attempt++)
        {
            try
            {
                kept = Large.Load();
                break;
            }
            catch (QuantBuildException) when (attempt < 3)
            {
                Thread.Sleep(1000);
            }
        }

        while (true)
        {
            try
            {
                using LanguageModel model = Large.Load();
                model.Generate(prompt);
                return;
            }
            catch (QuantBuildException)
            {
                Thread.Sleep(1000);
            }
        }
        """));

    [Fact]
    public Task What_a_loop_keeps_or_does_on_a_condition_is_left_alone() => Check.Reports<LoadedRepeatedlyAnalyzer>(Check.Method(
        """
        LanguageModel? model = null;
        LanguageModel[] several = new LanguageModel[2];
        for (int i = 0; i < 2; i++)
        {
            several[i] = Large.Load();
            model ??= Large.Load();
            if (i == 1) using (LanguageModel own = Large.Load()) own.Generate(prompt);
            Func<LanguageModel> later = () => Large.Load();
        }

        foreach (char c in Large.Load().Generate(prompt)) Console.Write(c);
        for (LanguageModel one = Large.Load(); prompt.Length < 10;) prompt += one.Generate(prompt);
        """));

    private static Task Fixed(string statements) => Check.Fixes<LoadedRepeatedlyAnalyzer, SharedModelFix>(Check.Method(statements), Check.Method(statements));
}
