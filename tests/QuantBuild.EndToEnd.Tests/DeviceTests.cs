using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;

namespace QuantBuild.EndToEnd.Tests;

/// <summary>Which libraries a build restores for which device. The packages of libtorch with CUDA are small ones of the same form here, and the driver one that this test compiles.</summary>
[Collection(Builds.Name)]
public sealed class DeviceTests(PackedFeed feed)
{
    private const string Head = "libtorch-cuda-12.8-linux-x64";

    [Fact]
    public void Without_a_driver_auto_takes_the_cpu_and_says_so_and_restores_nothing_of_CUDA()
    {
        if (NvidiaDriver.Find() is not null) return;
        UserProject project = Sound();
        BuildResult result = project.Build();
        Assert.Contains("App: quantizing on the CPU (QuantBuildDevice is auto): this machine has no NVIDIA driver", result.Output, StringComparison.Ordinal);
        Assert.False(Restored(Head));
        Assert.False(Directory.Exists(Path.Combine(project.Intermediate, "quantbuild", "worker-cuda")));
        // A build with nothing to do asks no driver.
        Assert.DoesNotContain("QuantBuildChooseDevice", project.Build().Targets);
    }

    [FactWhereADriverCanBeCompiled]
    public void Cuda_restores_libtorch_with_CUDA_and_puts_it_together_and_the_cpu_does_not()
    {
        UserProject project = WithDriver(12080, gpus: 1);
        project.Build("-p:QuantBuildDevice=cpu");
        Assert.False(Restored(Head));

        // The libraries are none that could be loaded: but they are found, whole and in one folder.
        BuildResult result = project.FailToBuild("-p:QuantBuildMode=Force");
        Assert.Contains("App: quantizing on cuda:0 (QuantBuildDevice is auto): Fake GPU, 24.0 GB, compute capability 8.9", result.Output, StringComparison.Ordinal);
        Assert.True(Restored(Head) && Restored(Head + "-part1") && Restored(Head + "-part2-fragment1"));
        Assert.True(Directory.Exists(Path.Combine(project.Cache, "libraries")), result.Output);
        string folder = Assert.Single(Directory.GetDirectories(Path.Combine(project.Cache, "libraries"), "libtorch-*"));
        result.AssertError("QB1002", Path.Combine(folder, "libc10.so"));
        Assert.Equal(["libc10.so", "libtorch_cpu.so"], Directory.GetFiles(folder).Select(Path.GetFileName).Order());
        Assert.Equal("the first piece and the second", File.ReadAllText(Path.Combine(folder, "libtorch_cpu.so")));
        Assert.True(Directory.Exists(Path.Combine(project.Intermediate, "quantbuild", "worker")) && Directory.Exists(Path.Combine(project.Intermediate, "quantbuild", "worker-cuda")));

        // What the CPU made is still in the cache: a device is no part of a fingerprint.
        Assert.Equal(0, project.Build("-p:QuantBuildDevice=cuda").Workers);
    }

    [FactWhereADriverCanBeCompiled]
    public void Cuda_that_cannot_be_used_is_an_error_before_anything_is_restored()
    {
        UserProject old = WithDriver(12040, gpus: 1);
        old.FailToBuild("-p:QuantBuildDevice=cuda").AssertError("QB1050", "the NVIDIA driver supports CUDA 12.4, expected 12.8 or later");
        UserProject none = WithDriver(12080, gpus: 0);
        none.FailToBuild("-p:QuantBuildDevice=cuda").AssertError("QB1051", "the NVIDIA driver supports CUDA 12.8 and has no GPU");
        BuildResult result = WithDriver(12080, gpus: 2).FailToBuild("-p:QuantBuildDevice=cuda:2");
        result.AssertError("QB1052", "cuda:2 does not exist: the NVIDIA driver supports CUDA 12.8 and has 2 GPUs");
        Assert.DoesNotContain("QuantBuildRestoreWorkerLibraries", result.Targets);
    }

    [FactWhereADriverCanBeCompiled]
    public void Libraries_with_CUDA_that_no_source_has_are_reported()
    {
        UserProject project = WithDriver(12080, gpus: 1);
        project.Write("../nuget.config", feed.NuGetConfig());
        project.FailToBuild("-p:QuantBuildDevice=cuda").AssertError("QB1054", "Make a source that has libtorch-cuda-12.8-linux-x64 reachable");
    }

    private bool Restored(string package) => Directory.Exists(Path.Combine(feed.Root, "cuda packages", package));

    private UserProject Sound()
    {
        UserProject project = new(feed);
        project.WriteModel("tiny", new TinyModel());
        project.Declare(BuiltProject.Item);
        WritePackages();
        // Packages of their own: whether those with CUDA are restored is to be seen.
        string config = feed.NuGetConfig(packages: Path.Combine(feed.Root, "cuda packages"));
        project.Write("../nuget.config", config.Replace("</packageSources>", $"""<add key="cuda" value="{PackageFolder}" /></packageSources>""", StringComparison.Ordinal));
        return project;
    }

    private UserProject WithDriver(int version, int gpus)
    {
        UserProject project = Sound();
        string folder = Path.Combine(project.Folder, "..", "driver");
        project.Write("../driver/driver.c", $$"""
            #include <string.h>
            int cuDriverGetVersion(int *version) { *version = {{version}}; return 0; }
            int cuInit(unsigned flags) { return {{gpus}} ? 0 : 100; }
            int cuDeviceGetCount(int *count) { *count = {{gpus}}; return 0; }
            int cuDeviceGet(int *device, int index) { *device = index; return 0; }
            int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Fake GPU", length); return 0; }
            int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 24000000000; return 0; }
            int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? 8 : 9; return 0; }
            """);
        (int exitCode, string said) = DotNet.Run("cc", ["-shared", "-fPIC", "driver.c", "-o", "libcuda.so.1"], folder);
        Assert.True(exitCode == 0, said);
        project.Variables["LD_LIBRARY_PATH"] = Path.GetFullPath(folder);
        return project;
    }

    private string PackageFolder => Path.Combine(feed.Root, "cuda feed");

    private void WritePackages()
    {
        if (Directory.Exists(PackageFolder)) return;
        Directory.CreateDirectory(PackageFolder);
        const string first = "the first piece", second = " and the second";
        string checksum = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(first + second)));
        WritePackage(Head, [Head + "-part1", Head + "-part2-primary", Head + "-part2-fragment1"]);
        WritePackage(Head + "-part1", [], ("runtimes/linux-x64/native/libc10.so", "no library"));
        WritePackage(Head + "-part2-primary", [], ("runtimes/linux-x64/native/libtorch_cpu.so", first), ("runtimes/linux-x64/native/libtorch_cpu.so.sha", checksum));
        WritePackage(Head + "-part2-fragment1", [], ("fragments/linux-x64/native/libtorch_cpu.so.fragment1", second));
    }

    private void WritePackage(string id, string[] dependencies, params (string Path, string Text)[] files)
    {
        const string version = "2.10.0";
        using ZipArchive package = ZipFile.Open(Path.Combine(PackageFolder, $"{id}.{version}.nupkg"), ZipArchiveMode.Create);
        string nuspec = $"""
            <package xmlns="http://schemas.microsoft.com/packaging/2012/06/nuspec.xsd">
              <metadata>
                <id>{id}</id><version>{version}</version><authors>QuantBuild's tests</authors><description>Stands for libtorch with CUDA.</description>
                <dependencies><group targetFramework=".NETStandard2.0">{string.Concat(dependencies.Select(name => $"""<dependency id="{name}" version="{version}" />"""))}</group></dependencies>
              </metadata>
            </package>
            """;
        foreach ((string path, string text) in files.Prepend((id + ".nuspec", nuspec)).Append(("lib/netstandard2.0/_._", "")))
        {
            using StreamWriter writer = new(package.CreateEntry(path).Open());
            writer.Write(text);
        }
    }
}

/// <summary>A test that compiles a library in place of the driver's: skipped where there is no compiler, and where there is a driver.</summary>
internal sealed class FactWhereADriverCanBeCompiledAttribute : FactAttribute
{
    public FactWhereADriverCanBeCompiledAttribute()
    {
        string[] folders = Environment.GetEnvironmentVariable("PATH")?.Split(Path.PathSeparator) ?? [];
        if (!OperatingSystem.IsLinux() || !folders.Any(folder => File.Exists(Path.Combine(folder, "cc"))) || BuildDevice.Platform != "linux-x64") Skip = "no C compiler (cc), or another system than Linux on x64";
    }
}
