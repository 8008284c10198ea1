/** Query blocks and key/value caches of a workbench, read back in plain order (assembly/layout.ts). */

import type { Workbench } from '../builds.ts';
import { BLOCK_TOKENS, type QuantizedHeads } from './attention-oracle.ts';

const MAX_POSITION = 601;
const KEY_ZERO_POINT = 64;

/** The table of positions up to 600, theta 10,000. */
export function rotaryTableOn(bench: Workbench, headDim: number): number {
  const half = headDim / 2;
  return bench.floats(
    Float32Array.from({ length: MAX_POSITION * headDim }, (_, i) => {
      const angle = Math.floor(i / headDim) * 10_000 ** ((-2 * (i % half)) / headDim);
      return i % headDim < half ? Math.cos(angle) : Math.sin(angle);
    }),
  ).at;
}

export function readQueries(bench: Workbench, queries: number, count: number, headDim: number): QuantizedHeads {
  const padded = Math.ceil(count / 4) * 4;
  const bytes = new Int8Array(bench.memory.buffer, queries, padded * headDim);
  const q = Int8Array.from({ length: count * headDim }, (_, i) => {
    const [query, d] = [Math.floor(i / headDim), i % headDim];
    return bytes[Math.floor(query / 4) * 4 * headDim + Math.floor(d / 4) * 16 + (query % 4) * 4 + (d % 4)]!;
  });
  return { q, scales: new Float32Array(bench.memory.buffer, queries + padded * headDim, count).slice() };
}

/** Pages for `tokens` tokens of two heads, the last page first in memory, and where they have the second head. */
export function pagesOn(bench: Workbench, tokens: number, headDim: number): Pages {
  const place = bench.kernels.blockBytes(headDim);
  const count = Math.ceil(tokens / BLOCK_TOKENS);
  const addresses = Array.from({ length: count }, () => bench.bytes(2 * place).at).reverse();
  return { place, table: bench.ints(addresses).at };
}

export interface Pages {
  readonly place: number;
  readonly table: number;
}

export function readCache(
  bench: Workbench,
  { place, table }: Pages,
  count: number,
  headDim: number,
): { keys: QuantizedHeads; values: QuantizedHeads } {
  const { buffer } = bench.memory;
  const pages = new Uint32Array(buffer, table, Math.ceil(count / BLOCK_TOKENS));
  const bytes = new Uint8Array(buffer);
  const [keys, values] = [new Int8Array(count * headDim), new Int8Array(count * headDim)];
  const [keyScales, valueScales] = [new Float32Array(count), new Float32Array(count)];
  for (let token = 0; token < count; token++) {
    const block = pages[Math.floor(token / BLOCK_TOKENS)]! + place;
    const lane = token % BLOCK_TOKENS;
    const tile = block + Math.floor(lane / 8) * 8 * headDim;
    const valuesOfBlock = block + BLOCK_TOKENS * headDim;
    for (let d = 0; d < headDim; d++) {
      keys[token * headDim + d] = bytes[tile + Math.floor(d / 4) * 32 + (lane % 8) * 4 + (d % 4)]! - KEY_ZERO_POINT;
      const value = valuesOfBlock + Math.floor(d / 8) * 256 + Math.floor(lane / 4) * 32 + (d % 8) * 4 + (lane % 4);
      values[token * headDim + d] = (bytes[value]! << 24) >> 24;
    }
    const scales = new Float32Array(buffer, block + 2 * BLOCK_TOKENS * headDim, 2 * BLOCK_TOKENS);
    keyScales[token] = scales[lane]!;
    valueScales[token] = scales[BLOCK_TOKENS + lane]!;
  }
  return { keys: { q: keys, scales: keyScales }, values: { q: values, scales: valueScales } };
}
