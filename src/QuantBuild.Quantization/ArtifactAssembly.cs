namespace QuantBuild.Quantization;

/// <summary>Puts an artifact together from a journal's finished parts and what the model keeps of its own.</summary>
/// <param name="request">What was asked for.</param>
/// <param name="model">The model's files.</param>
/// <param name="plan">How each linear was quantized.</param>
/// <param name="weights">The model's weights.</param>
/// <param name="journal">The finished parts.</param>
internal sealed class ArtifactAssembly(WorkerRequest request, ModelFolder model, QuantizationPlan plan, ModelWeights weights, LayerJournal journal)
{
    /// <summary>What the artifact says of itself.</summary>
    public ArtifactManifest Manifest(ModelCache cache, QualityFigures? quality)
    {
        FileHash hash = new(cache.HashFolder);
        return new ArtifactManifest
        {
            Fingerprint = request.Fingerprint,
            ModelName = model.Name,
            QuantizerVersion = ModelQuantizer.Version,
            Spec = request.Spec.ToMetadata().ToDictionary(entry => entry.Key, entry => entry.Value),
            ConfigJson = model.ConfigJson,
            GenerationConfigJson = model.GenerationConfigFile is { } generation ? File.ReadAllText(generation) : null,
            TokenizerConfigJson = model.TokenizerConfigJson,
            ModelFiles = [.. model.Files.Select(file => new SourceFile(Path.GetFileName(file), Size(file), hash.Compute(file)))],
            ModelRevision = model.Revision,
            CalibrationSha256 = request.CalibrationFile is { } calibration && (request.Spec.NeedsCalibration || request.EvaluationFile is null)
                ? hash.Compute(calibration)
                : null,
            EvaluationSha256 = request.EvaluationFile is { } evaluation ? hash.Compute(evaluation) : null,
            Quality = quality,
            OriginalBytes = weights.Bytes,
            Layers = plan.Quantized.ToDictionary(linear => linear.Name, linear => LinearFormats.Of(plan[linear]!, linear)),
        };
    }

    /// <summary>Writes artifact and build record; both appear whole, the artifact last.</summary>
    /// <param name="manifest">What <see cref="Manifest"/> gave.</param>
    /// <param name="tokenizerJson">The bytes of <c>tokenizer.json</c>.</param>
    /// <param name="record">Makes the record, given the path of the whole artifact.</param>
    /// <param name="beforePublishing">Called with the artifact's temporary path and the record, before either appears.</param>
    /// <exception cref="QuantBuildException">QB1003, QB1004.</exception>
    public void Write(ArtifactManifest manifest, byte[] tokenizerJson, Func<string, BuildRecord> record, Action<string, BuildRecord>? beforePublishing)
    {
        List<SafetensorsFile> parts = [];
        // The record needs the artifact's size, and whoever sees the artifact should see the record.
        string unnamed = $"{request.ArtifactPath}.{Guid.NewGuid():N}.tmp";
        try
        {
            Dictionary<string, TensorSource> tensors = new(StringComparer.Ordinal);
            foreach (string path in journal.Parts.Select(journal.FilePath).Where(File.Exists))
            {
                SafetensorsFile file = SafetensorsFile.Open(path, DiagnosticIds.ArtifactMalformed);
                parts.Add(file);
                foreach (TensorEntry entry in file.Tensors.Values.OrderBy(entry => entry.Name, StringComparer.Ordinal)) tensors.Add(entry.Name, TensorSource.FromFile(file, entry));
            }

            // A quantized linear's tensors, and a norm that a method changed, take the place of the model's.
            HashSet<string> replaced = [.. manifest.Layers.Keys.Select(name => name + ".weight"), .. tensors.Keys];
            ArtifactWriter.Write(
                unnamed,
                manifest,
                [
                    ArtifactWriter.TokenizerTensor(tokenizerJson),
                    .. plan.Config.Tensors().Where(tensor => !replaced.Contains(tensor.Key)).Select(tensor => weights.Source(tensor.Key)),
                    .. tensors.Values,
                ]);
            BuildRecord made = record(unnamed);
            beforePublishing?.Invoke(unnamed, made);
            made.Write(request.BuildRecordPath);
            File.Move(unnamed, request.ArtifactPath, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw WriteFailure.Of(request.ArtifactPath, e);
        }
        finally
        {
            if (File.Exists(unnamed)) File.Delete(unnamed);
            foreach (SafetensorsFile file in parts) file.Dispose();
        }
    }

    // Of the file that is read: a model's files are often links, and a link has a size of its own.
    private static long Size(string file)
    {
        using FileStream stream = File.OpenRead(file);
        return stream.Length;
    }
}
