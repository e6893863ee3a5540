// Makes the tables of docs/quality.md and docs/performance.md.
//
//   dotnet run -c Release --project tests/QuantBuild.Benchmarks -- quality | options | budget | quantize | decode | formats | build

using QuantBuild.Benchmarks;

switch (args is [string verb, ..] ? verb : "")
{
    case "quality":
        QualityTable.Run();
        return 0;
    case "options":
        QualityTable.RunOptions();
        return 0;
    case "budget":
        QualityTable.RunBudgets();
        return 0;
    case "quantize":
        QuantizeBenchmark.Run();
        return 0;
    case "decode":
        DecodeBenchmark.Run();
        return 0;
    case "formats":
        DecodeBenchmark.RunFormats();
        return 0;
    case "build":
        BuildOverheadBenchmark.Run();
        return 0;
    default:
        Console.Error.WriteLine("Which benchmark? One of: quality, options, budget, quantize, decode, formats, build.");
        return 1;
}
