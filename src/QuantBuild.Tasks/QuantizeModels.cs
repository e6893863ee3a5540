using Microsoft.Build.Framework;

namespace QuantBuild.Tasks;

/// <summary>
/// Puts the artifact of each declared model under <c>obj</c>: from the cache where it has it, else by running the worker. What was there stays
/// until the new one is whole.
/// </summary>
public sealed class QuantizeModels : WorkerTask
{
    /// <inheritdoc/>
    public override bool Execute()
    {
        ModelCache cache = ModelCache.Default();
        foreach (DeclaredModel model in Models.Select(DeclaredModel.FromItem))
        {
            try
            {
                bool isCurrent = ArtifactLink.IsCurrent(model);
                bool ran = false;
                // The worker said why there is no artifact. One model that fails keeps no other from its place.
                if (!isCurrent && !ArtifactLink.IsCached(model, cache) && !Quantize(model, cache, out ran)) continue;
                bool accepted = Judge(model, isCurrent ? model.BuildRecordPath : cache.BuildRecordPath(model.Fingerprint), warningsAreShown: ran);
                if (accepted && !isCurrent) ArtifactLink.Create(model, cache);
                if (accepted && isCurrent) ArtifactLink.Confirm(model);
                if (accepted && ran) Log.LogMessage(MessageImportance.High, $"{model.ClassName}: report: {Path.GetFullPath(model.ReportPath)}");
            }
            catch (QuantBuildException e)
            {
                Log.ErrorAt(e, model.Position);
            }
            catch (OperationCanceledException)
            {
                Log.LogMessage(MessageImportance.High, $"{model.ClassName}: cancelled; what is done is kept, and the next build goes on from there.");
                return false;
            }
        }

        return !Log.HasLoggedErrors;
    }

    /// <summary>
    /// Holds an artifact against the gates, and shows what its quantizer warned of. Both happen in every build, whoever made the artifact and
    /// when: a gate may be new, and a warning that is an error here must not become none because a second build finds the cache filled.
    /// </summary>
    /// <returns>Whether this build accepts the artifact: not where one of the warnings is an error in it.</returns>
    private bool Judge(DeclaredModel model, string buildRecordPath, bool warningsAreShown)
    {
        BuildFindings findings = BuildFindings.Read(buildRecordPath);
        if (!warningsAreShown)
        {
            foreach (BuildWarning warning in findings.Warnings) Warn(model, warning.Id, warning.Text);
        }

        model.Gates.Check(findings.Quality, model.Spec);
        return !findings.Warnings.Any(warning => BuildEngine is IBuildEngine8 engine && engine.ShouldTreatWarningAsError(warning.Id));
    }

    /// <summary>Runs a worker, unless another build has made the artifact while this one waited for it.</summary>
    /// <returns>Whether there is an artifact now; if not, the worker said why.</returns>
    private bool Quantize(DeclaredModel model, ModelCache cache, out bool ran)
    {
        void Waiting() => Log.LogMessage(MessageImportance.High, $"{model.ClassName}: another build is quantizing it; waiting for that.");
        using (cache.Lock(model.Fingerprint, Waiting, CancellationToken))
        {
            ran = !ArtifactLink.IsCached(model, cache);
            return !ran || Run(model, "quantize", path => Request(model, cache).Save(path), () => ArtifactLink.IsCached(model, cache));
        }
    }

    private WorkerRequest Request(DeclaredModel model, ModelCache cache) => new()
    {
        ModelPath = model.ModelPath,
        Spec = model.Spec,
        Gates = model.Gates,
        MaxMemory = model.MaxMemory,
        CalibrationFile = model.CalibrationFile,
        EvaluationFile = model.EvaluationFile,
        Device = Device,
        Fingerprint = model.Fingerprint,
        ArtifactPath = cache.ArtifactPath(model.Fingerprint),
        BuildRecordPath = cache.BuildRecordPath(model.Fingerprint),
        ReportPath = cache.ReportPath(model.Fingerprint),
    };
}
