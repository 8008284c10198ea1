/**
 * A denoising step against its matrix products alone: 32 slots after 512 tokens, `nano` and `small` (random weights).
 *
 * Run: `npm run build:kernels`, then `node bench/model/step.ts [rounds]` (Node 24 or later). Figures are CPU time, with
 * interleaved rounds. The products are those of the linear layers and the head, on separate weights. The products of
 * attention are not run, but counted at the speed of the 7-bit product, which `attention` has in another form.
 */

import { createReadStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type DenoiserConfig, parseConfig } from '../../src/denoiser/three-stream/config.ts';
import { Denoiser } from '../../src/denoiser/three-stream/denoiser.ts';
import { instantiateBuild } from '../../src/denoiser/transformer/kernels.ts';
import { PREFILL_CHUNK_TOKENS } from '../../src/denoiser/transformer/memory.ts';
import { benchModules } from '../engine.ts';
import { processorMsOf } from '../processor-time.ts';
import { median } from '../statistics.ts';
import { type RandomModel, randomConfig, writeRandomModel } from './random-model.ts';

const CONTEXT_TOKENS = 512;
const SLOTS = 32;
const WARM_UP_RUNS = 20;
const PAGE_BYTES = 65_536;

export interface StepRow {
  readonly model: string;
  /** CPU milliseconds, medians. */
  readonly stepMs: number;
  readonly linearMs: number;
  /** Products of attention at the speed of the 7-bit product. */
  readonly attentionProductsMs: number;
  /** Step over the products of the linear layers and the head, and over all products; medians of paired rounds. */
  readonly overLinear: number;
  readonly overProducts: number;
}

/** Runs the products of all linear layers and of the head once. */
function products(config: DenoiserConfig): { run: () => void; headMacs: number; runHead: () => void } {
  const { hiddenSize, ffnSize, heads, kvHeads, headDim, layers, vocabSize } = config;
  const memory = new WebAssembly.Memory({ initial: 1 });
  const kernels = instantiateBuild('relaxed', benchModules().relaxed, memory);
  let end = kernels.heapBase;
  const take = (bytes: number) => {
    const at = end;
    end += (bytes + 15) & -16;
    return at;
  };
  const queryWidth = heads * headDim;
  const shapes = [
    [queryWidth + 2 * kvHeads * headDim, hiddenSize],
    [hiddenSize, queryWidth],
    [2 * ffnSize, hiddenSize],
    [hiddenSize, ffnSize],
  ] as const;
  const matrices = Array.from({ length: layers }, () =>
    shapes.map(([n, k]) => ({ n, k, w: take(kernels.packedU4Bytes(n, k)) })),
  ).flat();
  const head = take(kernels.packedU7Bytes(vocabSize, hiddenSize));
  const x = take(SLOTS * ffnSize * 4);
  const a = take(kernels.activationBytes(SLOTS, Math.max(ffnSize, hiddenSize)));
  const y = take(SLOTS * Math.max(vocabSize, 2 * ffnSize) * 4);
  memory.grow(Math.ceil(end / PAGE_BYTES));
  new Float32Array(memory.buffer, x, SLOTS * ffnSize).forEach((_, i, values) => {
    values[i] = Math.sin(i * 7.13 + 1);
  });
  kernels.quantizeRows(x, SLOTS, ffnSize, a);
  const runHead = () => kernels.matmulU7(a, SLOTS, hiddenSize, head, vocabSize, y, vocabSize);
  const run = () => {
    for (const { n, k, w } of matrices) kernels.matmulU4(a, SLOTS, k, w, n, y, 0);
    runHead();
  };
  return { run, runHead, headMacs: SLOTS * vocabSize * hiddenSize };
}

async function benchModel(model: RandomModel, rounds: number): Promise<StepRow> {
  const folder = await mkdtemp(join(tmpdir(), 'quicksilver-step-'));
  try {
    await writeRandomModel(folder, model, model);
    const config = parseConfig(await randomConfig(model));
    const openWeights = async () =>
      Readable.toWeb(createReadStream(join(folder, 'model.safetensors'))) as ReadableStream<Uint8Array>;
    const denoiser = await Denoiser.load({ modules: benchModules(), config, openWeights, cacheBytes: 0 });
    const prefix = denoiser.prefixContexts[0]!;
    for (let at = 0; at < CONTEXT_TOKENS; at += PREFILL_CHUNK_TOKENS) {
      denoiser.extend(
        prefix,
        Array.from({ length: PREFILL_CHUNK_TOKENS }, (_, i) => (7 * (at + i)) % config.vocabSize),
      );
    }
    const canvas = Array.from({ length: SLOTS }, (_, i) => 13 * i);
    const step = () => void denoiser.evaluate(prefix, undefined, canvas, SLOTS);
    const { run, runHead, headMacs } = products(config);
    for (let i = 0; i < WARM_UP_RUNS; i++) for (const warm of [step, run, runHead]) warm();
    const samples = Array.from({ length: rounds }, () => ({
      step: processorMsOf(step),
      linear: processorMsOf(run),
      head: processorMsOf(runHead),
    }));
    const attentionMacs = 2 * config.layers * config.heads * config.headDim * SLOTS * (CONTEXT_TOKENS + SLOTS);
    const attentionMs = (attentionMacs / headMacs) * median(samples.map(({ head }) => head));
    return {
      model,
      stepMs: median(samples.map((sample) => sample.step)),
      linearMs: median(samples.map((sample) => sample.linear)),
      attentionProductsMs: attentionMs,
      overLinear: median(samples.map((sample) => sample.step / sample.linear)),
      overProducts: median(samples.map((sample) => sample.step / (sample.linear + attentionMs))),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export async function benchSteps(rounds = 31): Promise<StepRow[]> {
  return [await benchModel('nano-random', rounds), await benchModel('small', rounds)];
}

export function formatSteps(rows: readonly StepRow[]): string {
  const lines = rows.map(({ model, stepMs, linearMs, attentionProductsMs, overLinear, overProducts }) =>
    [
      model.padEnd(14),
      `step ${stepMs.toFixed(2)} ms`,
      `linear layers and head ${linearMs.toFixed(2)} ms (${overLinear.toFixed(2)}×)`,
      `with the products of attention ${(linearMs + attentionProductsMs).toFixed(2)} ms (${overProducts.toFixed(2)}×)`,
    ].join('  '),
  );
  return [
    `A step of ${SLOTS} slots after ${CONTEXT_TOKENS} tokens against its matrix products, CPU time`,
    ...lines,
  ].join('\n');
}

if (import.meta.main) {
  const rows = await benchSteps(Number(process.argv[2] ?? 31));
  console.log(`${formatSteps(rows)}\n`);
  console.log(JSON.stringify({ steps: rows }));
}
