"""Makes sentencepiece.json and charsmap.txt in this folder: small SentencePiece models of each type, and what SentencePiece makes of texts with them.

Usage: make_sentencepiece.py, with Debian's python3-sentencepiece (0.1.97). The texts are those of tokenizers.json, made by make_expectations.cjs, which needs charsmap.txt.
"""
import base64, json, pathlib, tempfile
import sentencepiece

here = pathlib.Path(__file__).parent
corpus = [
    "The quick brown fox jumps over the lazy dog. The dog didn't mind; it's used to it, and the fox wasn't there for long.",
    "for (int i = 0; i < count; i++) { total += values[i] * 0x1F; }  // twelve 123456789",
    "Привет, мир! Быстрая лисица прыгает через ленивую собаку. Собака не против.",
    "敏捷的棕色狐狸跳过了懒狗。狐狸很快。速い茶色の狐がのろまな犬を飛び越える。ひらがな、カタカナ。",
    "빠른 갈색 여우가 게으른 개를 뛰어넘는다. 여우는 빠르다. مرحبا بالعالم १२३ नमस्ते दुनिया",
    "Zażółć gęślą jaźń, naïve café, Ångström, fine flow 100,000.00",
] * 3
# Source and target code points: a small map in place of the library's of 240 KB.
rules = {"ﬁ": "fi", "ﬂ": "fl", "½": "1/2", "²": "2", "Å": "Å", "e\u0301": "é", "e\u0301\u0316": "é", "①": "1", "Ａ": "A", "\u3000": " ", "\t": " ", "\n": " ", "\r": "", "\u00a0": " ", "İ": "i\u0307", "👨‍👩‍👧": ":family:", "\u200d": "", "中": "in the middle"}
kinds = {
    "BPE, byte fallback": dict(model_type="bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True, vocab_size=600),
    "BPE, mapped, user-defined": dict(model_type="bpe", vocab_size=400, user_defined_symbols=["<sep>", "▁▁▁", "the dog"], bos_id=-1, character_coverage=0.98),
    "Unigram, mapped": dict(model_type="unigram", vocab_size=350, character_coverage=0.99),
    "Unigram, byte fallback, no prefix": dict(model_type="unigram", vocab_size=500, byte_fallback=True, add_dummy_prefix=False, user_defined_symbols=["<sep>", "▁▁▁"], character_coverage=0.98),
    "Unigram, all blanks kept": dict(model_type="unigram", vocab_size=350, remove_extra_whitespaces=False, normalization_rule_name="identity"),
}
texts = json.loads((here / "tokenizers.json").read_text())["texts"] if (here / "tokenizers.json").exists() else []
# What stands for control tokens is a token to QuantBuild, and text to SentencePiece.
texts = [t for t in texts if not any(s in t for s in ("<s>", "</s>", "<unk>"))]
with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    (folder / "corpus").write_text("\n".join(corpus))
    (folder / "rules").write_text("".join(f"{' '.join(f'{ord(c):X}' for c in k)}\t{' '.join(f'{ord(c):X}' for c in v)}\n" for k, v in rules.items()))
    models = []
    for name, options in kinds.items():
        if "normalization_rule_name" not in options:
            options["normalization_rule_tsv"] = str(folder / "rules")
        sentencepiece.SentencePieceTrainer.train(input=str(folder / "corpus"), model_prefix=str(folder / "m"), hard_vocab_limit=False, minloglevel=2, num_threads=1, **options)
        model = (folder / "m.model").read_bytes()
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        expected = []
        for text in texts:
            ids = processor.encode(text)
            # SentencePiece writes unknown tokens as a sign of its own.
            expected.append([" ".join(map(str, ids)), None if processor.unk_id() in ids else processor.decode(ids)])
        models.append({"name": name, "beginOfText": processor.bos_id(), "model": base64.b64encode(model).decode(), "expected": expected})
(here / "sentencepiece.json").write_text(json.dumps({"texts": texts, "models": models}, ensure_ascii=False) + "\n")

# The map of a model that has one: field 2 of the message in field 3.
def fields(data):
    i = 0
    def varint():
        nonlocal i
        value = shift = 0
        while True:
            value |= (data[i] & 127) << shift; shift += 7; i += 1
            if data[i - 1] < 128: return value
    while i < len(data):
        tag = varint()
        if tag & 7 == 2:
            n = varint(); yield tag >> 3, data[i:i + n]; i += n
        else:
            if tag & 7 == 0: varint()
            else: i += 4
model = base64.b64decode(models[2]["model"])
charsmap = next(v for k, v in fields(next(v for k, v in fields(model) if k == 3)) if k == 2)
(here / "charsmap.txt").write_text(base64.b64encode(charsmap).decode() + "\n")
