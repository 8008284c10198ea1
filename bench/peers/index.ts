/**
 * The runtime against its alternatives: llama.cpp (native, one thread) with the weights of `small`; onnxruntime-web
 * (WASM, one thread) on the same matrix products and on a whole denoising step of `nano`; and autoregressive decoding
 * with the same weights, kernels and cache.
 *
 * Run: `npm run bench:peers`, or `npm run bench:peers -- [rounds] [llama-cpp | onnxruntime | decoding …]` for some of
 * them, after `python -m training.export.prefix_gguf` and `python -m training.export.onnx_step --out build/onnx` have
 * written the models of the peers. Rounds of all contenders are interleaved; figures are medians of CPU time, ratios
 * medians of paired rounds.
 */

import { existsSync, readFileSync } from 'node:fs';
import { parseConfig } from '../../src/denoiser/three-stream/config.ts';
import { Denoiser } from '../../src/denoiser/three-stream/denoiser.ts';
import { PREFILL_CHUNK_TOKENS } from '../../src/denoiser/transformer/memory.ts';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.ts';
import { benchModules, openModelWeights, readModelJson } from '../engine.ts';
import { matmulJob } from '../kernels/kernels.ts';
import { processorMs } from '../processor-time.ts';
import { median } from '../statistics.ts';
import { benchDecoding, formatDecoding } from './decoding.ts';
import { benchLlamaCpp, formatLlamaCpp } from './llama-cpp/bench.ts';

const GRAPHS = new URL('../../build/onnx/', import.meta.url);
const RUNTIME = new URL('./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs', import.meta.url);
const CONTEXT_TOKENS = 512;
const SLOTS = 32;
/** Products in one run of a graph: training/export/onnx_step.py. */
const PRODUCTS = 16;
const SHAPES = [
  { n: 512, k: 512 },
  { n: 2048, k: 512 },
] as const;
const ROWS = [1, 8, 32, 64] as const;
const WARM_UP_RUNS = 10;
/** The least for one sample: much longer than the resolution of the clock. */
const SAMPLE_MS = 5;

/** The part of onnxruntime-web that is used here. It is not a dependency of the project, so it has no types here. */
interface Runtime {
  env: { wasm: { numThreads: number }; logLevel: string };
  Tensor: new (type: 'float32', data: Float32Array, dims: readonly number[]) => unknown;
  InferenceSession: {
    create(model: Uint8Array, options: object): Promise<{ run(feeds: Record<string, unknown>): Promise<unknown> }>;
  };
}

type Contender = () => unknown;

/** CPU milliseconds of a run, the mean of several. */
async function sampleMs(run: Contender, repeats: number): Promise<number> {
  const startMs = processorMs();
  for (let i = 0; i < repeats; i++) await run();
  return (processorMs() - startMs) / repeats;
}

/** CPU milliseconds of a run of each contender, round by round. */
async function interleaved(contenders: Record<string, Contender>, rounds: number): Promise<Record<string, number[]>> {
  const repeats: Record<string, number> = {};
  for (const [name, run] of Object.entries(contenders)) {
    await sampleMs(run, WARM_UP_RUNS);
    repeats[name] = Math.max(1, Math.ceil(SAMPLE_MS / (await sampleMs(run, WARM_UP_RUNS))));
  }
  const samples: Record<string, number[]> = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of Object.entries(contenders)) samples[name]!.push(await sampleMs(run, repeats[name]!));
  }
  return samples;
}

async function session(runtime: Runtime, file: string) {
  const options = { executionProviders: ['wasm'], graphOptimizationLevel: 'all' };
  return runtime.InferenceSession.create(readFileSync(new URL(file, GRAPHS)), options);
}

function random(length: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => Math.sin(i * 7.13 + 1));
}

export interface PeerRow {
  readonly what: string;
  /** Median CPU milliseconds by contender, and how many times as long as ours it takes. */
  readonly ms: Record<string, number>;
  readonly ratios: Record<string, number>;
}

function rowOf(what: string, ours: string, samples: Record<string, number[]>): PeerRow {
  const ms = Object.fromEntries(Object.entries(samples).map(([name, values]) => [name, median(values)]));
  const ratios = Object.fromEntries(
    Object.entries(samples)
      .filter(([name]) => name !== ours)
      .map(([name, values]) => [name, median(values.map((value, round) => value / samples[ours]![round]!))]),
  );
  return { what, ms, ratios };
}

/** 4-bit and 7-bit products against the runtime's int4 and int8. */
async function benchProducts(runtime: Runtime, rounds: number): Promise<PeerRow[]> {
  const rows: PeerRow[] = [];
  for (const { n, k } of SHAPES) {
    for (const count of ROWS) {
      for (const [weights, kind] of [
        ['u4', 'int4'],
        ['u7', 'int8'],
      ] as const) {
        const theirs = await session(runtime, `matmul-${kind}-${n}-${k}-${count}.onnx`);
        const names = Array.from({ length: PRODUCTS }, (_, i) => `x${i}`);
        const feeds = Object.fromEntries(
          names.map((name) => [name, new runtime.Tensor('float32', random(count * k), [count, k])]),
        );
        const ours = matmulJob('relaxed', weights, n, k, count);
        const contenders = {
          // Their products quantize their activations, so ours do as well.
          [`ours ${weights}`]: () => {
            for (let i = 0; i < PRODUCTS; i++) ours();
          },
          [`onnxruntime-web ${kind}`]: () => theirs.run(feeds),
        };
        rows.push(
          rowOf(`${PRODUCTS} × ${count}×${k} by ${n}×${k}`, `ours ${weights}`, await interleaved(contenders, rounds)),
        );
      }
    }
  }
  return rows;
}

async function benchStep(runtime: Runtime, rounds: number): Promise<PeerRow> {
  const config = parseConfig(readModelJson('config.json'));
  const modules = benchModules();
  const denoiser = await Denoiser.load({ modules, config, openWeights: () => openModelWeights(), cacheBytes: 0 });
  const prefix = denoiser.prefixContexts[0]!;
  for (let at = 0; at < CONTEXT_TOKENS; at += PREFILL_CHUNK_TOKENS) {
    denoiser.extend(
      prefix,
      Array.from({ length: PREFILL_CHUNK_TOKENS }, (_, i) => 100 + ((at + i) % 3000)),
    );
  }
  const canvas = new Int32Array(SLOTS).fill(loadTokenizer(readModelJson('tokenizer.json')).special.mask);
  const embeddings = new runtime.Tensor('float32', random(SLOTS * config.hiddenSize), [SLOTS, config.hiddenSize]);
  const contenders: Record<string, Contender> = { ours: () => denoiser.evaluate(prefix, undefined, canvas, SLOTS) };
  for (const kind of ['int4', 'int8', 'f32']) {
    const theirs = await session(runtime, `step-${kind}.onnx`);
    contenders[`onnxruntime-web ${kind}`] = () => theirs.run({ embeddings });
  }
  return rowOf(`a step, ${SLOTS} slots behind ${CONTEXT_TOKENS} tokens`, 'ours', await interleaved(contenders, rounds));
}

function formatPeers(rows: readonly PeerRow[]): string {
  const lines = rows.map(({ what, ms, ratios }) => {
    const cells = Object.entries(ms).map(([name, value]) => {
      const ratio = ratios[name] === undefined ? '' : ` (${ratios[name].toFixed(2)}×)`;
      return `${name} ${value.toFixed(2)}${ratio}`;
    });
    return `${what.padEnd(40)}${cells.join('   ')}`;
  });
  return ['CPU ms, and how many times as long as ours', ...lines].join('\n');
}

/** Undefined with a line on the console where the runtime or its graphs are missing. */
async function benchRuntime(rounds: number): Promise<PeerRow[] | undefined> {
  if (!existsSync(GRAPHS) || !existsSync(RUNTIME)) {
    console.log('onnxruntime-web is left out: run `python -m training.export.onnx_step --out build/onnx` first\n');
    return undefined;
  }
  const runtime = (await import(RUNTIME.href)) as Runtime;
  runtime.env.wasm.numThreads = 1;
  runtime.env.logLevel = 'error';
  return [...(await benchProducts(runtime, rounds)), await benchStep(runtime, rounds)];
}

if (import.meta.main) {
  const [rounds = '21', ...chosen] = process.argv.slice(2);
  const isChosen = (name: string) => chosen.length === 0 || chosen.includes(name);
  const llamaCpp = isChosen('llama-cpp') ? await benchLlamaCpp(Number(rounds)) : undefined;
  if (llamaCpp) console.log(`${formatLlamaCpp(llamaCpp)}\n`);
  const peers = isChosen('onnxruntime') ? await benchRuntime(Number(rounds)) : undefined;
  if (peers) console.log(`${formatPeers(peers)}\n`);
  const decoding = isChosen('decoding') ? await benchDecoding(Number(rounds)) : undefined;
  if (decoding) console.log(`${formatDecoding(decoding)}\n`);
  console.log(JSON.stringify({ llamaCpp, peers, decoding }));
}
