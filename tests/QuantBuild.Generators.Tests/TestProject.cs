using System.Reflection;

namespace QuantBuild.Generators.Tests;

/// <summary>Where things are that the tests read, known from the build: a source path in the assembly is mapped to <c>/_/</c>.</summary>
internal static class TestProject
{
    /// <summary>This project's folder.</summary>
    public static string Folder { get; } = Value("ProjectFolder");

    /// <summary>A value that the project file put into the assembly.</summary>
    public static string Value(string key) => typeof(TestProject).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == key).Value!;
}
