using System.Buffers.Binary;
using System.Text.Json.Nodes;

namespace QuantBuild.EndToEnd.Tests;

/// <summary>Every error that a declaration, a model, a text or a machine can cause, in the output of a real build.</summary>
[Collection(Builds.Name)]
public sealed class ErrorTests(PackedFeed feed)
{
    [Fact]
    public void Every_declaration_that_is_wrong_is_reported_in_one_build()
    {
        UserProject project = new(feed);
        project.WriteModel("tiny", new TinyModel());
        project.WriteModel("sub/tiny", new TinyModel());
        project.WriteModel("no-config", new TinyModel { Without = ["config.json"] });
        project.WriteModel("no-json", new TinyModel { ConfigText = "not json" });
        project.WriteModel("mamba", new TinyModel { ConfigText = """{ "architectures": ["MambaForCausalLM"] }""" });
        project.WriteModel("no-tokenizer", new TinyModel { Without = ["tokenizer.json"] });
        project.WriteModel("no-weights", new TinyModel { Without = ["model.safetensors"] });
        project.Write("empty.txt", "");
        project.Declare("""
            <QuantizedModel Include="nowhere" Method="Rtn" />
            <QuantizedModel Include="no-config" Method="Rtn" GroupSize="16" />
            <QuantizedModel Include="no-json" Method="Rtn" GroupSize="16" />
            <QuantizedModel Include="mamba" Method="Rtn" GroupSize="16" />
            <QuantizedModel Include="no-tokenizer" Method="Rtn" GroupSize="16" />
            <QuantizedModel Include="no-weights" Method="Rtn" GroupSize="16" />
            <QuantizedModel Include="tiny" Method="Gptqq" />
            <QuantizedModel Include="tiny" Method="Rtn" Bits="5" />
            <QuantizedModel Include="tiny" Method="Rtn" GroupSize="12" />
            <QuantizedModel Include="tiny" Method="Rtn" GroupSize="48" />
            <QuantizedModel Include="tiny" Method="Rtn" GroupSize="16" />
            <QuantizedModel Include="sub/tiny" Method="Rtn" GroupSize="32" />
            <QuantizedModel Include="tiny" Method="Rtn" GroupSize="16" ClassName="2fast" />
            <QuantizedModel Include="tiny" Method="Rtn" GroupSize="16" Symmetric="maybe" />
            <QuantizedModel Include="tiny" GroupSize="16" ClassName="A" />
            <QuantizedModel Include="tiny" GroupSize="16" ClassName="B" CalibrationData="nowhere.txt" />
            <QuantizedModel Include="tiny" GroupSize="16" ClassName="C" CalibrationData="empty.txt" />
            <QuantizedModel Include="tiny" Method="Rtn" GroupSize="16" ClassName="D" EvaluationData="nowhere.txt" />
            """);

        BuildResult result = project.FailToBuild("-p:QuantBuildDevice=gpu");

        result.AssertError("QB2001", "nowhere");
        result.AssertError("QB2002", "no-config");
        result.AssertError("QB2003", "no-json");
        result.AssertError("QB2004", "MambaForCausalLM is not supported. Supported: LlamaForCausalLM");
        result.AssertError("QB2008", "no-tokenizer");
        result.AssertError("QB2010", "no-weights");
        result.AssertError("QB0001", "Probably Gptq is meant.");
        result.AssertError("QB0002", "2, 3, 4, 8");
        result.AssertError("QB0003", "12");
        result.AssertError("QB0007", "model.layers.0.self_attn.q_proj");
        result.AssertError("QB0007", "16, 32, PerChannel");
        result.AssertError("QB0004", "sub/tiny");
        result.AssertError("QB0005", "2fast");
        result.AssertError("QB0006", "Symmetric");
        result.AssertError("QB3004", "CalibrationData");
        result.AssertError("QB3001", "nowhere.txt");
        result.AssertError("QB3002", "empty.txt");
        result.AssertError("QB3005", "nowhere.txt");
        result.AssertError("QB1006", "cuda:N");
        Assert.Equal(0, result.Workers);
        Assert.Matches(@"App\.csproj\(\d+,\d+\): error QB2001", result.Output);
        Assert.Empty(project.Leftovers());
    }

    [Fact]
    public void Every_model_and_text_that_is_wrong_inside_is_reported_in_one_build()
    {
        const string query = "model.layers.0.self_attn.q_proj.weight";
        UserProject project = new(feed);
        project.WriteModel("truncated", new TinyModel { File = bytes => bytes[..^64] });
        project.WriteModel("overlapping", new TinyModel { Header = h => h[query]!["data_offsets"] = new JsonArray(0, 2 * 32 * 32) });
        project.WriteModel("outside", new TinyModel { Header = h => h[query]!["data_offsets"] = new JsonArray(1L << 40, (1L << 40) + (2 * 32 * 32)) });
        project.WriteModel("absurd", new TinyModel
        {
            File = bytes =>
            {
                BinaryPrimitives.WriteInt64LittleEndian(bytes, long.MaxValue);
                return bytes;
            },
        });
        // Renamed, so that the file itself stays sound.
        project.WriteModel("lacking", new TinyModel
        {
            Header = h =>
            {
                h["something.else"] = h[query]!.DeepClone();
                h.Remove(query);
            },
        });
        project.WriteModel("misshapen", new TinyModel { Header = h => h[query]!["shape"] = new JsonArray(16, 64) });
        project.WriteModel("babbling", new TinyModel());
        project.Write("babbling/tokenizer.json", "not json");
        project.WriteModel("tiny", new TinyModel());
        project.Write("short.txt", "Too short.");
        string[] models = ["truncated", "overlapping", "outside", "absurd", "lacking", "misshapen", "babbling"];
        project.Declare(string.Concat(models.Select(m => $"""<QuantizedModel Include="{m}" Method="Rtn" GroupSize="16" />"""))
            + """<QuantizedModel Include="tiny" GroupSize="16" CalibrationData="short.txt" />""");

        BuildResult result = project.FailToBuild();

        result.AssertError("QB2005", "truncated");
        result.AssertError("QB2005", "overlapping");
        result.AssertError("QB2005", "outside");
        result.AssertError("QB2005", "absurd");
        result.AssertError("QB2006", query);
        result.AssertError("QB2007", query);
        result.AssertError("QB2009", "babbling");
        result.AssertError("QB3003", "short.txt");
        Assert.Equal(models.Length + 1, result.Workers);
        Assert.Empty(Directory.Exists(project.Output) ? Directory.GetFiles(project.Output, "*.safetensors") : []);
        Assert.Empty(project.Leftovers());
    }

    [Fact]
    public void Cuda_that_is_not_there_is_reported_before_anything_is_restored()
    {
        // Where there is a driver there is nothing to see.
        if (NvidiaDriver.Find() is not null) return;
        UserProject project = Sound();
        BuildResult result = project.FailToBuild("-p:QuantBuildDevice=cuda:0");
        result.AssertError("QB1001", "this machine has no NVIDIA driver. Looked for");
        Assert.DoesNotContain("QuantBuildRestoreWorkerLibraries", result.Targets);
        Assert.Equal(0, result.Workers);
    }

    [Fact]
    public void A_cache_that_cannot_be_written_is_reported()
    {
        UserProject project = Sound();
        File.WriteAllText(project.Cache, "a file where the folder should be");
        BuildResult result = project.FailToBuild();
        result.AssertError("QB1004", project.Cache);
        Assert.Empty(project.Leftovers());
    }

    [FactWhereDisksCanBeMounted]
    public void A_full_disk_is_reported_and_leaves_nothing()
    {
        UserProject project = Sound();
        Assert.Equal(0, project.Run("restore").ExitCode);
        // A disk of 100 KB where the cache keeps artifacts, gone when the build ends; the artifact is larger. What is left on it is listed before that.
        string artifacts = Path.Combine(project.Cache, "artifacts");
        (int exitCode, string output) = project.Shell(
            $"mkdir -p '{artifacts}' && exec unshare -rm sh -c \"mount -t tmpfs -o size=100k tmpfs '{artifacts}' && '{DotNet.Host}' build --no-restore -tl:off; " +
            $"result=\\$?; echo left:; find '{artifacts}' -type f; exit \\$result\"");
        Assert.True(exitCode != 0, output);
        Assert.True(output.Contains("error QB1003", StringComparison.Ordinal), output);
        Assert.Matches(@"left:\s*$", output);
        Assert.Empty(project.Leftovers());
    }

    [Fact]
    public void A_platform_without_libtorch_is_reported_before_anything_is_restored()
    {
        UserProject project = Sound();
        Assert.Equal(0, project.Run("restore").ExitCode);
        BuildResult result = project.FailToBuild("--no-restore", "-p:NETCoreSdkPortableRuntimeIdentifier=linux-musl-x64");
        result.AssertError("QB1007", "this platform, linux-musl-x64: libtorch is made for linux-x64, osx-arm64, win-x64, win-arm64");
        Assert.False(Directory.Exists(Path.Combine(project.Intermediate, "quantbuild", "worker")));
        Assert.Equal(0, result.Workers);
    }

    [Fact]
    public void Libraries_that_no_source_has_are_reported()
    {
        UserProject project = Sound();
        Assert.Equal(0, project.Run("restore").ExitCode);
        project.Write("../nuget.config", feed.NuGetConfig(withUsersPackages: false));
        BuildResult result = project.FailToBuild("--no-restore");
        result.AssertError("QB1007", "TorchSharp");
        Assert.Equal(0, result.Workers);
    }

    private UserProject Sound()
    {
        UserProject project = new(feed);
        project.WriteModel("tiny", new TinyModel());
        project.Declare(BuiltProject.Item);
        return project;
    }
}

/// <summary>A test that needs a small disk: skipped where the system does not let this user mount one.</summary>
internal sealed class FactWhereDisksCanBeMountedAttribute : FactAttribute
{
    public FactWhereDisksCanBeMountedAttribute()
    {
        if (!Possible()) Skip = "no disk can be mounted here (unshare -rm, mount -t tmpfs)";
    }

    private static bool Possible()
    {
        if (!OperatingSystem.IsLinux()) return false;
        string folder = Directory.CreateTempSubdirectory().FullName;
        try
        {
            return DotNet.Run("sh", ["-c", $"unshare -rm mount -t tmpfs -o size=100k tmpfs '{folder}'"], folder).ExitCode == 0;
        }
        finally
        {
            Directory.Delete(folder);
        }
    }
}
