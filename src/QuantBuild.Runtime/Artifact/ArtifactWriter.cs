using System.Security.Cryptography;
using System.Text;
using QuantBuild.Text;

namespace QuantBuild;

/// <summary>Writes artifacts.</summary>
public static class ArtifactWriter
{
    private const int TokenizerAlignment = 64;

    /// <summary>Computes the checksums and writes the artifact; it appears whole, under its name, or not at all.</summary>
    /// <param name="path">The file to make; one that is there is replaced.</param>
    /// <param name="manifest">What the artifact says of itself; its checksums are replaced.</param>
    /// <param name="tensors">All tensors, <see cref="TokenizerTensor"/>'s among them.</param>
    /// <exception cref="QuantBuildException">QB1003: the disk is full. QB1004: the file cannot be written.</exception>
    public static void Write(string path, ArtifactManifest manifest, IReadOnlyCollection<TensorSource> tensors)
    {
        ArgumentNullException.ThrowIfNull(manifest);
        ArgumentNullException.ThrowIfNull(tensors);
        Dictionary<string, string> checksums = [];
        foreach (TensorSource tensor in tensors) checksums[tensor.Name] = Checksum(tensor);
        string json = (manifest with { Checksums = checksums }).ToJson();
        SafetensorsWriter.Write(path, new Dictionary<string, string> { [Artifact.ManifestKey] = json }, tensors);
    }

    /// <summary>
    /// The tensor that carries the tokenizer: <c>tokenizer.json</c>, padded with blanks, which JSON ignores, to keep what follows aligned; or another kind of file as it is.
    /// </summary>
    /// <param name="tokenizer">The bytes of the file.</param>
    public static TensorSource TokenizerTensor(ReadOnlySpan<byte> tokenizer)
    {
        TokenizerKind kind = TokenizerFile.KindOf(tokenizer);
        if (kind != TokenizerKind.Json) return TensorSource.FromBytes(Artifact.TokenizerName, ElementType.U8, [tokenizer.Length], tokenizer.ToArray());
        // A byte order mark is not JSON.
        if (tokenizer.StartsWith(Encoding.UTF8.Preamble)) tokenizer = tokenizer[Encoding.UTF8.Preamble.Length..];
        byte[] padded = new byte[(tokenizer.Length + TokenizerAlignment - 1) / TokenizerAlignment * TokenizerAlignment];
        padded.AsSpan().Fill((byte)' ');
        tokenizer.CopyTo(padded);
        return TensorSource.FromBytes(Artifact.TokenizerName, ElementType.U8, [padded.Length], padded);
    }

    private static string Checksum(TensorSource tensor)
    {
        using SHA256 sha = SHA256.Create();
        using (CryptoStream stream = new(Stream.Null, sha, CryptoStreamMode.Write))
        {
            tensor.CopyTo(stream);
        }

        return Convert.ToHexStringLower(sha.Hash!);
    }
}
