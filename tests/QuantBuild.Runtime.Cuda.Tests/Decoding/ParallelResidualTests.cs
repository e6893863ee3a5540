using System.Runtime.CompilerServices;
using QuantBuild.Cuda.Decoding;
using QuantBuild.Cuda.Driver;
using QuantBuild.Decoding;
using QuantBuild.Kernels;
using QuantBuild.Quantization.Tests.Families;
using QuantBuild.Runtime.Tests;

namespace QuantBuild.Cuda.Tests.Decoding;

/// <summary>Decoders that no family is: attention and MLP beside each other, and what elsewhere comes only where one is behind the other.</summary>
public sealed class ParallelResidualTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData("Gemma3", true)]
    [InlineData("Gemma3", false)]
    [InlineData("Mixtral", true)]
    [InlineData("Mixtral", false)]
    public void Norms_behind_the_blocks_and_experts_give_the_logits_of_the_processor(string family, bool sharedNorm)
    {
        string path = TestModel.Write(folder.File("m"), FamilyReference.All.Single(known => known.Name == family).Config, _ => null);
        using Artifact source = Artifact.Open(path);
        DecoderConfig config = source.Config with { ParallelResidual = true, SharedNorm = sharedNorm };
        Artifact artifact = Create(source.File, source.Manifest, config);
        using TestGpu gpu = new();
        CudaLayers layers = new(new CudaDevice(gpu.Driver(), 0), artifact, new LoadOptions(), new PlacementPlan(config.Layers, HasHead: true, Tokens: 128));
        float[] right = Logits(artifact, null), found = Logits(artifact, layers);
        Assert.InRange(right.Zip(found, (a, b) => Math.Abs(a - b)).Max() / right.Max(Math.Abs), 0, 1e-3);
        Assert.Empty(gpu.Violations);
    }

    /// <summary>The logits behind each of some tokens.</summary>
    private static float[] Logits(Artifact artifact, CudaLayers? device)
    {
        DecoderConfig config = artifact.Config;
        using KvPages pages = new(config, KvPrecision.Float16, device);
        using Decoder decoder = new(config, config.ContextLength, new DecoderWeights(artifact), pages, new Workers(1), floatActivations: true, device);
        using KvCache cache = new(pages);
        int[] tokens = [.. Enumerable.Range(0, 12).Select(i => (i * 37) % config.VocabularySize)];
        float[] logits = new float[tokens.Length * config.VocabularySize];
        decoder.Forward([new BatchPart(cache, tokens) { Logits = logits }], CancellationToken.None);
        return logits;
    }

    [UnsafeAccessor(UnsafeAccessorKind.Constructor)]
    private static extern Artifact Create(SafetensorsFile file, ArtifactManifest manifest, DecoderConfig config);
}
