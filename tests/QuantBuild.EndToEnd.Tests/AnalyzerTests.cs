namespace QuantBuild.EndToEnd.Tests;

[Collection(Builds.Name)]
public sealed class AnalyzerTests(PackedFeed feed)
{
    [Fact]
    public void The_packages_analyzers_know_the_projects_models_and_cost_no_quantization_where_they_fail_the_build()
    {
        UserProject project = new(feed);
        project.WriteModel("tiny", new TinyModel());
        project.Declare(BuiltProject.Item, "<NoWarn>$(NoWarn);QB4105;CS4014</NoWarn>");
        project.Write(".editorconfig", """
            root = true
            [*.cs]
            dotnet_diagnostic.QB4102.severity = none
            """);
        string words = string.Join(' ', Enumerable.Repeat("word", TinyModel.ContextLength));
        project.Write("Program.cs", $$"""
            using App.Models;
            using QuantBuild;
            LanguageModel model = TinyRtn4.Load();
            model.Generate("Once", new GenerationOptions { TopP = 95 });
            TinyRtn4.StreamAsync("Once");
            TinyRtn4.Generate("{{words}}");
            """);

        BuildResult result = project.FailToBuild();

        result.AssertError("QB4106", "GenerationOptions.TopP is 95");
        result.AssertError("QB4104", "TinyRtn4 has room for");
        Assert.Equal(["QB4104", "QB4106"], result.Errors.Select(error => error.Code).Distinct().Order(StringComparer.Ordinal));
        Assert.Equal(0, result.Workers);
    }
}
