"""Makes UnicodeData.txt in this folder: what the normalization forms need, taken from the Unicode Character Database.

Usage: make_unicode_data.py FOLDER, which has UnicodeData.txt, CompositionExclusions.txt and DerivedAge.txt (Debian's package unicode-data).
"""
import pathlib
import sys

source = pathlib.Path(sys.argv[1])
excluded = {int(line.split("#")[0], 16) for line in (source / "CompositionExclusions.txt").read_text().splitlines() if line.split("#")[0].strip()}
version = (source / "DerivedAge.txt").read_text().splitlines()[0].split("-")[1].removesuffix(".txt")
classes, canonical, compatible = {}, {}, {}
for line in (source / "UnicodeData.txt").read_text().splitlines():
    fields = line.split(";")
    code, decomposition = int(fields[0], 16), fields[5].split()
    if fields[3] != "0":
        classes[code] = int(fields[3])
    if decomposition and decomposition[0].startswith("<"):
        compatible[code] = decomposition[1:]
    elif decomposition:
        canonical[code] = decomposition

out = [f"# From the Unicode Character Database {version}, (c) Unicode, Inc., under the Unicode License (unicode.org/license.txt).",
       "# C first last: combining class. D: canonical decomposition that composes again; X: one that does not; K: compatibility decomposition."]
runs = []
for code, number in sorted(classes.items()):
    if runs and runs[-1][1] == code - 1 and runs[-1][2] == number:
        runs[-1][1] = code
    else:
        runs.append([code, code, number])
out += [f"C {first:X} {last:X} {number}" for first, last, number in runs]
for code, parts in sorted(canonical.items()):
    # Singletons and those that begin with a mark, or are one, do not compose.
    composes = len(parts) == 2 and code not in excluded and code not in classes and int(parts[0], 16) not in classes
    out.append(f"{'D' if composes else 'X'} {code:X} {' '.join(parts)}")
out += [f"K {code:X} {' '.join(parts)}" for code, parts in sorted(compatible.items())]
(pathlib.Path(__file__).parent / "UnicodeData.txt").write_text("\n".join(out) + "\n")
