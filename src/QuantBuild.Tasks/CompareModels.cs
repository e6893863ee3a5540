using Microsoft.Build.Framework;

namespace QuantBuild.Tasks;

/// <summary>Compares the methods on each declared model, by running the worker: a table in the log, and as HTML, Markdown and JSON under <c>obj</c>.</summary>
public sealed class CompareModels : WorkerTask
{
    /// <inheritdoc/>
    public override bool Execute()
    {
        foreach (DeclaredModel model in Models.Select(DeclaredModel.FromItem))
        {
            try
            {
                string output = Path.GetFullPath(model.ComparisonPath);
                // The worker said why there is no table. One model that fails keeps no other from its.
                if (!DownloadWeights(model) || !RunRequest(model, "compare", path => Request(model, output).Save(path), () => File.Exists(output + ".html"))) continue;
                foreach (string line in File.ReadAllLines(output + ".md")) Log.LogMessage(MessageImportance.High, "{0}", line);
            }
            catch (QuantBuildException e)
            {
                Log.ErrorAt(e, model.Position);
            }
            catch (OperationCanceledException)
            {
                Log.LogMessage(MessageImportance.High, $"{model.ClassName}: cancelled; what is done is kept, and the next comparison goes on from there.");
                return false;
            }
        }

        return !Log.HasLoggedErrors;
    }

    private CompareRequest Request(DeclaredModel model, string output) => new()
    {
        ModelPath = model.ModelPath,
        Spec = model.Spec,
        CalibrationFile = model.CalibrationFile,
        EvaluationFile = model.EvaluationFile,
        Device = Device,
        OutputPath = output,
    };
}
