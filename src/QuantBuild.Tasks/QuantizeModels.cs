using System.Globalization;
using Microsoft.Build.Framework;

namespace QuantBuild.Tasks;

/// <summary>
/// Puts the artifact of each declared model under <c>obj</c>: from the cache where it has it, else by running the worker. What was there stays
/// until the new one is whole.
/// </summary>
public sealed class QuantizeModels : WorkerTask
{
    /// <summary>Whether what is made here goes to the remote cache as well.</summary>
    public bool WriteRemoteCache { get; set; } = true;

    /// <inheritdoc/>
    public override bool Execute()
    {
        bool isNew = false;
        foreach (DeclaredModel model in Models.Select(DeclaredModel.FromItem))
        {
            try
            {
                isNew |= Place(model);
            }
            catch (QuantBuildException e)
            {
                Log.ErrorAt(e, model.Position);
            }
            catch (FileNotFoundException e)
            {
                Log.ErrorAt(DiagnosticIds.CacheDamaged, $"{model.ClassName}: {e.FileName} was removed from the cache while it was being taken. Build again.", model.Position);
            }
            catch (OperationCanceledException)
            {
                Log.LogMessage(MessageImportance.High, $"{model.ClassName}: cancelled; what is done is kept, and the next build goes on from there.");
                return false;
            }
        }

        if (isNew) Trim();
        return !Log.HasLoggedErrors;
    }

    /// <summary>Brings the artifact under <c>obj</c> up to date.</summary>
    /// <returns>Whether it was not there before.</returns>
    private bool Place(DeclaredModel model)
    {
        CacheEntry entry = Cache.Entry(model.Fingerprint);
        // Before it is looked for: what was used just now is evicted by nobody.
        entry.Touch();
        bool force = BuildModes.Read(Mode) == BuildMode.Force;
        bool isCurrent = !force && ArtifactLink.IsCurrent(model);
        bool ran = false;
        // The worker said why there is no artifact. One model that fails keeps no other from its place.
        if (!isCurrent && (force || !IsWhole(entry)) && !Quantize(model, entry, force, out ran)) return false;
        bool accepted = Judge(model, isCurrent ? model.BuildRecordPath : entry.BuildRecordPath, warningsAreShown: ran);
        if (accepted && isCurrent) ArtifactLink.Confirm(model);
        if (!accepted || isCurrent) return false;
        ArtifactLink.Create(model, entry);
        if (ran) Log.LogMessage(MessageImportance.High, $"{model.ClassName}: report: {Path.GetFullPath(model.ReportPath)}");
        // A team gets what this build accepts.
        if (ran && RemoteCache.Length > 0 && WriteRemoteCache) RunVerb(model, ["share", model.Fingerprint, "--to", RemoteCache], () => true);
        return true;
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
    private bool Quantize(DeclaredModel model, CacheEntry entry, bool force, out bool ran)
    {
        void Waiting() => Log.LogMessage(MessageImportance.High, $"{model.ClassName}: another build is quantizing it; waiting for that.");
        using (Cache.Lock(model.Fingerprint, Waiting, CancellationToken))
        {
            ran = force || !IsWhole(entry);
            if (force) ForgetFinishedLayers(model);
            return !ran || (DownloadWeights(model) && RunRequest(model, "quantize", path => Request(model, entry).Save(path), () => entry.Exists));
        }
    }

    private void ForgetFinishedLayers(DeclaredModel model)
    {
        string folder = Cache.WorkFolder(model.Fingerprint);
        try
        {
            if (Directory.Exists(folder)) Directory.Delete(folder, recursive: true);
        }
        catch (Exception e) when (BuildLog.IsFileError(e))
        {
            throw Cache.NotWritable(e);
        }
    }

    private void Trim()
    {
        try
        {
            IReadOnlyList<KeyValuePair<string, long>> removed = new CacheEviction(Cache).Trim(CacheEviction.Limit());
            if (removed.Count == 0) return;
            Log.LogMessage(
                MessageImportance.High,
                string.Format(
                    CultureInfo.InvariantCulture,
                    "The model cache was over its limit: {0} unused for longest {1} removed, {2:N0} MB. {3} sets the limit.",
                    removed.Count == 1 ? "the artifact" : $"{removed.Count} artifacts",
                    removed.Count == 1 ? "was" : "were",
                    removed.Sum(entry => entry.Value) / 1e6,
                    CacheEviction.LimitVariable));
        }
        catch (QuantBuildException e)
        {
            // The limit is no size. The models are made, and no item is to blame.
            Log.LogWarning(null, e.Id, null, DiagnosticIds.HelpLink(e.Id), null, 0, 0, 0, 0, e.Message);
        }
    }

    private WorkerRequest Request(DeclaredModel model, CacheEntry entry) => new()
    {
        ModelPath = model.ModelPath,
        Spec = model.Spec,
        Gates = model.Gates,
        MaxMemory = model.MaxMemory,
        CalibrationFile = model.CalibrationFile,
        EvaluationFile = model.EvaluationFile,
        Device = Device,
        Fingerprint = model.Fingerprint,
        ArtifactPath = entry.ArtifactPath,
        BuildRecordPath = entry.BuildRecordPath,
        ReportPath = entry.ReportPath,
    };
}
