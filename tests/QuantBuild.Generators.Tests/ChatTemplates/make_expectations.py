"""Writes what jinja2, set up as transformers does it, makes of each template and conversation: expected/<template>.json."""

import datetime
import json
import pathlib
import sys

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

NOW = datetime.datetime(2024, 7, 6, 9, 5, 3)
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


class Generation(jinja2.ext.Extension):
    """{% generation %} marks what the assistant writes, and writes nothing itself."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_write"), [], [], body).set_lineno(line)

    def _write(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env


def expectation(template, variables):
    try:
        return template.render(**{"tools": None, "documents": None, **TOKENS, **variables})
    except Exception:
        # A template may refuse a conversation, or stumble over it: both are errors.
        return None


def write(templates, conversations, expected):
    """For each template of a folder a file of the other."""
    expected.mkdir(exist_ok=True)
    for path in sorted(templates.glob("*.jinja")):
        with open(path, encoding="utf-8", newline="") as file:
            template = environment().from_string(file.read())
        texts = {name: expectation(template, variables) for name, variables in conversations.items()}
        with open(expected / (path.stem + ".json"), "w", encoding="utf-8", newline="\n") as file:
            json.dump(texts, file, ensure_ascii=False, indent=1)
            file.write("\n")


if __name__ == "__main__":
    folder = pathlib.Path(__file__).parent
    templates = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else folder / "templates"
    expected = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else folder / "expected"
    write(templates, json.loads((folder / "conversations.json").read_text(encoding="utf-8")), expected)
