using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("QuantBuild.Generators.Tests")]
