using System.Globalization;
using System.Text;
using FsCheck.Xunit;
using QuantBuild.Text.Normalization;

namespace QuantBuild.Runtime.Tests.Text;

public class NormalizationTests
{
    // Of NormalizationTest.txt, which Unicode publishes: source, NFC, NFD, NFKC, NFKD.
    [Theory]
    [InlineData("1E0A", "1E0A", "0044 0307", "1E0A", "0044 0307")]
    [InlineData("1E0C 0307", "1E0C 0307", "0044 0323 0307", "1E0C 0307", "0044 0323 0307")]
    [InlineData("0044 0307 0323", "1E0C 0307", "0044 0323 0307", "1E0C 0307", "0044 0323 0307")]
    [InlineData("212B", "00C5", "0041 030A", "00C5", "0041 030A")]
    [InlineData("0958", "0915 093C", "0915 093C", "0915 093C", "0915 093C")]
    [InlineData("FB01", "FB01", "FB01", "0066 0069", "0066 0069")]
    [InlineData("1E9B 0323", "1E9B 0323", "017F 0323 0307", "1E69", "0073 0323 0307")]
    [InlineData("FDFA", "FDFA", "FDFA", "0635 0644 0649 0020 0627 0644 0644 0647 0020 0639 0644 064A 0647 0020 0648 0633 0644 0645", "0635 0644 0649 0020 0627 0644 0644 0647 0020 0639 0644 064A 0647 0020 0648 0633 0644 0645")]
    [InlineData("AC01", "AC01", "1100 1161 11A8", "AC01", "1100 1161 11A8")]
    [InlineData("1100 AC00 11A8", "1100 AC01", "1100 1100 1161 11A8", "1100 AC01", "1100 1100 1161 11A8")]
    [InlineData("1100 1161 11A7", "AC00 11A7", "1100 1161 11A7", "AC00 11A7", "1100 1161 11A7")]
    [InlineData("0061 0315 0300 05AE 0300 0062", "00E0 05AE 0300 0315 0062", "0061 05AE 0300 0300 0315 0062", "00E0 05AE 0300 0315 0062", "0061 05AE 0300 0300 0315 0062")]
    [InlineData("0344", "0308 0301", "0308 0301", "0308 0301", "0308 0301")]
    [InlineData("1D15E", "1D157 1D165", "1D157 1D165", "1D157 1D165", "1D157 1D165")]
    [InlineData("2F9D4", "8CAB", "8CAB", "8CAB", "8CAB")]
    [InlineData("110A5 110BA", "110AB", "110A5 110BA", "110AB", "110A5 110BA")]
    public void Forms_are_those_that_Unicode_publishes(string source, string c, string d, string kc, string kd)
    {
        string text = Text(source);
        Assert.Equal(Text(c), NormalizationForms.Normalize(text, NormalizationForm.FormC));
        Assert.Equal(Text(d), NormalizationForms.Normalize(text, NormalizationForm.FormD));
        Assert.Equal(Text(kc), NormalizationForms.Normalize(text, NormalizationForm.FormKC));
        Assert.Equal(Text(kd), NormalizationForms.Normalize(text, NormalizationForm.FormKD));
    }

    [Property(MaxTest = 500)]
    public void A_form_is_of_itself_and_composing_loses_nothing(int seed)
    {
        int[] alphabet = [0x41, 0x61, 0xE9, 0x300, 0x301, 0x316, 0x323, 0x327, 0x345, 0x1100, 0x1161, 0x11A8, 0xAC00, 0xAC01, 0x958, 0x915, 0x93C, 0xFB01, 0x1E9B, 0x2ADC, 0x110A5, 0x110BA, 0x1D15E, 0x6C1];
        Random random = new(seed);
        string text = string.Concat(Enumerable.Range(0, random.Next(12)).Select(_ => char.ConvertFromUtf32(alphabet[random.Next(alphabet.Length)])));
        foreach (NormalizationForm form in new[] { NormalizationForm.FormC, NormalizationForm.FormD, NormalizationForm.FormKC, NormalizationForm.FormKD })
        {
            string once = NormalizationForms.Normalize(text, form);
            Assert.Equal(once, NormalizationForms.Normalize(once, form));
        }

        string composed = NormalizationForms.Normalize(text, NormalizationForm.FormC);
        Assert.Equal(NormalizationForms.Normalize(text, NormalizationForm.FormD), NormalizationForms.Normalize(composed, NormalizationForm.FormD));
    }

    [Fact]
    public void A_map_of_characters_that_does_not_fit_is_an_error()
    {
        foreach (byte[] bytes in new byte[][] { [], [1, 0, 0], [4, 0, 0, 0], [255, 255, 255, 255, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0, 0, 0] })
        {
            Assert.Throws<FormatException>(() => new Charsmap(bytes));
        }
    }

    [Fact]
    public void A_map_of_random_bytes_does_no_harm()
    {
        Random random = new(1);
        for (int trial = 0; trial < 2000; trial++)
        {
            byte[] bytes = new byte[4 + (4 * 64) + 20];
            random.NextBytes(bytes);
            BitConverter.TryWriteBytes(bytes, 4 * 64);
            Charsmap map = new(bytes);
            map.NormalizeLongest("abcdefé中😀");
            map.NormalizeGraphemes("abcdefé中😀e\u0301\u0301\u0301");
        }
    }

    private static string Text(string codePoints) => string.Concat(codePoints.Split(' ').Select(c => char.ConvertFromUtf32(int.Parse(c, NumberStyles.HexNumber, CultureInfo.InvariantCulture))));
}
