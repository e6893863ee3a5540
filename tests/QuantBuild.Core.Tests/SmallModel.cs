namespace QuantBuild.Core.Tests;

/// <summary>A model folder with the sample's small files, and weights that nothing here reads.</summary>
internal static class SmallModel
{
    public static string Create(string path)
    {
        Directory.CreateDirectory(path);
        foreach (string name in new[] { "config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json" })
        {
            File.Copy(Path.Combine(TestFiles.SampleModel, name), Path.Combine(path, name), overwrite: true);
        }

        File.WriteAllText(Path.Combine(path, "model.safetensors"), "weights");
        return path;
    }
}
