#!/usr/bin/env sh
# Compiles the kernels to the PTX that the assembly embeds: for compute capability 7.5, which newer devices run too, and where 8.0 or 9.0 have better instructions, for those as well.
# clang 14, with no CUDA toolkit; compressed, since they ship. A test compiles them anew and compares.
# usage: compile.sh [folder]
set -eu
cd "$(dirname "$0")"
out=${1:-ptx}
clang=${CLANG:-$(command -v clang-14 || command -v /usr/lib/llvm-14/bin/clang || echo clang)}
mkdir -p "$out"

compile() # source, name, architecture, options
{
  # This compiler knows chips up to 8.7: for 9.0 it makes what it makes for 8.0, and what is new there is written as assembly.
  target=$3; version=7.0
  if [ "$3" = sm_90 ]; then target=sm_80; version=7.8; fi
  "$clang" -x cuda --cuda-device-only --cuda-gpu-arch="$target" -Xclang -target-feature -Xclang +ptx70 -nocudainc -nocudalib \
    -std=c++17 -O3 -Wall -Werror -S "-DCAPABILITY=${3#sm_}" $4 -o "$out/$2.s" "$1"
  grep -v '^ *//' "$out/$2.s" | sed 's/[[:space:]]*\/\/.*$//; s/^\t//' | grep -v '^[[:space:]]*$' |
    sed "s/^\.version .*/.version $version/; s/^\.target .*/.target $3/" | gzip -9n > "$out/$2.ptx.gz"
  rm "$out/$2.s"
}

for format in INT2 INT3 INT4 INT8 CODEBOOK4 INT8ROW; do
  name=$(echo "$format" | tr '[:upper:]' '[:lower:]')
  for capability in 75 80; do
    compile linear.cu "linear-$name.$capability" sm_$capability "-DFORMAT=$format" & other=$!
    compile matrix.cu "matrix-$name.$capability" sm_$capability "-DFORMAT=$format"
    wait $other
  done
  compile linear.cu "linear-$name.90" sm_90 "-DFORMAT=$format"
done
for capability in 75 80; do compile prompt.cu "prompt.$capability" sm_$capability ""; done
compile floats.cu floats sm_75 ""
compile floats.cu floats.90 sm_90 ""
compile decoder.cu decoder sm_75 ""
compile decoder.cu decoder.90 sm_90 ""
compile attention.cu attention sm_75 ""
compile attention.cu attention.90 sm_90 ""
compile experts.cu experts sm_75 ""
compile experts.cu experts.90 sm_90 ""
compile sampling.cu sampling sm_75 ""
