// Makes tokenizers.json in this folder: a small tokenizer of every kind, and what the tokenizers library makes of texts with it.
//
// Usage: npm install tokenizers@0.23.2 in some folder, then NODE_PATH=that folder/node_modules node make_expectations.cjs
// The charsmap is that of make_sentencepiece.py beside this file. Everything is seeded: the same versions make the same file.
const fs = require('fs'), path = require('path');
const { Tokenizer } = require('tokenizers');

const corpus = [
  "The quick brown fox jumps over the lazy dog. The dog didn't mind; it's used to it, and the fox wasn't there for long.",
  "for (int i = 0; i < count; i++) { total += values[i] * 0x1F; }  // twelve 123456789\n\treturn total;\r\n",
  "Привет, мир! Быстрая лисица прыгает через ленивую собаку. Собака не против.",
  "敏捷的棕色狐狸跳过了懒狗。狐狸很快。速い茶色の狐がのろまな犬を飛び越える。ひらがな、カタカナ。",
  "빠른 갈색 여우가 게으른 개를 뛰어넘는다. 여우는 빠르다. مرحبا بالعالم १२३ नमस्ते दुनिया",
  "Zażółć gęślą jaźń, naïve café, e\u0301te\u0301, Ångström, ﬁne ﬂow ½ ² Ⅷ ①. 😀 👨‍👩‍👧 🇩🇪 ✓ → ∑ € £100,000.00",
].map((line) => line.repeat(3));

const texts = [
  "", " ", "  ", "\n", "\t\r\n", "a", "Hello world", " Hello  world ", "The dog didn't see HE'LL they'Re 's I'M ’s 'ſ", "for (int i = 0; i < n; i++)\n{\n\t\tx += a[i];\n}\n\n\n",
  "1 12 123 1234 12345 1,000.00 ٣٫١٤ ½²Ⅷ", "Привет, лисица!", "狐狸很快123ひらがなカタカナ漢字", "여우가 مرحبا नमस्ते ไทย", "naïve cafe\u0301 e\u0301\u0316 a\u0316\u0301 \u1100\u1161\u11a8 Å Å ﬁ ﬂ İSTANBUL Straße ß ẞ ΑΣ",
  "😀😃 👨‍👩‍👧 🇩🇪🇫🇷 ✓→ 𝒜𝒷 𐌰𐌱 🉐", "\u0000\u0001\u007f\u0085\u00a0\u200b\u200d\u2028\u3000\ufeff\ufffd", "▁▁ ▁a ▁ b▁", "<s>fox</s> <unk> [CLS]dog[SEP] <0x41> ##ing", "one  <mask>  two <mask>x <sep> WORD SWORDS WORD. ÀB àb Àb",
  "camelCaseString HTMLParser getURLFor iPhone15Pro v2.0.1 FOO_BAR /usr/bin//x", "...a?!b--c—d…e “f” ‘g’ «h» $5 +6 <7 =8 ^9 `0 |1 ~2", " a  b   c    d\n e\n\n f \n g\r\n\r\nh   ", "x".repeat(150), "ab".repeat(60), " ".repeat(40), "😀".repeat(20), "unaffable unfoxing thedogs lazylazydog",
];
let seed = 12345;
const random = (n) => { seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff; return (seed >> 8) % n; };
const parts = ["a", "B", "'", "s", "the", "ing", "fox", " ", "  ", "\n", "\r", "\t", "1", "23", ".", "-", "é", "ß", "中", "狐", "か", "😀", "𝒜", "𝟘", "\u0301", "▁", "/", "_", "İ", "ा", "가", "\u200d", "<s>", "<mask>", "WORD", "'re", "LL", "\u3000", "\u00a0", ",", "ﬁ", "Ａ", "①", "dog"];
for (let i = 0; i < 60; i++) texts.push(Array.from({ length: 1 + random(30) }, () => parts[random(parts.length)]).join(""));

// The byte alphabet of GPT-2.
const printable = (b) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174);
const letters = []; let extra = 256; for (let b = 0; b < 256; b++) letters.push(String.fromCharCode(printable(b) ? b : extra++));
const toBytes = (text) => [...Buffer.from(text, 'utf8')].map((b) => letters[b]).join("");
const byteTokens = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`);

// Merges the most frequent pair again and again; of equally frequent ones the first in order.
function trainBpe(words, base, count, { inner = "", suffix = "" } = {}) {
  const vocab = new Map(); const add = (t) => { if (!vocab.has(t)) vocab.set(t, vocab.size); };
  base.forEach(add);
  const split = words.map((w) => [...w].map((c, i, all) => (i > 0 ? inner : "") + c + (i === all.length - 1 ? suffix : "")));
  split.flat().sort().forEach(add);
  const merges = [];
  while (merges.length < count) {
    const pairs = new Map();
    for (const w of split) for (let i = 0; i + 1 < w.length; i++) { const k = w[i] + " " + w[i + 1]; pairs.set(k, (pairs.get(k) ?? 0) + 1); }
    const best = [...pairs].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0];
    if (!best || best[1] < 2) break;
    const [l, r] = best[0].split(" "); const merged = l + r.slice(inner && r.startsWith(inner) ? inner.length : 0);
    merges.push(best[0]); add(merged);
    for (const w of split) for (let i = 0; i + 1 < w.length; i++) if (w[i] === l && w[i + 1] === r) w.splice(i, 2, merged);
  }
  return { vocab: Object.fromEntries(vocab), merges };
}
function trainPieces(words, longest, least) {
  const counts = new Map();
  for (const w of words) { const c = [...w]; for (let i = 0; i < c.length; i++) for (let n = 1; n <= longest && i + n <= c.length; n++) { const t = c.slice(i, i + n).join(""); counts.set(t, (counts.get(t) ?? 0) + 1); } }
  return [...counts].filter(([t, n]) => n >= least || [...t].length === 1).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}
const gptWords = corpus.flatMap((l) => l.match(/ ?\p{L}+| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+/gu)).map(toBytes);
const spmWords = corpus.flatMap((l) => ("▁" + l.replaceAll(" ", "▁")).match(/▁*[^▁]*/g)).filter(Boolean);
const plainWords = corpus.flatMap((l) => l.toLowerCase().split(/\s+|(?=\p{P})|(?<=\p{P})/u)).filter(Boolean);
const byteBpe = trainBpe(gptWords, letters, 300);
const spmBpe = trainBpe(spmWords, ["<unk>", "<s>", "</s>", ...byteTokens], 300);
const unigram = trainPieces(spmWords, 6, 4).slice(0, 700).map(([t, n]) => [t, Math.fround(Math.log(n / 6000))]);
const wordPieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ...new Set(trainPieces(plainWords, 5, 5).slice(0, 500).flatMap(([t]) => [t, "##" + t]))];
const charsmap = fs.readFileSync(path.join(__dirname, "charsmap.txt"), "utf8").trim();

const token = (id, content, flags = {}) => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true, ...flags });
const llama3 = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const split = (regex, behavior = "Isolated", invert = false) => ({ type: "Split", pattern: { Regex: regex }, behavior, invert });
const byteLevel = (flags = {}) => ({ type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false, ...flags });
const sequence = (list, ...steps) => ({ type: "Sequence", [list]: steps });
const metaspace = (prepend_scheme, split = true) => ({ type: "Metaspace", replacement: "▁", prepend_scheme, split });
const bpe = (model, options = {}) => ({ type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, ignore_merges: false, ...model, ...options });
const template = (before, after, ids) => ({
  type: "TemplateProcessing", single: [...before.map((id) => ({ SpecialToken: { id, type_id: 0 } })), { Sequence: { id: "A", type_id: 0 } }, ...after.map((id) => ({ SpecialToken: { id, type_id: 0 } }))],
  pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }], special_tokens: Object.fromEntries(Object.entries(ids).map(([k, v]) => [k, { id: k, ids: [v], tokens: [k] }])),
});
const spmDecoder = sequence("decoders", { type: "Replace", pattern: { String: "▁" }, content: " " }, { type: "ByteFallback" }, { type: "Fuse" }, { type: "Strip", content: " ", start: 1, stop: 0 });
const spmTokens = [token(0, "<unk>"), token(1, "<s>"), token(2, "</s>")];
const nb = Object.keys(byteBpe.vocab).length;
const flagged = [token(nb, "<s>"), token(nb + 1, "</s>"), token(nb + 2, "<mask>", { lstrip: true }), token(nb + 3, "<sep>", { rstrip: true, special: false }), token(nb + 4, "WORD", { single_word: true, special: false }), token(nb + 5, "àb", { normalized: true, special: false })];
const make = (parts) => ({ version: "1.0", truncation: null, padding: null, added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, ...parts });
const ns = Object.keys(spmBpe.vocab).length;

const kinds = {
  "GPT-2 (RoBERTa)": make({ model: bpe(byteBpe), added_tokens: flagged, pre_tokenizer: byteLevel({ add_prefix_space: true, use_regex: true }), decoder: byteLevel(), post_processor: { type: "RobertaProcessing", sep: ["</s>", nb + 1], cls: ["<s>", nb], trim_offsets: true, add_prefix_space: true } }),
  "Llama 3": make({ model: bpe(byteBpe, { ignore_merges: true }), added_tokens: flagged, pre_tokenizer: sequence("pretokenizers", split(llama3), byteLevel()), decoder: byteLevel(), post_processor: sequence("processors", byteLevel(), template(["<s>"], [], { "<s>": nb })) }),
  "Qwen 2": make({ model: bpe(byteBpe, { continuing_subword_prefix: "", end_of_word_suffix: "" }), added_tokens: flagged, normalizer: { type: "NFC" }, pre_tokenizer: sequence("pretokenizers", split(llama3.replace("{1,3}", "")), byteLevel()), decoder: byteLevel(), post_processor: byteLevel() }),
  "DeepSeek V3": make({ model: bpe(byteBpe), added_tokens: flagged, normalizer: sequence("normalizers"), pre_tokenizer: sequence("pretokenizers", split("\\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"), byteLevel()), decoder: byteLevel() }),
  "GPT-4o": make({ model: bpe(byteBpe, { ignore_merges: true }), pre_tokenizer: sequence("pretokenizers", split("[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"), byteLevel()), decoder: byteLevel() }),
  "Possessive (GPT-4)": make({ model: bpe(byteBpe), pre_tokenizer: sequence("pretokenizers", split("'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s"), byteLevel()), decoder: byteLevel() }),
  "Kimi (intersections, Han)": make({ model: bpe(byteBpe), pre_tokenizer: sequence("pretokenizers", split("[\\p{Han}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"), byteLevel()), decoder: byteLevel() }),
  "Falcon": make({ model: bpe(byteBpe), pre_tokenizer: sequence("pretokenizers", { type: "Punctuation", behavior: "Contiguous" }, byteLevel({ use_regex: true }), { type: "Digits", individual_digits: false }, split("[0-9][0-9][0-9]")), decoder: byteLevel() }),
  "StarCoder": make({ model: bpe(byteBpe), pre_tokenizer: sequence("pretokenizers", { type: "Digits", individual_digits: true }, byteLevel({ use_regex: true })), decoder: byteLevel(), post_processor: byteLevel() }),
  "Byte-level normalizer": make({ model: bpe(byteBpe), normalizer: sequence("normalizers", { type: "NFKC" }, { type: "ByteLevel" }), pre_tokenizer: split("Ġ", "MergedWithNext"), decoder: byteLevel() }),
  "Llama 2": make({ model: bpe(spmBpe, { unk_token: "<unk>", fuse_unk: true, byte_fallback: true }), added_tokens: spmTokens, normalizer: sequence("normalizers", { type: "Prepend", prepend: "▁" }, { type: "Replace", pattern: { String: " " }, content: "▁" }), decoder: spmDecoder, post_processor: template(["<s>"], [], { "<s>": 1 }) }),
  "Gemma": make({ model: bpe(spmBpe, { unk_token: "<unk>", fuse_unk: true, byte_fallback: true }), added_tokens: [...spmTokens, token(ns, "▁▁▁", { special: false }), token(ns + 1, "\n\n", { special: false })], normalizer: { type: "Replace", pattern: { String: " " }, content: "▁" }, pre_tokenizer: { type: "Split", pattern: { String: " " }, behavior: "MergedWithPrevious", invert: false }, decoder: sequence("decoders", ...spmDecoder.decoders.slice(0, 3)), post_processor: template(["<s>"], [], { "<s>": 1 }) }),
  "Mistral (Metaspace first)": make({ model: bpe(spmBpe, { unk_token: "<unk>", fuse_unk: true, byte_fallback: true }), added_tokens: [...spmTokens, token(ns, "<mask>", { lstrip: true, normalized: true })], pre_tokenizer: metaspace("first", false), decoder: spmDecoder, post_processor: template(["<s>"], ["</s>"], { "<s>": 1, "</s>": 2 }) }),
  "Unknown tokens, not fused": make({ model: bpe(spmBpe, { unk_token: "<unk>" }), added_tokens: spmTokens, pre_tokenizer: metaspace("always"), decoder: metaspace("always") }),
  "T5": make({ model: { type: "Unigram", unk_id: 0, byte_fallback: false, vocab: [["<unk>", 0], ["<s>", 0], ["</s>", 0], ...unigram] }, added_tokens: spmTokens, normalizer: { type: "Precompiled", precompiled_charsmap: charsmap }, pre_tokenizer: sequence("pretokenizers", { type: "WhitespaceSplit" }, metaspace("always")), decoder: metaspace("always"), post_processor: template([], ["</s>"], { "</s>": 2 }) }),
  "XLM-R": make({ model: { type: "Unigram", unk_id: 2, byte_fallback: false, vocab: [["<s>", 0], ["</s>", 0], ["<unk>", 0], ...unigram] }, added_tokens: [token(0, "<s>"), token(1, "</s>"), token(2, "<unk>"), token(unigram.length + 3, "<mask>", { lstrip: true })], normalizer: sequence("normalizers", { type: "Nmt" }, { type: "NFKC" }, { type: "Replace", pattern: { Regex: " {2,}" }, content: " " }), pre_tokenizer: metaspace("always"), decoder: metaspace("always"), post_processor: template(["<s>"], ["</s>"], { "<s>": 0, "</s>": 1 }) }),
  "Unigram with byte fallback": make({ model: { type: "Unigram", unk_id: 0, byte_fallback: true, vocab: [["<unk>", 0], ["<s>", 0], ["</s>", 0], ...byteTokens.map((t) => [t, 0]), ...unigram] }, added_tokens: spmTokens, normalizer: sequence("normalizers", { type: "Replace", pattern: { String: " " }, content: "▁" }), decoder: spmDecoder }),
  "BERT": make({ model: { type: "WordPiece", unk_token: "[UNK]", continuing_subword_prefix: "##", max_input_chars_per_word: 100, vocab: Object.fromEntries(wordPieces.map((t, i) => [t, i])) }, added_tokens: [token(0, "[PAD]"), token(1, "[UNK]"), token(2, "[CLS]"), token(3, "[SEP]")], normalizer: { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true }, pre_tokenizer: { type: "BertPreTokenizer" }, decoder: { type: "WordPiece", prefix: "##", cleanup: true }, post_processor: { type: "BertProcessing", sep: ["[SEP]", 3], cls: ["[CLS]", 2] } }),
  "BERT, cased, other normalizers": make({ model: { type: "WordPiece", unk_token: "[UNK]", continuing_subword_prefix: "##", max_input_chars_per_word: 20, vocab: Object.fromEntries(wordPieces.map((t, i) => [t, i])) }, added_tokens: [token(1, "[UNK]")], normalizer: sequence("normalizers", { type: "Strip", strip_left: true, strip_right: false }, sequence("normalizers", { type: "NFKD" }, { type: "StripAccents" }), { type: "Lowercase" }, { type: "Replace", pattern: { Regex: "\\d+" }, content: "0" }), pre_tokenizer: sequence("pretokenizers", { type: "Whitespace" }, { type: "CharDelimiterSplit", delimiter: "o" }), decoder: { type: "WordPiece", prefix: "##", cleanup: false } }),
  "Splits of all behaviors": make({ model: { type: "WordPiece", unk_token: "[UNK]", continuing_subword_prefix: "##", max_input_chars_per_word: 100, vocab: Object.fromEntries(wordPieces.map((t, i) => [t, i])) }, added_tokens: [token(1, "[UNK]")], normalizer: { type: "BertNormalizer", clean_text: false, handle_chinese_chars: false, strip_accents: true, lowercase: false }, pre_tokenizer: sequence("pretokenizers", split("\\p{Lu}", "MergedWithNext"), split("[.!?]", "MergedWithPrevious"), split("\\s+", "Removed"), split("\\p{L}|\\p{M}", "Contiguous"), split("[^0-9]+", "Isolated", true), split("-", "Contiguous", true)), decoder: { type: "Fuse" } }),
  "Inner prefix and end suffix": make({ model: bpe(trainBpe(plainWords, ["<unk>"], 200, { inner: "##", suffix: "</w>" }), { unk_token: "<unk>", fuse_unk: true, continuing_subword_prefix: "##", end_of_word_suffix: "</w>" }), added_tokens: [token(0, "<unk>")], normalizer: sequence("normalizers", { type: "NFD" }, { type: "Lowercase" }), pre_tokenizer: { type: "BertPreTokenizer" }, decoder: sequence("decoders", { type: "Replace", pattern: { String: "</w>" }, content: " " }, { type: "Replace", pattern: { String: "##" }, content: "" }, { type: "Fuse" }, { type: "Strip", content: " ", start: 0, stop: 1 }) }),
};

(async () => {
  const tokenizers = [];
  for (const [name, definition] of Object.entries(kinds)) {
    const tokenizer = Tokenizer.fromString(JSON.stringify(definition));
    const expected = [];
    for (const text of texts) {
      const ids = (await tokenizer.encode(text, null, { addSpecialTokens: true })).getIds();
      const bare = (await tokenizer.encode(text, null, { addSpecialTokens: false })).getIds();
      // The library's Strip does not survive an empty text.
      const visible = bare.some((id) => !definition.added_tokens.some((t) => t.id === id && t.special));
      expected.push([ids.join(" "), bare.join(" "), visible ? await tokenizer.decode(ids, true) : ""]);
    }
    tokenizers.push(JSON.stringify({ name, definition, expected }));
  }
  fs.writeFileSync(path.join(__dirname, "tokenizers.json"), `{"texts":${JSON.stringify(texts)},"tokenizers":[\n${tokenizers.join(",\n")}]}\n`);
})();
