namespace QuantBuild.Core.Tests;

public class QuantizationOverrideTests
{
    private static readonly DecoderConfig Config = DecoderConfig.Parse(File.ReadAllText(Path.Combine(TestFiles.SampleModel, "config.json")), "config.json");

    [Theory]
    [InlineData("down_proj", "model.layers.0.mlp.down_proj", true)]
    [InlineData("down_proj", "model.layers.0.mlp.up_proj", false)]
    [InlineData("proj", "model.layers.0.mlp.up_proj", false)]
    [InlineData("layers.0", "model.layers.0.mlp.up_proj", true)]
    [InlineData("layers.0", "model.layers.10.mlp.up_proj", false)]
    [InlineData("layers.0.mlp", "model.layers.0.mlp.up_proj", true)]
    [InlineData("layers.0.mlp", "model.layers.0.self_attn.q_proj", false)]
    [InlineData("layers.mlp", "model.layers.0.mlp.up_proj", false)]
    [InlineData("layers.0-3", "model.layers.3.mlp.up_proj", true)]
    [InlineData("layers.0-3", "model.layers.4.mlp.up_proj", false)]
    [InlineData("layers.9-12", "model.layers.10.mlp.up_proj", true)]
    [InlineData("[qk]_proj", "model.layers.0.self_attn.q_proj", false)]
    [InlineData("*_proj", "model.layers.0.self_attn.q_proj", true)]
    [InlineData("*", "model.layers.0.self_attn.q_proj", true)]
    [InlineData("*_p*oj", "model.layers.0.self_attn.q_proj", true)]
    [InlineData("q*q_proj", "model.layers.0.self_attn.q_proj", false)]
    [InlineData("self*.q_proj", "model.layers.0.self_attn.q_proj", true)]
    [InlineData("model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.q_proj", true)]
    [InlineData("model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.q_proj", false)]
    [InlineData("lm_head", "lm_head", true)]
    [InlineData("embed_tokens", "model.embed_tokens", true)]
    [InlineData("model.embed_tokens", "model.embed_tokens", true)]
    [InlineData("*", "lm_head", false)]
    [InlineData("model", "model.embed_tokens", false)]
    [InlineData("lm_*", "lm_head", false)]
    public void A_pattern_matches_segments_of_a_name_next_to_each_other(string pattern, string name, bool matches) =>
        Assert.Equal(matches, Assert.Single(QuantizationOverride.ReadAll($"{pattern}: Float")).Matches(name));

    [Theory]
    [InlineData(" down_proj :  bits=8 ;", "down_proj: Bits=8")]
    [InlineData("a: groupsize=perchannel, BITS=08", "a: Bits=8 GroupSize=-1")]
    [InlineData("a: GroupSize=-1 Bits=8 Method=gptq", "a: Method=Gptq Bits=8 GroupSize=-1")]
    [InlineData("a: float;\n b: Method=FLOAT", "a: Float; b: Float")]
    [InlineData("a: BlockSize=0128", "a: BlockSize=128")]
    [InlineData("", "")]
    [InlineData(" ; ", "")]
    public void All_ways_to_write_the_same_have_one_text(string text, string canonical)
    {
        Assert.Equal(canonical, QuantizationOverride.Canonical(text));
        Assert.Equal(canonical, QuantizationOverride.Canonical(canonical));
        Assert.Equal(Read(("Override", text)), Read(("Override", canonical)));
    }

    [Theory]
    [InlineData("down_proj", "QB0006", "a pattern, a colon, and settings")]
    [InlineData("down_proj:", "QB0006", "a pattern, a colon, and settings")]
    [InlineData(": Bits=8", "QB0006", "a pattern, a colon, and settings")]
    [InlineData("layers..0: Bits=8", "QB0006", "a pattern, a colon, and settings")]
    [InlineData("a: Bits", "QB0006", "Bits=…")]
    [InlineData("a: Bits=", "QB0006", "Bits=…")]
    [InlineData("a: Bits=8 bits=4", "QB0006", "once")]
    [InlineData("a: Symmetric=true", "QB0006", "\"Symmetric\" is none of Method, Bits, GroupSize, BlockSize")]
    [InlineData("a: Float Bits=8", "QB0006", "Float has no settings")]
    [InlineData("a: Bits=5", "QB0002", "Bits=\"5\"")]
    [InlineData("a: Method=Gguf", "QB0001", "Gguf")]
    [InlineData("a: GroupSize=100", "QB0003", "GroupSize=\"100\"")]
    [InlineData("a: BlockSize=100", "QB0006", "BlockSize=\"100\"")]
    [InlineData("a: Method=Nf4 Bits=8", "QB0002", "which has 4 bits")]
    [InlineData("a: Method=Nf4 GroupSize=128", "QB0003", "Set BlockSize")]
    public void What_cannot_be_read_is_named(string text, string id, string said) =>
        ErrorAssert.Throws(id, () => Read(("Override", text)), said);

    [Fact]
    public void The_last_override_that_matches_decides_and_what_it_leaves_open_stays()
    {
        QuantizationSpec spec = Read(("Bits", "3"), ("GroupSize", "32"), ("Override", "mlp: Bits=8; down_proj: GroupSize=64; layers.1: Float; layers.1.mlp.up_proj: Method=Rtn"));
        QuantizationSpec none = spec with { Override = "" };
        Assert.Equal(none, spec.For("model.layers.0.self_attn.q_proj"));
        Assert.Equal(none with { Bits = 8 }, spec.For("model.layers.0.mlp.gate_proj"));
        Assert.Equal(none with { Bits = 8, GroupSize = 64 }, spec.For("model.layers.0.mlp.down_proj"));
        Assert.Null(spec.For("model.layers.1.mlp.down_proj"));
        Assert.Equal(none with { Bits = 8, Method = QuantizationMethod.Rtn }, spec.For("model.layers.1.mlp.up_proj"));
        Assert.Null(spec.For("lm_head"));
        Assert.Null(spec.For("model.embed_tokens"));
    }

    [Fact]
    public void A_method_in_between_changes_no_setting_that_it_does_not_read()
    {
        QuantizationSpec spec = Read(("Bits", "3"), ("GroupSize", "32"), ("Override", "mlp: Method=Nf4 BlockSize=256; down_proj: Method=Rtn; up_proj: Method=Int8"));
        QuantizationSpec down = spec.For("model.layers.0.mlp.down_proj")!;
        Assert.Equal((QuantizationMethod.Rtn, 3, 32), (down.Method, down.Bits, down.GroupSize));
        QuantizationSpec gate = spec.For("model.layers.0.mlp.gate_proj")!;
        Assert.Equal((QuantizationMethod.Nf4, 4, 256), (gate.Method, gate.Bits, gate.BlockSize));
        Assert.Equal((QuantizationMethod.Int8, 8), (spec.For("model.layers.0.mlp.up_proj")!.Method, spec.For("model.layers.0.mlp.up_proj")!.Bits));
    }

    [Fact]
    public void An_override_that_has_no_meaning_for_the_models_method_is_an_error()
    {
        QuantizationSpec nf4 = Read(("Method", "Nf4"), ("Override", "down_proj: BlockSize=128"));
        Assert.Equal(128, nf4.For("model.layers.0.mlp.down_proj")!.BlockSize);
        ErrorAssert.Throws("QB0002", () => new QuantizationPlan(Config, Read(("Method", "Nf4"), ("Override", "down_proj: Bits=8"))).Check(), "Nf4");
        ErrorAssert.Throws("QB0006", () => new QuantizationPlan(Config, Read(("Override", "down_proj: BlockSize=128"))).Check(), "Set GroupSize");
    }

    [Fact]
    public void What_the_methods_of_overrides_read_is_part_of_the_specification()
    {
        QuantizationSpec spec = Read(("Method", "Rtn"), ("Symmetric", "true"), ("Damping", "0.5"), ("DoubleQuantization", "false"), ("OutlierThreshold", "0"),
            ("Override", "q_proj: Method=Gptq; k_proj: Method=Nf4; v_proj: Method=Int8"));
        Assert.Equal(spec, Read([.. spec.ToMetadata().Select(e => (e.Key, e.Value))]));
        Assert.True(spec.NeedsCalibration);
        Assert.False(Read(("Method", "Rtn"), ("Override", "q_proj: Bits=8")).NeedsCalibration);

        QuantizationSpec nf4 = Read(("Method", "Nf4"), ("Symmetric", "true"), ("Override", "q_proj: Method=Rtn"));
        Assert.Equal(nf4, Read([.. nf4.ToMetadata().Select(e => (e.Key, e.Value))]));
        Assert.True(nf4.For("model.layers.0.self_attn.q_proj")!.Symmetric);
    }

    [Fact]
    public void A_plan_has_the_head_and_the_embedding_on_request_alone()
    {
        QuantizationPlan plain = Plan("");
        Assert.Equal(42, plain.Quantized.Count());
        QuantizationPlan both = Plan("lm_head: Bits=8; embed_tokens: Bits=8; layers.0: Float");
        Assert.Equal(42 - 7 + 2, both.Quantized.Count());
        Assert.Equal((QuantizationMethod.Gptq, 8), (both[Config.Head]!.Method, both[Config.Head]!.Bits));
        // Rows are looked up: nothing to calibrate on.
        Assert.Equal((QuantizationMethod.Rtn, 8), (both[Config.Embedding]!.Method, both[Config.Embedding]!.Bits));
    }

    [Fact]
    public void A_tied_embedding_has_one_entry_whichever_name_asks_for_it()
    {
        DecoderConfig tied = Config with { TieWordEmbeddings = true };
        foreach (string text in new[] { "lm_head: Bits=8", "embed_tokens: Bits=8", "embed_tokens: Bits=4; lm_head: Bits=8" })
        {
            QuantizationPlan plan = new(tied, Read(("Override", text)));
            plan.Check();
            Assert.Equal(8, plan[tied.Head]!.Bits);
            Assert.Same(plan[tied.Embedding], plan[tied.Head]);
            Assert.Equal(43, plan.Quantized.Count());
        }
    }

    [Theory]
    [InlineData("layers.6: Float", "QB0006", "matches no layer")]
    [InlineData("mlp.q_proj: Bits=8", "QB0006", "model.layers.0.self_attn.q_proj")]
    [InlineData("down_proj: GroupSize=80", "QB0007", "model.layers.0.mlp.down_proj")]
    [InlineData("lm_head: GroupSize=80", "QB0007", "lm_head")]
    public void A_plan_says_which_override_fits_nothing(string text, string id, string said) => ErrorAssert.Throws(id, () => Plan(text).Check(), said);

    [Fact]
    public void A_group_size_that_no_linear_has_after_all_is_no_error() =>
        new QuantizationPlan(Config, Read(("GroupSize", "80"), ("Override", "*_proj: GroupSize=64"))).Check();

    [Fact]
    public void An_override_as_metadata_is_the_same_override()
    {
        string Of(params (string Name, string Value)[] metadata) =>
            QuantizationOverride.Canonical(QuantizationOverride.FromMetadata("down_proj", metadata.ToDictionary(m => m.Name, m => m.Value).GetValueOrDefault));
        Assert.Equal("down_proj: Method=Rtn Bits=8 GroupSize=-1", Of(("Bits", "8"), ("Method", "rtn"), ("GroupSize", "PerChannel")));
        Assert.Equal("down_proj: Float", Of(("Method", "Float")));
        ErrorAssert.Throws("QB0006", () => Of(("Team", "search")), "down_proj");
    }

    private static QuantizationPlan Plan(string overrides) => new(Config, Read(("Override", overrides)));

    private static QuantizationSpec Read(params (string Name, string Value)[] metadata) =>
        QuantizationSpec.FromMetadata(metadata.ToDictionary(m => m.Name, m => m.Value).GetValueOrDefault);
}
