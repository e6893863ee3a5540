using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace QuantBuild;

/// <summary>
/// SHA-256 of files, remembered by path, length and time of writing: hashing gigabytes at every build would make a build that does nothing slow.
/// </summary>
/// <param name="folder">Where hashes are remembered. A folder that cannot be written only costs time.</param>
public sealed class FileHash(string folder)
{
    private const int HashLength = 64;

    // Gives the file that a link leads to. netstandard2.0 lacks it, .NET Framework too.
    private static readonly Func<string, bool, FileSystemInfo?>? ResolveLinkTarget = (Func<string, bool, FileSystemInfo?>?)typeof(File)
        .GetMethod("ResolveLinkTarget", [typeof(string), typeof(bool)])?.CreateDelegate(typeof(Func<string, bool, FileSystemInfo?>));

    // A file written this recently may be written again within the same tick of its clock: its hash is not remembered yet.
    private static readonly TimeSpan Settled = TimeSpan.FromSeconds(2);

    /// <summary>The remembered hash of a file, or <see langword="null"/> where it has changed or was never hashed.</summary>
    public string? Recall(string path)
    {
        try
        {
            string[] lines = File.ReadAllLines(StampPath(path));
            return lines.Length == 2 && lines[0] == Stamp(Target(path)) && lines[1].Length == HashLength ? lines[1] : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>The SHA-256 of a file as 64 lowercase hexadecimal digits.</summary>
    public string Compute(string path)
    {
        if (Recall(path) is { } known) return known;
        FileInfo? before = Target(path);
        string? stamp = Stamp(before);
        bool settled = before is not null && DateTime.UtcNow - before.LastWriteTimeUtc > Settled;
        string hash = OfFile(path);
        if (stamp is not null && settled && stamp == Stamp(Target(path))) Remember(path, stamp, hash);
        return hash;
    }

    /// <summary>The SHA-256 of a file as 64 lowercase hexadecimal digits, remembered nowhere.</summary>
    public static string OfFile(string path)
    {
        using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 20);
        using SHA256 sha = SHA256.Create();
        return Hex(sha.ComputeHash(stream));
    }

    /// <summary>The SHA-256 of a text in UTF-8 as 64 lowercase hexadecimal digits.</summary>
    public static string OfText(string text)
    {
        using SHA256 sha = SHA256.Create();
        return Hex(sha.ComputeHash(Encoding.UTF8.GetBytes(text)));
    }

    private static string Hex(byte[] bytes) => string.Concat(bytes.Select(b => b.ToString("x2", CultureInfo.InvariantCulture)));

    // Length and time of a link are the link's own, whatever becomes of the file: null where that cannot be found, and nothing is to be remembered.
    private static FileInfo? Target(string path)
    {
        FileInfo file = new(path);
        if (!file.Exists || (file.Attributes & FileAttributes.ReparsePoint) == 0) return file;
        return ResolveLinkTarget is null ? null : (FileInfo?)ResolveLinkTarget(path, true) ?? file;
    }

    private static string? Stamp(FileInfo? file) =>
        file is null ? null : string.Format(CultureInfo.InvariantCulture, "{0} {1}", file.Length, file.LastWriteTimeUtc.Ticks);

    private string StampPath(string path) => Path.Combine(folder, OfText(Path.GetFullPath(path)));

    private void Remember(string path, string stamp, string hash)
    {
        string target = StampPath(path);
        string temporary = target + "." + Guid.NewGuid().ToString("N");
        try
        {
            Directory.CreateDirectory(folder);
            File.WriteAllLines(temporary, [stamp, hash]);
            if (File.Exists(target)) File.Delete(target);
            File.Move(temporary, target);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Another build remembered it first, or the cache cannot be written: the next build hashes again.
            try
            {
                File.Delete(temporary);
            }
            catch (Exception again) when (again is IOException or UnauthorizedAccessException)
            {
            }
        }
    }
}
