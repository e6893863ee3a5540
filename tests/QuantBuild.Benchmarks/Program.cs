// Makes the tables of docs/quality.md and docs/performance.md.
//
//   dotnet run -c Release --project tests/QuantBuild.Benchmarks -- quality | options | budget | runtime-quality | quantize | decode | formats | kernels | inference | gpu [--experts | --artifact <file>] | gpu-code [--capability 90] | build | generator
//                                                                  | tokenize [--tokenizer <file>] [--node-modules <folder>]
//                                                                  | sampling | synthetic [--samples 16] [--context 2048]
//                                                                  | gptq-host | gptq-peer --reference <folder> [--python python3]

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
    case "inference":
        InferenceBenchmark.Run(Options.Value(args, "--artifact"));
        return 0;
    case "gpu":
        return GpuBenchmark.Run(Options.Value(args, "--artifact"), withExperts: args.Contains("--experts"));
    case "gpu-code":
        return KernelCode.Run(Options.Number(args, "--capability", 90));
    case "runtime-quality":
        RuntimeQualityTable.Run();
        return 0;
    case "kernels":
        KernelBenchmark.Run();
        return 0;
    case "formats":
        DecodeBenchmark.RunFormats();
        return 0;
    case "build":
        BuildOverheadBenchmark.Run();
        return 0;
    case "generator":
        GeneratorBenchmark.Run();
        return 0;
    case "sampling":
        SamplerBenchmark.Run();
        return 0;
    case "tokenize":
        TokenizeBenchmark.Run(Options.Value(args, "--tokenizer") ?? Path.Combine(Repository.Model, "tokenizer.json"), Options.Value(args, "--node-modules"));
        return 0;
    case "synthetic":
        SyntheticBenchmark.Run(Options.Number(args, "--samples", 16), Options.Number(args, "--context", 2048));
        return 0;
    case "gptq-host":
        GptqHostBenchmark.Run();
        return 0;
    case "gptq-peer" when Options.Value(args, "--reference") is { } reference:
        GptqPeerBenchmark.Run(reference, Options.Value(args, "--python") ?? "python3");
        return 0;
    case "gptq-peer":
        Console.Error.WriteLine("gptq-peer needs --reference with the folder that has the gptq.py and quant.py to compare with.");
        return 1;
    default:
        Console.Error.WriteLine("Which benchmark? One of: quality, options, budget, runtime-quality, quantize, decode, formats, kernels, inference, gpu, gpu-code, build, generator, sampling, tokenize, synthetic, gptq-host, gptq-peer.");
        return 1;
}
