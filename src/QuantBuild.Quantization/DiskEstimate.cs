namespace QuantBuild.Quantization;

/// <summary>How much room a run needs on disk, reckoned before it begins.</summary>
/// <param name="Journal">Bytes of the parts that are not in the journal yet.</param>
/// <param name="Artifact">Bytes of the artifact's tensors.</param>
/// <param name="Activations">Bytes of the activations that memory has no room for.</param>
internal sealed record DiskEstimate(long Journal, long Artifact, long Activations)
{
    /// <summary>Reckons.</summary>
    /// <param name="plan">How each linear is quantized.</param>
    /// <param name="weights">The model's weights.</param>
    /// <param name="journal">The parts that are made already.</param>
    /// <param name="activations">Bytes of activations that go to disk.</param>
    public static DiskEstimate Of(QuantizationPlan plan, ModelWeights weights, LayerJournal journal, long activations)
    {
        long Packed(LinearShape linear) => plan[linear] is { } spec ? PackedSize.Of(spec, linear) : 0;
        HashSet<string> quantized = [.. plan.Quantized.Select(linear => linear.WeightName)];
        return new DiskEstimate(
            journal.Parts.Where(part => !File.Exists(journal.FilePath(part))).Sum(part => part.Linears.Sum(Packed)),
            plan.Quantized.Sum(Packed) + plan.Config.Tensors().Where(tensor => !quantized.Contains(tensor.Key)).Sum(tensor => weights.Source(tensor.Key).ByteLength),
            activations);
    }

    /// <summary>Throws where a disk has too little room.</summary>
    /// <param name="cache">Where journal and activations go.</param>
    /// <param name="artifactFolder">Where the artifact goes: the cache's disk, or another.</param>
    /// <exception cref="QuantBuildException">QB1003.</exception>
    public void Check(ModelCache cache, string artifactFolder)
    {
        Check(cache.Root, FreeDisk.IsOfOneDisk(cache.Root, artifactFolder) ? this : this with { Artifact = 0 });
        Check(artifactFolder, new DiskEstimate(0, Artifact, 0));
    }

    private static void Check(string folder, DiskEstimate estimate)
    {
        long needed = estimate.Journal + estimate.Artifact + estimate.Activations;
        if (FreeDisk.Bytes(folder) is { } free && free < needed) throw TooSmall(folder, estimate, free);
    }

    /// <summary>The error of a disk with too little room.</summary>
    internal static QuantBuildException TooSmall(string folder, DiskEstimate estimate, long free) => new(
        DiagnosticIds.DiskFull,
        $"The disk of {folder} has too little room: this build needs about {MemoryLimit.Text(estimate.Journal + estimate.Artifact + estimate.Activations)} there " +
        $"({MemoryLimit.Text(estimate.Artifact)} for the artifact, {MemoryLimit.Text(estimate.Journal)} for finished layers, {MemoryLimit.Text(estimate.Activations)} for activations " +
        $"beyond {MemoryLimit.Name}), and {MemoryLimit.Text(free)} are free. Make room, or set {ModelCache.RootVariable} to a folder on a disk that has some.");
}
