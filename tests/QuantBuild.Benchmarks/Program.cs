// Makes the tables of docs/quality.md and docs/performance.md.
//
//   dotnet run -c Release --project tests/QuantBuild.Benchmarks -- quality | quantize | decode | build

using QuantBuild.Benchmarks;

switch (args is [string verb, ..] ? verb : "")
{
    case "quality":
        QualityTable.Run();
        return 0;
    case "quantize":
        QuantizeBenchmark.Run();
        return 0;
    case "decode":
        DecodeBenchmark.Run();
        return 0;
    case "build":
        BuildOverheadBenchmark.Run();
        return 0;
    default:
        Console.Error.WriteLine("Which benchmark? One of: quality, quantize, decode, build.");
        return 1;
}
