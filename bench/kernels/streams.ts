/**
 * Gigabytes a second that one core reads in WASM: a plain sum over 64 MB of memory as 1, 2 and 4 streams, and the 4-bit
 * product of all layers of `small` and `nano`, whose weights are read once for 1 to 8 rows. The sum is the bound of
 * a product that waits for its weights.
 *
 * Run: `npm run build:kernels`, then `node bench/kernels/streams.ts [rounds]` (Node 24 or later). Figures are CPU time,
 * with interleaved rounds.
 */

import * as asc from 'assemblyscript/asc';
import { parseConfig } from '../../src/denoiser/three-stream/config.ts';
import { instantiateBuild } from '../../src/denoiser/transformer/kernels.ts';
import { projectionWidths } from '../../src/denoiser/transformer/shape.ts';
import { benchModules, readModelJson } from '../engine.ts';
import { processorMsOf } from '../processor-time.ts';
import { median } from '../statistics.ts';
import { table } from '../table.ts';

const BYTES = 64 * 2 ** 20;
const PAGE_BYTES = 65_536;
const STREAMS = [1, 2, 4] as const;
const ROWS = [1, 2, 3, 4, 8] as const;
const MODELS = ['small', 'nano'] as const;
const ROUNDS = 15;
const WARM_UP_ROUNDS = 4;
/** Weights that fit the cache are read several times a sample. */
const SAMPLE_BYTES = 32e6;

export interface StreamRow {
  readonly what: string;
  /** CPU milliseconds, median and least. */
  readonly ms: number;
  readonly leastMs: number;
  /** From the median: 10⁹ bytes, and multiplications, a second. */
  readonly gigabytes: number;
  readonly gmacs: number | undefined;
}

interface Job {
  readonly what: string;
  readonly bytes: number;
  readonly macs?: number;
  readonly run: () => void;
  readonly samples: number[];
}

/** sum(from): of 64 MB as i32x4 of several streams side by side, 64 bytes of each at a time. */
function sumSource(streams: number): string {
  const each = Array.from({ length: streams }, (_, stream) => stream);
  const part = BYTES / streams;
  const adds = each.flatMap((stream) =>
    [0, 16, 32, 48].map((at) => `s${stream} = i32x4.add(s${stream}, v128.load(from + ${stream * part}, ${at}));`),
  );
  return `export function sum(from: usize): i32 {
    ${each.map((stream) => `let s${stream} = i32x4.splat(0);`).join('\n')}
    for (let end = from + ${part}; from < end; from += 64) { ${adds.join('\n')} }
    return ${each.map((stream) => `i32x4.extract_lane(s${stream}, 0)`).join(' + ')};
  }`;
}

async function sumJob(streams: number): Promise<Job> {
  const { binary, error } = await asc.compileString(sumSource(streams), {
    optimizeLevel: 2,
    runtime: 'stub',
    enable: ['simd'],
    importMemory: true,
    noExportMemory: true,
    initialMemory: 1,
  });
  if (error || !binary) throw error ?? new Error('asc gave no module');
  const memory = new WebAssembly.Memory({ initial: 1 + BYTES / PAGE_BYTES });
  // Pages that were never written may all be one page of zeros.
  new Uint8Array(memory.buffer).fill(1);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(binary as BufferSource), { env: { memory } });
  const sum = exports.sum as (from: number) => number;
  return { what: `sum, ${streams} streams`, bytes: BYTES, run: () => void sum(PAGE_BYTES), samples: [] };
}

/** The products of all layers by the same activations, for each number of rows. */
function productJobs(model: string): Job[] {
  const folder = new URL(`../../models/${model}/`, import.meta.url);
  const { hiddenSize, ffnSize, layers, ...shape } = parseConfig(readModelJson('config.json', folder));
  const { queryWidth, qkvWidth } = projectionWidths(shape);
  const memory = new WebAssembly.Memory({ initial: 1 });
  const kernels = instantiateBuild('relaxed', benchModules().relaxed, memory);
  let end = kernels.heapBase;
  const take = (bytes: number) => {
    const at = end;
    end += (bytes + 15) & -16;
    return at;
  };
  const shapes = [
    [qkvWidth, hiddenSize],
    [hiddenSize, queryWidth],
    [2 * ffnSize, hiddenSize],
    [hiddenSize, ffnSize],
  ] as const;
  const start = end;
  const matrices = Array.from({ length: layers }, () =>
    shapes.map(([n, k]) => ({ n, k, w: take(kernels.packedU4Bytes(n, k)) })),
  ).flat();
  const bytes = end - start;
  const most = Math.max(...ROWS);
  const widest = Math.max(hiddenSize, queryWidth, ffnSize);
  const x = take(most * widest * 4);
  const a = take(kernels.activationBytes(most, widest));
  const y = take(most * 2 * ffnSize * 4);
  memory.grow(Math.ceil(end / PAGE_BYTES));
  // As weights and scales: small numbers, which are no denormal ones.
  new Uint8Array(memory.buffer, start, bytes).fill(0x3c);
  new Float32Array(memory.buffer, x, most * widest).forEach((_, i, values) => {
    values[i] = Math.sin(i * 7.13 + 1);
  });
  kernels.quantizeRows(x, most, widest, a);
  const macs = shapes.reduce((sum, [n, k]) => sum + n * k, 0) * layers;
  return ROWS.map((rows) => ({
    what: `${model}, ${rows} rows`,
    bytes,
    macs: rows * macs,
    run: () => {
      for (const { n, k, w } of matrices) kernels.matmulU4(a, rows, k, w, n, y, 0);
    },
    samples: [],
  }));
}

export async function benchStreams(rounds = ROUNDS): Promise<StreamRow[]> {
  const jobs = [...(await Promise.all(STREAMS.map(sumJob))), ...MODELS.flatMap(productJobs)];
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    for (const { run, bytes, samples } of round % 2 === 0 ? jobs : [...jobs].reverse()) {
      const repeats = Math.max(1, Math.round(SAMPLE_BYTES / bytes));
      const ms = processorMsOf(() => {
        for (let repeat = 0; repeat < repeats; repeat++) run();
      });
      if (round >= 0) samples.push(ms / repeats);
    }
  }
  return jobs.map(({ what, bytes, macs, samples }) => {
    const ms = median(samples);
    return {
      what,
      ms,
      leastMs: Math.min(...samples),
      gigabytes: bytes / ms / 1e6,
      gmacs: macs === undefined ? undefined : macs / ms / 1e6,
    };
  });
}

export function formatStreams(rows: readonly StreamRow[]): string {
  return table(
    rows.map(({ what, ms, leastMs, gigabytes, gmacs }) => ({
      '': what,
      'CPU ms': ms.toFixed(2),
      least: leastMs.toFixed(2),
      'GB/s': gigabytes.toFixed(1),
      'GMAC/s': gmacs?.toFixed(1) ?? '',
    })),
  );
}

if (import.meta.main) {
  const rows = await benchStreams(Number(process.argv[2] ?? ROUNDS));
  console.log(`${formatStreams(rows)}\n`);
  console.log(JSON.stringify({ streams: rows }));
}
