using System.Text;
using System.Text.Json;
using QuantBuild.Text.Normalization;
using QuantBuild.Text.Patterns;

namespace QuantBuild.Text;

internal sealed partial class TokenizerJson
{
    private static readonly CharacterSet Marks = CharacterSet.Property("M")!;
    private static readonly CharacterSet NonSpacingMarks = CharacterSet.Property("Mn")!;

    private IEnumerable<Normalizer> ReadNormalizer(JsonElement step)
    {
        switch (Kind(step))
        {
            case "NFC":
                return [new Normalizer.Form(NormalizationForm.FormC)];
            case "NFD":
                return [new Normalizer.Form(NormalizationForm.FormD)];
            case "NFKC":
                return [new Normalizer.Form(NormalizationForm.FormKC)];
            case "NFKD":
                return [new Normalizer.Form(NormalizationForm.FormKD)];
            case "Lowercase":
                return [new Normalizer.Lowercase()];
            case "Strip":
                return [new Normalizer.Strip(Flag(step, "strip_left", standard: true), Flag(step, "strip_right", standard: true))];
            case "StripAccents":
                return [new Normalizer.Remove(Marks)];
            case "Replace":
                return [ReadReplace(step)];
            case "Prepend":
                return [new Normalizer.Prepend(Text(step, "prepend"))];
            case "ByteLevel":
                return [new Normalizer.ByteLevel()];
            case "Nmt":
                return [new Normalizer.Nmt()];
            case "Precompiled":
                return [new Normalizer.Precompiled(ReadCharsmap(step))];
            case "BertNormalizer":
                return ReadBertNormalizer(step);
            default:
                throw Unsupported($"its normalizer has a step of the kind {Kind(step)}");
        }
    }

    private Normalizer ReadReplace(JsonElement step)
    {
        JsonElement pattern = step.GetProperty("pattern");
        string content = Text(step, "content");
        return Member(pattern, "String")?.GetString() is { Length: > 0 } literal ? new Normalizer.ReplaceText(literal, content) : new Normalizer.Replace(ReadPattern(pattern), content);
    }

    private Charsmap ReadCharsmap(JsonElement step)
    {
        try
        {
            return new Charsmap(step.GetProperty("precompiled_charsmap").GetBytesFromBase64());
        }
        catch (FormatException e)
        {
            throw new QuantBuildException(
                DiagnosticIds.TokenizerCharsmapMalformed,
                $"{source}: the map of characters of its Precompiled normalizer cannot be read: {e.Message}. Copy the file again from where the model came from.", e);
        }
    }

    private static IEnumerable<Normalizer> ReadBertNormalizer(JsonElement step)
    {
        bool lowercase = Flag(step, "lowercase", standard: true);
        if (Flag(step, "clean_text", standard: true)) yield return new Normalizer.BertClean();
        if (Flag(step, "handle_chinese_chars", standard: true)) yield return new Normalizer.BertIdeographs();
        if (Flag(step, "strip_accents", standard: lowercase))
        {
            yield return new Normalizer.Form(NormalizationForm.FormD);
            yield return new Normalizer.Remove(NonSpacingMarks);
        }

        if (lowercase) yield return new Normalizer.Lowercase();
    }
}
