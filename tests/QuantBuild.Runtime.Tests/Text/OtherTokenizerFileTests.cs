using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using QuantBuild.Quantization.Tests;
using QuantBuild.Text;

namespace QuantBuild.Runtime.Tests.Text;

/// <summary>Files of tokenizers that are not tokenizer.json: what they mean, and that damaged ones are errors.</summary>
public class OtherTokenizerFileTests
{
    private const int Gpt2Ranks = 50256;

    [Fact]
    public void A_tiktoken_file_gives_the_tokens_of_the_same_vocabulary_in_tokenizer_json()
    {
        byte[] json = Expectations.Definition("StarCoder", root => root["pre_tokenizer"] = new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false });
        TextTokenizer expected = TextTokenizer.Load(json, "tokenizer.json");
        TextTokenizer actual = TextTokenizer.Load(Encoding.ASCII.GetBytes(Tiktoken(json)), "vocabulary.tiktoken");
        foreach (string text in Expectations.Texts)
        {
            IReadOnlyList<int> ids = actual.Encode(text);
            Assert.Equal((text, string.Join(' ', expected.Encode(text))), (text, string.Join(' ', ids)));
            Assert.Equal(text, actual.Decode(ids));
        }

        Assert.Equal(Gpt2Ranks, Assert.Single(actual.Encode("<|endoftext|>")));
        Assert.Equal("", actual.Decode([Gpt2Ranks]));
    }

    [Fact]
    public void A_damaged_tiktoken_file_names_the_line()
    {
        string file = Tiktoken(Expectations.Definition("StarCoder"));
        string[] lines = file.Split('\n');
        AssertError("QB2026", Encoding.ASCII.GetBytes(string.Join('\n', lines.Take(1000))), "1000 tokens");
        AssertError("QB2026", Encoding.ASCII.GetBytes(file.Replace("\n" + lines[99] + "\n", "\n!!! 99\n")), "line 100 ");
        AssertError("QB2026", Encoding.ASCII.GetBytes(file.Replace("\n" + lines[99] + "\n", "\n" + lines[98] + "\n")), "line 100 ");
        AssertError("QB2026", Encoding.ASCII.GetBytes(file.Replace("\n" + lines[99] + "\n", "\n" + lines[99].Split(' ')[0] + " 99999999999\n")), "line 100 ");
        AssertError("QB2026", Encoding.ASCII.GetBytes(file.Replace("\n" + lines[99] + "\n", "\n" + Convert.ToBase64String(new byte[129]) + " 99\n")), "line 100 ");
    }

    [Fact]
    public void A_SentencePiece_tokenizer_in_a_GGUF_header_gives_the_tokens_of_its_tokenizer_model()
    {
        (List<string> tokens, List<float> scores, List<int> types) = ([], [], []);
        ProtobufReader model = new(Expectations.SentencePiece("BPE, byte fallback"));
        while (model.Next())
        {
            if (model.Field != 1) continue;
            types.Add(1);
            scores.Add(0);
            ProtobufReader piece = new(model.Bytes);
            while (piece.Next())
            {
                if (piece.Field == 1) tokens.Add(Encoding.UTF8.GetString(piece.Bytes));
                if (piece.Field == 2) scores[^1] = BitConverter.ToSingle(piece.Bytes);
                if (piece.Field == 3) types[^1] = (int)piece.Number;
            }
        }

        int pieces = tokens.Count;
        // As llama.cpp's converter writes added tokens, and rows that belong to none.
        tokens.AddRange(["two words", "[PAD0]"]);
        scores.AddRange([-1000, -10000]);
        types.AddRange([4, 5]);
        TextTokenizer expected = TextTokenizer.Load(Expectations.SentencePiece("BPE, byte fallback"), "tokenizer.model");
        TextTokenizer actual = Load(add: true);
        Assert.Equal(pieces + 2, actual.VocabularySize);
        foreach ((string text, _, string? decoded) in Expectations.OfSentencePiece("BPE, byte fallback"))
        {
            IReadOnlyList<int> ids = actual.Encode(text);
            Assert.Equal((text, string.Join(' ', expected.Encode(text))), (text, string.Join(' ', ids)));
            if (decoded is not null) Assert.Equal(decoded, actual.Decode(ids));
        }

        Assert.Equal(1, actual.Encode("x")[0]);
        Assert.NotEqual(1, Load(add: false).Encode("x")[0]);
        Assert.Contains(pieces, actual.Encode("these two words are one"));
        Assert.Equal("these two words are one", actual.Decode(actual.Encode("these two words are one")));

        TextTokenizer Load(bool add)
        {
            string path = Path.GetTempFileName() + ".gguf";
            new GgufWriter().Add("general.architecture", "llama").Add("llama.embedding_length", 32u).Add("llama.feed_forward_length", 64u).Add("llama.block_count", 1u)
                .Add("llama.attention.head_count", 2u).Add("llama.context_length", 128u).Add("tokenizer.ggml.model", "llama").Add("tokenizer.ggml.tokens", tokens.ToArray())
                .Add("tokenizer.ggml.scores", scores.ToArray()).Add("tokenizer.ggml.token_type", types.ToArray()).Add("tokenizer.ggml.bos_token_id", 1u)
                .Add("tokenizer.ggml.add_bos_token", add)
                .Add("token_embd.weight", GgufType.F16, [tokens.Count, 32], new byte[tokens.Count * 64]).Write(path);
            TextTokenizer tokenizer = TextTokenizer.Load(ModelFolder.Open(path).ReadTokenizer(), path);
            File.Delete(path);
            return tokenizer;
        }
    }

    [Theory]
    [InlineData("BPE, byte fallback")]
    [InlineData("Unigram, mapped")]
    public void A_damaged_tokenizer_model_is_an_error_or_another_tokenizer_and_nothing_else(string name)
    {
        byte[] model = Expectations.SentencePiece(name);
        Random random = new(1);
        int errors = 0;
        for (int trial = 0; trial < 600; trial++)
        {
            byte[] damaged = trial % 2 == 0 ? model[..random.Next(model.Length)] : [.. model];
            for (int i = random.Next(4); i >= 0 && damaged.Length > 0; i--) damaged[random.Next(damaged.Length)] = (byte)random.Next(256);
            try
            {
                TextTokenizer tokenizer = TextTokenizer.Load(damaged, "tokenizer.model");
                tokenizer.Decode(tokenizer.Encode("The quick ﬁ fox 1"));
            }
            catch (QuantBuildException e)
            {
                Assert.Contains(e.Id, new[] { "QB2009", "QB2025", "QB2027" });
                Assert.Contains("tokenizer.model", e.Message, StringComparison.Ordinal);
                errors++;
            }
        }

        Assert.InRange(errors, 200, 600);
    }

    [Fact]
    public void What_is_wrong_with_a_tokenizer_model_is_named()
    {
        byte[] piece = [0x0A, 3, 0x0A, 1, (byte)'a'];
        AssertError("QB2025", [.. piece, .. piece], "\"a\" twice");
        AssertError("QB2025", [.. piece, 0x0A, 2, 0x18, 1], "without text");
        AssertError("QB2025", [.. piece, 0x0A, 8, 0x0A, 1, (byte)'b', 0x15, 0, 0, 0xC0, 0x7F], "score");
        AssertError("QB2025", [.. piece, 0x0A, 100], "100 bytes begins where 0 are left");
        AssertError("QB2009", [.. piece, 0x12, 2, 0x18, 3], "type 3");
        AssertError("QB2009", [.. piece, 0x12, 3, 0xC0, 1, 1], "treat_whitespace_as_suffix");
        AssertError("QB2027", [.. piece, 0x1A, 5, 0x12, 3, 9, 9, 9], "charsmap");
    }

    [Fact]
    public void Control_tokens_are_recognized_in_the_text_and_left_out_of_it()
    {
        TextTokenizer tokenizer = TextTokenizer.Load(Expectations.SentencePiece("BPE, byte fallback"), "tokenizer.model");
        IReadOnlyList<int> ids = tokenizer.Encode("fox</s>", addSpecialTokens: false);
        Assert.Equal([.. tokenizer.Encode("fox", addSpecialTokens: false), 2], ids);
        Assert.Equal("fox", tokenizer.Decode(ids));
        Assert.Equal([1], tokenizer.Encode(""));
    }

    [Theory]
    [InlineData("""{"add_bos_token": false}""", new int[0], new int[0])]
    [InlineData("""{"add_bos_token": true, "add_eos_token": true, "eos_token": "</s>"}""", new[] { 1 }, new[] { 2 })]
    [InlineData("""{"add_eos_token": true}""", new[] { 1 }, new[] { 2 })]
    [InlineData("""{"add_bos_token": true, "bos_token": {"content": "</s>"}, "add_eos_token": false}""", new[] { 2 }, new int[0])]
    [InlineData("""{"add_bos_token": null, "add_eos_token": "yes"}""", new[] { 1 }, new int[0])]
    [InlineData("[]", new[] { 1 }, new int[0])]
    [InlineData("no JSON", new[] { 1 }, new int[0])]
    public void What_goes_around_a_text_of_SentencePiece_tokenizer_config_says(string config, int[] prefix, int[] suffix)
    {
        TextTokenizer tokenizer = TextTokenizer.Load(Expectations.SentencePiece("BPE, byte fallback"), "tokenizer.model", config);
        Assert.Equal([.. prefix, .. tokenizer.Encode("fox", addSpecialTokens: false), .. suffix], tokenizer.Encode("fox"));
    }

    [Fact]
    public void A_token_around_texts_that_the_tokenizer_does_not_have_is_an_error()
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(
            () => TextTokenizer.Load(Expectations.SentencePiece("BPE, byte fallback"), "tokenizer.model", """{"add_eos_token": true, "eos_token": "<end>"}"""));
        Assert.Equal("QB2009", error.Id);
        Assert.Contains("eos_token <end>", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Of_tokenizer_json_the_configuration_changes_nothing() =>
        Assert.Equal(
            TextTokenizer.Load(Sample.TokenizerJson, "t").Encode("fox"), TextTokenizer.Load(Sample.TokenizerJson, "t", """{"add_bos_token": false, "add_eos_token": true}""").Encode("fox"));

    [Fact]
    public void An_id_far_beyond_the_number_of_tokens_makes_no_table()
    {
        byte[] file = Encoding.UTF8.GetBytes("""{"model": {"type": "BPE", "vocab": {"a": 16000000}, "merges": []}, "decoder": {"type": "ByteLevel"}}""");
        // What is needed once is made.
        Assert.Throws<QuantBuildException>(() => TextTokenizer.Load(file, "t"));
        long before = GC.GetAllocatedBytesForCurrentThread();
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => TextTokenizer.Load(file, "t"));
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
        Assert.Equal("QB2009", error.Id);
        Assert.Contains("16000000", error.Message, StringComparison.Ordinal);
    }

    private static void AssertError(string id, byte[] file, string named)
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => TextTokenizer.Load(file, "folder/file"));
        Assert.Equal(id, error.Id);
        Assert.Contains(named, error.Message, StringComparison.Ordinal);
        Assert.Contains("folder/file", error.Message, StringComparison.Ordinal);
    }

    /// <summary>The vocabulary of a byte-level tokenizer.json as tiktoken has it, filled up to GPT-2's number with tokens that no text has.</summary>
    private static string Tiktoken(byte[] tokenizerJson)
    {
        StringBuilder file = new();
        JsonObject vocabulary = JsonNode.Parse(tokenizerJson)!["model"]!["vocab"]!.AsObject();
        foreach ((string token, JsonNode? id) in vocabulary) Add(QuantBuild.Text.ByteAlphabet.Decode(token), id!.GetValue<int>());
        for (int rank = vocabulary.Count; rank < Gpt2Ranks; rank++) Add([0xFF, 0xFF, 0xFF, .. BitConverter.GetBytes(rank)], rank);
        return file.ToString();

        void Add(byte[] bytes, int rank) => file.Append(CultureInfo.InvariantCulture, $"{Convert.ToBase64String(bytes)} {rank}\n");
    }
}
