using System.Runtime.CompilerServices;

namespace QuantBuild.Generators.Tests;

/// <summary>
/// Compares a text with the file <c>Name.verified.cs</c> beside the test. Where they differ the text is left as <c>Name.received.cs</c>:
/// look at the difference, and if it is meant, rename it to <c>Name.verified.cs</c>.
/// </summary>
internal static class Snapshot
{
    public static void Verify(string actual, [CallerMemberName] string name = "", [CallerFilePath] string testFile = "")
    {
        string folder = Path.Combine(TestProject.Folder, "Snapshots");
        string prefix = Path.Combine(folder, Path.GetFileNameWithoutExtension(testFile) + "." + name);
        string verified = prefix + ".verified.cs";
        string received = prefix + ".received.cs";
        string expected = File.Exists(verified) ? File.ReadAllText(verified).ReplaceLineEndings("\n") : "";
        if (actual == expected)
        {
            File.Delete(received);
            return;
        }

        Directory.CreateDirectory(folder);
        File.WriteAllText(received, actual);
        Assert.Equal(expected, actual);
    }
}
