using System.Text;
using Microsoft.Build.Framework;
using MSBuildTask = Microsoft.Build.Utilities.Task;

namespace QuantBuild.Tasks;

/// <summary>
/// Turns <c>&lt;QuantizedModel&gt;</c> items into descriptors for the generator and artifacts-to-be for the build. Runs in every build, design-time
/// ones too: it reads <c>config.json</c>, never weights, and reports every bad item, not only the first.
/// </summary>
public sealed class DeclareModels : MSBuildTask
{
    /// <summary>The <c>&lt;QuantizedModel&gt;</c> items.</summary>
    [Required]
    public ITaskItem[] Models { get; set; } = [];

    /// <summary>The <c>&lt;QuantizationOverride&gt;</c> items.</summary>
    public ITaskItem[] Overrides { get; set; } = [];

    /// <summary>Full path of the project file: its folder is what paths are relative to.</summary>
    [Required]
    public string ProjectFile { get; set; } = "";

    /// <summary>The project's root namespace.</summary>
    public string RootNamespace { get; set; } = "";

    /// <summary>Folder of the descriptors and artifacts, under <c>obj</c>, as the project names it.</summary>
    [Required]
    public string OutputFolder { get; set; } = "";

    /// <summary>Where to quantize, as <see cref="DeviceName"/> has it.</summary>
    [Required]
    public string Device { get; set; } = "";

    /// <summary>Full path of the worker's folder: its code is part of every fingerprint.</summary>
    [Required]
    public string WorkerFolder { get; set; } = "";

    /// <summary>Path of the lock file; empty where models are not locked.</summary>
    public string LockFile { get; set; } = "";

    /// <summary>Whether what is declared is the new agreement, whatever is locked.</summary>
    public bool UpdateLockFile { get; set; }

    /// <summary>Whether the lock file must have every model already, as on a machine that builds what others agreed on.</summary>
    public bool LockedMode { get; set; }

    /// <summary>The file that keeps which commit a branch of a model of the hub was; relative to the project, or full.</summary>
    [Required]
    public string HubRecord { get; set; } = "";

    /// <summary>Whether branches of models of the hub were asked for anew, whatever is locked.</summary>
    public bool UpdateModels { get; set; }

    /// <summary>Whether an IDE asks only for what the compiler needs: nothing big is hashed then.</summary>
    public bool DesignTime { get; set; }

    /// <summary>The descriptors, one for each sound item.</summary>
    [Output]
    public ITaskItem[] Descriptors { get; private set; } = [];

    /// <summary>The sound items, as <see cref="QuantizeModels"/> wants them.</summary>
    [Output]
    public ITaskItem[] Declared { get; private set; } = [];

    /// <summary>The chat templates of the sound items, for the generator; with <c>Written="true"</c> those that were written for it.</summary>
    [Output]
    public ITaskItem[] ChatTemplates { get; private set; } = [];

    /// <summary>The files that decide the artifacts of the sound items: an IDE asks them whether a build is due.</summary>
    [Output]
    public ITaskItem[] Inputs { get; private set; } = [];

    private string ProjectFolder => Path.GetDirectoryName(ProjectFile)!;

    /// <inheritdoc/>
    public override bool Execute()
    {
        try
        {
            if (!DeviceName.TryRead(Device, out _, out _)) throw BuildDevice.Invalid(Device);
        }
        catch (QuantBuildException e)
        {
            Log.ErrorAt(e, new ItemPosition(ProjectFile, 0, 0));
        }

        List<ITaskItem> descriptors = [];
        List<ITaskItem> declared = [];
        List<string?> files = [];
        List<ITaskItem> templates = [];
        foreach (KeyValuePair<ITaskItem, ModelDeclaration> entry in WithoutDuplicates(Read()))
        {
            ItemPosition position = ItemPosition.Of(entry.Key, ProjectFile);
            try
            {
                ModelDeclaration model = entry.Value;
                string descriptorPath = Path.Combine(OutputFolder, model.ClassName + ModelDescriptor.FileSuffix);
                LockedModel? inputs = DesignTime ? null : InputsOf(model);
                string fingerprint = inputs?.Fingerprint ?? KnownFingerprint(model, descriptorPath);
                if (inputs is not null && LockFile.Length > 0) ModelLock.Check(Path.Combine(ProjectFolder, LockFile), model.ClassName, inputs, UpdateLockFile, LockedMode);
                ChatTemplateFiles chat = ChatTemplateFiles.Of(model, ProjectFolder, Path.GetFullPath(Path.Combine(ProjectFolder, OutputFolder)));
                if (chat.Warning is { } warning) Log.WarningAt(DiagnosticIds.ChatTemplateMissing, warning, position);
                WriteDescriptor(model, chat, fingerprint, descriptorPath);
                templates.AddRange(chat.Items);
                files.AddRange(chat.Files);
                // Weights that were not downloaded would be missing forever where the artifact came from a cache.
                files.AddRange([.. model.Folder?.Files.Where(File.Exists) ?? [], model.CalibrationFile, model.EvaluationFile]);
                if (!DesignTime) Advise(model, position);
                descriptors.Add(new Microsoft.Build.Utilities.TaskItem(descriptorPath));
                declared.Add(new DeclaredModel
                {
                    ClassName = model.ClassName,
                    ModelPath = model.Folder?.Path ?? "",
                    HubName = model.Source?.FullName,
                    Spec = model.Spec,
                    Gates = model.Gates,
                    MaxMemory = model.MaxMemory,
                    CalibrationFile = model.CalibrationFile,
                    EvaluationFile = model.EvaluationFile,
                    IsPacked = model.IsPacked,
                    Fingerprint = fingerprint,
                    ArtifactPath = Path.Combine(OutputFolder, model.ArtifactFileName),
                    Position = position,
                }.ToItem());
            }
            catch (QuantBuildException e)
            {
                Log.ErrorAt(e, position);
            }
        }

        Descriptors = [.. descriptors];
        Declared = [.. declared];
        ChatTemplates = [.. templates.GroupBy(item => item.ItemSpec).Select(same => same.First())];
        Inputs = [.. files.OfType<string>().Distinct().Select(file => new Microsoft.Build.Utilities.TaskItem(file))];
        return !Log.HasLoggedErrors;
    }

    private List<KeyValuePair<ITaskItem, ModelDeclaration>> Read()
    {
        List<KeyValuePair<ITaskItem, ModelDeclaration>> models = [];
        OverrideItems overrides = ReadOverrides();
        HubCommits commits = new(ProjectFolder, Path.Combine(ProjectFolder, HubRecord), LockFile.Length == 0 ? null : Path.Combine(ProjectFolder, LockFile), UpdateModels);
        foreach (ITaskItem item in Models)
        {
            WarnOfMisspelledMetadata(item);
            try
            {
                models.Add(new(item, ModelDeclaration.Read(item, overrides, ProjectFolder, RootNamespace, commits, DesignTime)));
            }
            catch (QuantBuildException e)
            {
                Log.ErrorAt(e, ItemPosition.Of(item, ProjectFile));
            }
            catch (Exception e) when (BuildLog.IsFileError(e))
            {
                // Found, and then not readable.
                Log.ErrorAt(DiagnosticIds.ModelMissing, $"The model {item.ItemSpec} cannot be read: {e.Message} Allow reading it.", ItemPosition.Of(item, ProjectFile));
            }
        }

        // A model that cannot be read may be the one that is meant.
        foreach (ITaskItem item in models.Count < Models.Length ? [] : overrides.Unused)
        {
            Log.ErrorAt(
                DiagnosticIds.MetadataInvalid,
                $"Model=\"{item.GetMetadata("Model")}\" of the override {item.ItemSpec} is neither the Include nor the class of a model. The models are " +
                $"{string.Join(", ", models.Select(model => $"{model.Key.ItemSpec} ({model.Value.ClassName})"))}. Correct it, or leave Model out for all models.",
                ItemPosition.Of(item, ProjectFile, OverrideItems.ElementName));
        }

        return models;
    }

    private OverrideItems ReadOverrides()
    {
        List<ITaskItem> sound = [];
        foreach (ITaskItem item in Overrides)
        {
            ItemPosition position = ItemPosition.Of(item, ProjectFile, OverrideItems.ElementName);
            foreach (string name in item.CloneCustomMetadata().Keys)
            {
                if (MetadataNames.MeantBy(name, OverrideItems.MetadataNames) is not { } meant) continue;
                Log.WarningAt(
                    DiagnosticIds.MetadataInvalid,
                    $"{name}=\"{item.GetMetadata(name)}\" of the override {item.ItemSpec} has no effect: an override has no such setting. Probably {meant} is meant.",
                    position);
            }

            try
            {
                OverrideItems.Text(item);
                sound.Add(item);
            }
            catch (QuantBuildException e)
            {
                Log.ErrorAt(e, position);
            }
        }

        return new OverrideItems(sound);
    }

    /// <summary>Says what was chosen for the item, and what its use speaks against.</summary>
    private void Advise(ModelDeclaration model, ItemPosition position)
    {
        if (model.AutoReason is { } reason) Log.LogMessage(MessageImportance.High, $"{model.ClassName}: {reason}");
        foreach (BuildWarning warning in UseChecks.Of(model.Use, model.Spec)) Log.WarningAt(warning.Id, $"{model.ClassName}: {warning.Text}", position);
    }

    private void WarnOfMisspelledMetadata(ITaskItem item)
    {
        foreach (string name in item.CloneCustomMetadata().Keys)
        {
            if (MetadataNames.MeantBy(name) is not { } meant) continue;
            Log.WarningAt(
                DiagnosticIds.MetadataInvalid,
                $"{name}=\"{item.GetMetadata(name)}\" of {item.ItemSpec} has no effect: a model has no such setting. Probably {meant} is meant.",
                ItemPosition.Of(item, ProjectFile));
        }
    }

    // The files of two classes that differ in case alone would be one file on many systems.
    private List<KeyValuePair<ITaskItem, ModelDeclaration>> WithoutDuplicates(List<KeyValuePair<ITaskItem, ModelDeclaration>> models)
    {
        Dictionary<string, ITaskItem> owners = new(StringComparer.OrdinalIgnoreCase);
        List<KeyValuePair<ITaskItem, ModelDeclaration>> distinct = [];
        foreach (KeyValuePair<ITaskItem, ModelDeclaration> entry in models)
        {
            string className = entry.Value.ClassName;
            if (owners.TryGetValue(className, out ITaskItem? first))
            {
                ItemPosition other = ItemPosition.Of(first, ProjectFile);
                string line = other.Line > 0 ? $" (line {other.Line})" : "";
                Log.ErrorAt(
                    DiagnosticIds.ClassNameDuplicate,
                    $"The items {first.ItemSpec}{line} and {entry.Key.ItemSpec} both give the class {className}. Set ClassName on one of them.",
                    ItemPosition.Of(entry.Key, ProjectFile));
                continue;
            }

            owners.Add(className, entry.Key);
            distinct.Add(entry);
        }

        return distinct;
    }

    private LockedModel InputsOf(ModelDeclaration model)
    {
        IReadOnlyList<string> quantizerFiles = Fingerprint.QuantizerFiles(WorkerFolder);
        if (quantizerFiles.FirstOrDefault(file => !File.Exists(file)) is { } missing)
        {
            throw new QuantBuildException(
                DiagnosticIds.WorkerFailed,
                $"{missing}, a part of the quantizer, does not exist. The QuantBuild package is not whole: delete it from the packages folder and restore again.");
        }

        try
        {
            FileHash hash = new(ModelCache.Default().HashFolder);
            IReadOnlyList<KeyValuePair<string, string>> inputs =
                Fingerprint.Inputs(model.Spec, model.Folder!, model.CalibrationFile, model.EvaluationFile, quantizerFiles, path => Log.HashOf(path, hash));
            return new LockedModel(Fingerprint.Of(inputs), inputs, model.Source?.Source);
        }
        catch (Exception e) when (BuildLog.IsFileError(e))
        {
            throw new QuantBuildException(DiagnosticIds.ModelMissing, $"A file of the model {model.Folder!.Path} cannot be read: {e.Message} Allow reading it.", e);
        }
    }

    /// <summary>The fingerprint as far as it is known without hashing: an IDE does not wait for gigabytes.</summary>
    private string KnownFingerprint(ModelDeclaration model, string descriptorPath)
    {
        if (model.Folder is null) return "";
        FileHash hash = new(ModelCache.Default().HashFolder);
        bool allKnown = true;
        string fingerprint = Fingerprint.Compute(
            model.Spec,
            model.Folder,
            model.CalibrationFile,
            model.EvaluationFile,
            Fingerprint.QuantizerFiles(WorkerFolder),
            path =>
            {
                string? known = File.Exists(path) ? hash.Recall(path) : null;
                allKnown &= known is not null;
                return known ?? "";
            });
        return allKnown ? fingerprint : Existing(descriptorPath)?.Fingerprint ?? "";
    }

    // An untouched file lets the compiler be skipped.
    private static void WriteDescriptor(ModelDeclaration model, ChatTemplateFiles chat, string fingerprint, string path)
    {
        DecoderConfig? config = model.Folder?.Config;
        string xml = new ModelDescriptor
        {
            ClassName = model.ClassName,
            Namespace = model.Namespace,
            ModelName = model.ModelName,
            Architecture = config?.Architecture ?? "",
            Method = model.Spec.Method,
            Bits = model.NominalBits,
            GroupSize = model.Spec.GroupSize,
            Parameters = config?.Parameters ?? 0,
            ContextLength = config?.ContextLength ?? 0,
            VocabularySize = config?.VocabularySize ?? 0,
            WordsAreTokens = model.Folder is { } folder && WordTokens.AreSeparate(folder.TokenizerFile),
            ArtifactFileName = model.ArtifactFileName,
            Fingerprint = fingerprint,
            ChatTemplateFile = chat.Template,
            ToolChatTemplateFile = chat.ToolTemplate,
            BosToken = chat.BosToken,
            EosToken = chat.EosToken,
            UnkToken = chat.UnkToken,
            PadToken = chat.PadToken,
        }.ToXml();
        WriteIfChanged(path, xml);
    }

    /// <summary>Writes a file for the generator.</summary>
    internal static void WriteIfChanged(string path, string text)
    {
        try
        {
            if (File.Exists(path) && File.ReadAllText(path) == text) return;
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllText(path, text, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false));
        }
        catch (Exception e) when (BuildLog.IsFileError(e))
        {
            throw WriteFailure.Of(path, e);
        }
    }

    private static ModelDescriptor? Existing(string descriptorPath)
    {
        try
        {
            return ModelDescriptor.TryParse(File.ReadAllText(descriptorPath));
        }
        catch (Exception e) when (BuildLog.IsFileError(e))
        {
            return null;
        }
    }
}
