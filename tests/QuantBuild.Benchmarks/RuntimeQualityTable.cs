namespace QuantBuild.Benchmarks;

/// <summary>What the runtime's own rounding costs the sample model: activations in bytes, and keys and values in bytes.</summary>
static class RuntimeQualityTable
{
    private const int Window = 512;

    public static void Run()
    {
        using TemporaryFolder folder = new();
        Console.WriteLine("| the sample model | activations | keys and values | perplexity | over floats |");
        Console.WriteLine("|---|---|---|---|---|");
        QuantizationSpec[] specs = [new() { Method = QuantizationMethod.Rtn, Bits = 4 }, new() { Method = QuantizationMethod.Rtn, Bits = 8 }, new() { Method = QuantizationMethod.Nf4 }];
        foreach (QuantizationSpec spec in specs)
        {
            string artifact = folder.File(spec.Method + spec.WidthName + ".safetensors");
            WorkerRun.Quantize(spec, artifact, evaluate: false);
            double floats = Perplexity(artifact, new LoadOptions { Device = "cpu", FloatActivations = true });
            foreach (KvPrecision precision in Enum.GetValues<KvPrecision>())
            {
                foreach (bool inFloats in new[] { true, false })
                {
                    double perplexity = Perplexity(artifact, new LoadOptions { Device = "cpu", FloatActivations = inFloats, KvCache = precision });
                    Console.WriteLine(
                        $"| {spec.Method}, {spec.WidthName} bits | {(inFloats ? "float32" : "bytes")} | {precision} | {perplexity:F3} | {100 * ((perplexity / floats) - 1):+0.000;-0.000}% |");
                }
            }
        }
    }

    /// <summary>exp of the mean negative log-likelihood over windows of the model's context, the first token of each excluded.</summary>
    private static double Perplexity(string artifact, LoadOptions options)
    {
        using LanguageModel model = LanguageModel.Load(artifact, options);
        int[] tokens = [.. model.Tokenizer.Encode(File.ReadAllText(Repository.Evaluation), addSpecialTokens: false)];
        int vocabulary = model.Config.VocabularySize;
        double loss = 0;
        int count = 0;
        for (int first = 0; first + Window <= tokens.Length; first += Window)
        {
            ReadOnlySpan<int> window = tokens.AsSpan(first, Window);
            float[] logits = model.Logits(window);
            for (int t = 0; t + 1 < Window; t++, count++)
            {
                double sum = 0;
                foreach (float logit in logits.AsSpan(t * vocabulary, vocabulary)) sum += Math.Exp(logit);
                loss += Math.Log(sum) - logits[(t * vocabulary) + window[t + 1]];
            }
        }

        return Math.Exp(loss / count);
    }
}
