using System.IO.Compression;

namespace QuantBuild.EndToEnd.Tests;

/// <summary>Projects of several target frameworks. A worker's stub makes the artifacts.</summary>
[Collection(Builds.Name)]
public sealed class MultiTargetingTests(PackedFeed feed)
{
    [Fact]
    public void Each_target_framework_has_the_class_and_the_artifacts_it_declares_and_what_they_share_is_quantized_once()
    {
        UserProject project = new(feed) { Stub = "quiet" };
        project.WriteModel("tiny", new TinyModel());
        project.Write("Program.cs", """
            public static class Widths
            {
                public const string Shared = nameof(App.Models.TinyRtn4);
            #if WINDOWS
                public const string Own = nameof(App.Models.TinyRtn8);
            #endif
            }
            """);
        project.Declare(
            """
            <QuantizedModel Include="tiny" Method="Rtn" Bits="4" GroupSize="16" PackQuantizedModel="true" />
            <QuantizedModel Include="tiny" Method="Rtn" Bits="8" GroupSize="16" PackQuantizedModel="true" Condition="'$(TargetPlatformIdentifier)' == 'windows'" />
            """,
            """
            <OutputType>Library</OutputType><TargetFramework /><TargetFrameworks>net10.0;net10.0-windows</TargetFrameworks>
            <EnableWindowsTargeting>true</EnableWindowsTargeting><DisableTransitiveFrameworkReferenceDownloads>true</DisableTransitiveFrameworkReferenceDownloads>
            """);

        project.Build("-m:2");

        Assert.Equal(2, project.StubStarts);
        string[] Artifacts(string framework) =>
            [.. Directory.GetFiles(Path.Combine(project.Folder, "bin/Debug", framework), "*.safetensors").Select(file => Path.GetFileName(file)).Order()];
        const string shared = "App.Models.TinyRtn4.safetensors", own = "App.Models.TinyRtn8.safetensors";
        Assert.Equal([shared], Artifacts("net10.0"));
        Assert.Equal([shared, own], Artifacts("net10.0-windows"));

        // The package has them by target framework too.
        BuildResult packed = project.Run("pack", "--no-build", "-c", "Debug", "-o", "packed", "-p:PackageVersion=1.0.0-test");
        Assert.True(packed.ExitCode == 0, packed.Output);
        using ZipArchive package = ZipFile.OpenRead(Path.Combine(project.Folder, "packed/App.1.0.0-test.nupkg"));
        string[] entries = [.. package.Entries.Select(entry => entry.FullName)];
        string[] expected =
        [
            $"quantbuild/net10.0/{shared}", $"quantbuild/net10.0-windows7.0/{shared}", $"quantbuild/net10.0-windows7.0/{own}",
            "build/net10.0/App.targets", "buildTransitive/net10.0/App.targets", "build/net10.0-windows7.0/App.targets", "buildTransitive/net10.0-windows7.0/App.targets",
        ];
        Assert.Empty(expected.Except(entries));
        Assert.DoesNotContain($"quantbuild/net10.0/{own}", entries);
        Assert.Equal(2, project.StubStarts);
    }
}
