using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("QuantBuild.CodeFixes")]
[assembly: InternalsVisibleTo("QuantBuild.Fuzz")]
[assembly: InternalsVisibleTo("QuantBuild.Generators.Tests")]
