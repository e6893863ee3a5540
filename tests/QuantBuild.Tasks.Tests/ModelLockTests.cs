using Microsoft.Build.Framework;

namespace QuantBuild.Tasks.Tests;

[Collection("one cache variable a process")]
public sealed class ModelLockTests : IDisposable
{
    private readonly TestProject project = new();
    private readonly RecordingBuildEngine engine = new();

    private string Path => System.IO.Path.Combine(project.Folder, LockFile.DefaultName);

    public void Dispose() => project.Dispose();

    [Fact]
    public void The_first_build_locks_and_the_next_ones_agree_and_leave_the_file_alone()
    {
        Assert.True(Declare());
        string text = File.ReadAllText(Path);
        Assert.Equal(project.Descriptor("TinyGptq4").Fingerprint, LockFile.Read(Path).Models["TinyGptq4"].Fingerprint);
        DateTime written = File.GetLastWriteTimeUtc(Path);
        Assert.True(Declare(lockedMode: true));
        Assert.Equal(written, File.GetLastWriteTimeUtc(Path));
        Assert.Equal(text, File.ReadAllText(Path));
    }

    [Fact]
    public void A_build_that_would_deviate_fails_and_says_in_what_and_agreeing_lets_it_pass()
    {
        Assert.True(Declare());
        project.Write("calibration.txt", "It was another night.");
        Assert.False(Declare());
        BuildErrorEventArgs error = Assert.Single(engine.Errors);
        Assert.Equal("QB0010", error.Code);
        Assert.Matches("calibration is [0-9a-f]{12}…, locked is [0-9a-f]{12}…", error.Message);

        Assert.True(Declare(update: true));
        Assert.True(Declare(lockedMode: true));
    }

    [Fact]
    public void Another_version_of_the_quantizer_is_called_that()
    {
        Assert.True(Declare());
        project.Write("worker/QuantBuild.Runtime.dll", "other code");
        Assert.False(Declare());
        Assert.Contains("QuantBuild itself is another version", Assert.Single(engine.Errors).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_new_model_is_added_and_on_a_build_server_it_is_an_error()
    {
        Assert.True(Declare());
        Assert.False(Declare(lockedMode: true, items: [TestProject.Sound(), TestProject.Sound(("Bits", "3"))]));
        Assert.Contains("TinyGptq3 is not in the lock file", Assert.Single(engine.Errors).Message, StringComparison.Ordinal);
        Assert.True(Declare(items: [TestProject.Sound(), TestProject.Sound(("Bits", "3"))]));
        Assert.Equal(["TinyGptq3", "TinyGptq4"], LockFile.Read(Path).Models.Keys);
        Assert.Equal([Path], Directory.GetFiles(project.Folder, LockFile.DefaultName + "*"));
    }

    [Fact]
    public void A_damaged_lock_file_is_an_error_and_an_ide_does_not_mind()
    {
        File.WriteAllText(Path, "<<<<<<< HEAD");
        Assert.False(Declare());
        Assert.Equal("QB0011", Assert.Single(engine.Errors).Code);
        Assert.True(Declare(designTime: true));
    }

    private bool Declare(bool update = false, bool lockedMode = false, bool designTime = false, ITaskItem[]? items = null)
    {
        engine.Errors.Clear();
        return new DeclareModels
        {
            BuildEngine = engine,
            Models = items ?? [TestProject.Sound()],
            ProjectFile = project.ProjectFile,
            RootNamespace = "Test",
            OutputFolder = project.OutputFolder,
            Device = "cpu",
            WorkerFolder = System.IO.Path.Combine(project.Folder, "worker"),
            LockFile = LockFile.DefaultName,
            UpdateLockFile = update,
            LockedMode = lockedMode,
            DesignTime = designTime,
        }.Execute();
    }
}
