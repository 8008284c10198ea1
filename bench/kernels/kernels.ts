/**
 * Speed of the matrix products in GMAC/s (10^9 multiply-accumulates a second) on one core, and the time of each piece
 * of one layer.
 *
 * Run: `npm run build:kernels`, then `node bench/kernels/kernels.ts [rounds]` (Node 24 or later). With `node
 * --disable-wasm-trap-handler` the engine emits explicit bounds checks, as the Workers runtime does. Figures are CPU
 * time, with the cells interleaved round by round, so that a busy machine disturbs all of them equally.
 */
import type { KernelBuild } from '../../src/denoiser/transformer/kernels.ts';
import { benchModules } from '../engine.ts';
import { processorMs } from '../processor-time.ts';
import { median } from '../statistics.ts';
import { BUILDS, formatMatmuls, type MatmulRow, matmulCells, matmulRow, Operands } from './matmuls.ts';

export interface LayerRow {
  readonly build: KernelBuild;
  readonly piece: string;
  /** µs a layer, median. */
  readonly medianUs: number;
}

const modules = benchModules();
/** The bits of 1 as float32. */
const FLOAT_ONE = 0x3f800000;
/** Long enough for the optimizing compiler to have replaced the first code. */
const WARM_UP_MS = 100;
/** Of one sample: shorter than a time slice of the scheduler, much longer than the resolution of the clock. */
const SAMPLE_MS = 4;

interface Job {
  readonly run: () => void;
  repeats: number;
  /** ms of CPU time a run. */
  readonly samples: number[];
}

function sampleMs(job: Job): number {
  const startMs = processorMs();
  for (let i = 0; i < job.repeats; i++) job.run();
  return (processorMs() - startMs) / job.repeats;
}

/** Warms up every job, then samples them in turn, forwards and backwards. */
function measure(jobs: readonly Job[], rounds: number): void {
  for (const job of jobs) {
    const start = performance.now();
    let runs = 0;
    while (performance.now() - start < WARM_UP_MS) {
      job.run();
      runs++;
    }
    job.repeats = Math.max(1, Math.round((SAMPLE_MS / WARM_UP_MS) * runs));
  }
  for (let round = 0; round < rounds; round++) {
    for (const job of round % 2 === 0 ? jobs : [...jobs].reverse()) job.samples.push(sampleMs(job));
  }
}

/** One product, its activations quantized first. */
export function matmulJob(build: KernelBuild, weights: 'u4' | 'u7', n: number, k: number, rows: number): () => void {
  const operands = new Operands(build, modules[build]);
  const { kernels } = operands;
  const [x, a, y] = [operands.floats(rows * k), operands.quantized(rows, k), operands.bytes(rows * n * 4)];
  const w = weights === 'u4' ? operands.packedU4(n, k) : operands.packedU7(n, k);
  return () => {
    kernels.quantizeRows(x, rows, k, a);
    if (weights === 'u4') kernels.matmulU4(a, rows, k, w, n, y, 0);
    else kernels.matmulU7(a, rows, k, w, n, y, n);
  };
}

/** GMAC/s of the 4-bit and 7-bit matrix products of both builds. */
export function benchMatmuls(rounds = 21): MatmulRow[] {
  const cells = matmulCells(modules).map(({ cell, run }) => ({
    cell,
    job: { run, repeats: 1, samples: [] as number[] },
  }));
  measure(
    cells.map(({ job }) => job),
    rounds,
  );
  return cells.map(({ cell, job }) => matmulRow(cell, job.samples));
}

/**
 * Time of the pieces of one layer of the `nano` shape: 32 slots, 512 tokens of context, 4 heads over 2 key/value heads.
 */
export function benchLayer(rounds = 21): LayerRow[] {
  const [rows, hidden, ffn, heads, kvHeads, headDim, context] = [32, 256, 704, 4, 2, 64, 512];
  const [vocabulary, eps, scale] = [4096, 1e-6, 0.125];
  const qkv = (heads + 2 * kvHeads) * headDim;
  const width = context + rows;
  return BUILDS.flatMap((build) => {
    const operands = new Operands(build, modules[build]);
    const { kernels } = operands;
    const [x, y] = [operands.floats(rows * hidden), operands.floats(rows * qkv)];
    // All ones: heads that are normalised in place many times must not shrink to denormal numbers, which are slow.
    const norm = operands.ints(hidden, FLOAT_ONE);
    const [a, aFfn] = [operands.quantized(rows, hidden), operands.quantized(rows, ffn)];
    const [wQkv, wOut] = [operands.packedU4(qkv, hidden), operands.packedU4(hidden, hidden)];
    const [wGateUp, wDown] = [operands.packedU4(2 * ffn, hidden), operands.packedU4(hidden, ffn)];
    const head = operands.packedU7(vocabulary, hidden);
    const gateUp = operands.floats(rows * 2 * ffn);
    const out = operands.floats(rows * hidden);
    const [positions, table] = [operands.ints(rows, 100), operands.floats(101 * headDim)];
    const group = heads / kvHeads;
    const pages = operands.pages(width, headDim);
    const queries = operands.bytes(kernels.queryBytes(rows * group, headDim));
    const scratch = operands.bytes(kernels.attentionScratchBytes(Math.ceil(width / 32)));
    const [ids, logits, lse] = [operands.ints(rows * 16, 0), operands.floats(rows * 16), operands.floats(rows)];
    const headBytes = 65536;
    const headScratch = operands.bytes(headBytes);
    const eachHead = (run: () => void) => () => {
      for (let h = 0; h < kvHeads; h++) run();
    };
    for (let token = 0; token < context; token += rows) {
      kernels.storeKeysValues(y, y, rows, qkv, headDim, norm, eps, positions, table, 0, pages, token);
    }
    const pieces: Record<string, () => void> = {
      'norms, quantized (2)': () => {
        kernels.rmsNormQuantizeRows(x, norm, rows, hidden, eps, a);
        kernels.rmsNormQuantizeRows(x, norm, rows, hidden, eps, a);
      },
      'q, k, v': () => kernels.matmulU4(a, rows, hidden, wQkv, qkv, y, 0),
      'queries normed, rotated, quantized': eachHead(() =>
        kernels.quantizeQueries(y, rows, qkv, group, headDim, norm, eps, positions, table, scale, queries),
      ),
      'keys, values the same, stored': eachHead(() =>
        kernels.storeKeysValues(y, y, rows, qkv, headDim, norm, eps, positions, table, 0, pages, context),
      ),
      attention: eachHead(() =>
        kernels.attend(queries, rows, group, headDim, 0, pages, width, 0, 0, 0, 0, out, hidden, scratch),
      ),
      'attention output': () => {
        kernels.quantizeRows(out, rows, hidden, a);
        kernels.matmulU4(a, rows, hidden, wOut, hidden, x, 0);
      },
      // One piece, because swiglu overwrites what it reads.
      'gate, up, swiglu': () => {
        kernels.matmulU4(a, rows, hidden, wGateUp, 2 * ffn, gateUp, 0);
        kernels.swigluQuantizeRows(gateUp, rows, ffn, aFfn);
      },
      down: () => kernels.matmulU4(aFfn, rows, ffn, wDown, hidden, x, 0),
      'head, top 16 (once a step)': () => {
        kernels.headTopK(a, rows, hidden, head, vocabulary, 16, ids, logits, lse, headScratch, headBytes);
      },
    };
    const jobs = Object.values(pieces).map((run): Job => ({ run, repeats: 1, samples: [] }));
    measure(jobs, rounds);
    return Object.keys(pieces).map((piece, i) => {
      return { build, piece, medianUs: 1000 * median(jobs[i]?.samples ?? []) };
    });
  });
}

export function formatLayer(rows: readonly LayerRow[]): string {
  const pieces = [...new Set(rows.map((row) => row.piece))];
  const header = `${'µs, 32 slots'.padEnd(30)}${BUILDS.map((build) => build.padStart(10)).join('')}`;
  const lines = pieces.map((piece) => {
    const cells = BUILDS.map((build) => rows.find((row) => row.build === build && row.piece === piece)?.medianUs ?? 0);
    return `${piece.padEnd(30)}${cells.map((us) => us.toFixed(1).padStart(10)).join('')}`;
  });
  return [header, ...lines].join('\n');
}

if (import.meta.main) {
  const rounds = Number(process.argv[2] ?? 21);
  const matmuls = benchMatmuls(rounds);
  const layer = benchLayer(rounds);
  console.log(`${formatMatmuls(matmuls)}\n\n${formatLayer(layer)}\n`);
  console.log(JSON.stringify({ matmuls, layer }));
}
