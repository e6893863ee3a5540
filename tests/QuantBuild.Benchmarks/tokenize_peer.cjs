// The side of "tokenize" that runs in node: seconds that the tokenizers library (npm: tokenizers, which is the Rust library; @huggingface/tokenizers, which is JavaScript) takes.
//
// node tokenize_peer.cjs <tokenizers | @huggingface/tokenizers> <tokenizer.json> <text file> <runs>
const fs = require("fs");

const [library, file, textFile, runs] = process.argv.slice(2);
const text = fs.readFileSync(textFile, "utf8");

(async () => {
  let encode;
  if (library === "tokenizers") {
    const tokenizer = require(library).Tokenizer.fromFile(file);
    encode = async (t) => (await tokenizer.encode(t)).getIds().length;
  } else {
    const tokenizer = new (require(library).Tokenizer)(JSON.parse(fs.readFileSync(file, "utf8")), {});
    encode = async (t) => tokenizer.encode(t).ids.length;
  }
  const seconds = [];
  let tokens = 0;
  for (let i = 0; i <= Number(runs); i++) {
    const start = process.hrtime.bigint();
    tokens = await encode(text);
    if (i > 0) seconds.push(Number(process.hrtime.bigint() - start) / 1e9);
  }
  seconds.sort((a, b) => a - b);
  console.log(`${tokens} ${seconds[seconds.length >> 1]}`);
})();
