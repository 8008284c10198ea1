/**
 * A public checkpoint of 0.5 billion parameters (the shape of Qwen2.5-0.5B) on one core: memory, and milliseconds of a
 * denoising step for both kinds of attention. Weights are random: their values do not change the cost.
 *
 * Run: `npm run bench:checkpoint [-- RUNS]` (Node 24 or later, 2 GiB of memory). Figures are CPU time.
 */

import { readFileSync } from 'node:fs';
import { parseSingleStreamConfig } from '../../src/denoiser/single-stream/config.ts';
import { SingleStreamDenoiser, type Stream } from '../../src/denoiser/single-stream/denoiser.ts';
import { processorMs, processorMsOf } from '../processor-time.ts';
import { median } from '../statistics.ts';

const SHAPE = {
  model_type: 'qwen2',
  hidden_size: 896,
  num_hidden_layers: 24,
  num_attention_heads: 14,
  num_key_value_heads: 2,
  head_dim: 64,
  intermediate_size: 4864,
  vocab_size: 151_936,
  rms_norm_eps: 1e-6,
  rope_theta: 1e6,
  tie_word_embeddings: true,
  hidden_act: 'silu',
  attention_bias: true,
  qk_norm: false,
  max_position_embeddings: 32_768,
};
const CONTEXT_TOKENS = 256;
const SLOTS = 32;
const MEBIBYTE = 2 ** 20;

interface Tensor {
  name: string;
  dtype: 'I8' | 'I32' | 'I64' | 'BF16' | 'F32';
  shape: number[];
}

const BYTES = { I8: 1, BF16: 2, I32: 4, F32: 4, I64: 8 } as const;
const sizeOf = ({ dtype, shape }: Tensor) => shape.reduce((product, size) => product * size, BYTES[dtype]);

/** The tensors of the file, in its order. */
function tensors(): Tensor[] {
  const { hidden_size: hidden, intermediate_size: ffn, head_dim } = SHAPE;
  const [queries, keys] = [SHAPE.num_attention_heads * head_dim, SHAPE.num_key_value_heads * head_dim];
  const vector = (name: string, size: number): Tensor => ({ name, dtype: 'F32', shape: [size] });
  const linear = (name: string, n: number, k: number): Tensor[] => [
    { name: `${name}.weight_packed`, dtype: 'I32', shape: [n, k / 8] },
    { name: `${name}.weight_scale`, dtype: 'BF16', shape: [n, k / 32] },
    { name: `${name}.weight_shape`, dtype: 'I64', shape: [2] },
  ];
  const layer = (name: string): Tensor[] => [
    vector(`${name}.input_layernorm.weight`, hidden),
    vector(`${name}.post_attention_layernorm.weight`, hidden),
    ...linear(`${name}.self_attn.q_proj`, queries, hidden),
    vector(`${name}.self_attn.q_proj.bias`, queries),
    ...linear(`${name}.self_attn.k_proj`, keys, hidden),
    vector(`${name}.self_attn.k_proj.bias`, keys),
    ...linear(`${name}.self_attn.v_proj`, keys, hidden),
    vector(`${name}.self_attn.v_proj.bias`, keys),
    ...linear(`${name}.self_attn.o_proj`, hidden, queries),
    ...linear(`${name}.mlp.gate_proj`, ffn, hidden),
    ...linear(`${name}.mlp.up_proj`, ffn, hidden),
    ...linear(`${name}.mlp.down_proj`, hidden, ffn),
  ];
  return [
    { name: 'model.embed_tokens.weight', dtype: 'I8', shape: [SHAPE.vocab_size, hidden] },
    { name: 'model.embed_tokens.weight_scale', dtype: 'BF16', shape: [SHAPE.vocab_size, 1] },
    ...Array.from({ length: SHAPE.num_hidden_layers }, (_, index) => layer(`model.layers.${index}`)).flat(),
    vector('model.norm.weight', hidden),
  ];
}

/** Bytes of a tensor: random weights, and scales that keep the residual stream in a normal range. */
function contentOf(tensor: Tensor, shapes: ReadonlyMap<string, readonly [number, number]>): Uint8Array {
  const bytes = new Uint8Array(sizeOf(tensor));
  const { name, dtype } = tensor;
  if (dtype === 'F32') new Float32Array(bytes.buffer).fill(name.endsWith('bias') ? 0 : 1);
  else if (dtype === 'BF16')
    new Uint16Array(bytes.buffer).fill(0x3c00); // 1/128
  else if (dtype === 'I64') new BigInt64Array(bytes.buffer).set(shapes.get(name)!.map(BigInt));
  else {
    let state = 0x9e3779b9;
    const words = new Int32Array(bytes.buffer);
    for (let i = 0; i < words.length; i++) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
      // Embeddings are int8 of 7 bits: the upper bits of each byte repeat its sign.
      words[i] = dtype === 'I8' ? (state >> 3) & 0x1f1f1f1f : state;
    }
  }
  return bytes;
}

function fileStream(): ReadableStream<Uint8Array> {
  const all = tensors();
  const shapes = new Map<string, readonly [number, number]>();
  const header: Record<string, object> = {};
  let offset = 0;
  for (const tensor of all) {
    const end = offset + sizeOf(tensor);
    header[tensor.name] = { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [offset, end] };
    offset = end;
    if (tensor.name.endsWith('.weight_packed')) {
      const [n, words] = tensor.shape as [number, number];
      shapes.set(tensor.name.replace('_packed', '_shape'), [n, words * 8]);
    }
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const parts = [new Uint8Array(BigUint64Array.of(BigInt(text.length)).buffer), text];
  let next = 0;
  return new ReadableStream({
    pull(controller) {
      const part = parts.shift() ?? (next < all.length ? contentOf(all[next++]!, shapes) : undefined);
      if (part) controller.enqueue(part);
      else controller.close();
    },
  });
}

function sample(runs: number, work: () => unknown): number {
  work();
  return median(Array.from({ length: runs }, () => processorMsOf(work)));
}

export interface CheckpointRow {
  readonly attention: 'bidirectional' | 'block-causal';
  readonly wasmMebibytes: number;
  readonly residentMebibytes: number;
  readonly loadMs: number;
  /** CPU milliseconds of the prefill; 0 if none of the context can be cached. */
  readonly readMs: number;
  /** CPU milliseconds of a step. */
  readonly stepMs: number;
}

async function benchAttention(attention: CheckpointRow['attention'], runs: number): Promise<CheckpointRow> {
  const compile = (name: string) =>
    new WebAssembly.Module(readFileSync(new URL(`../../build/kernels.${name}.wasm`, import.meta.url)));
  const diffusion = {
    attention,
    logits: 'shifted',
    mask_token_id: 151_665,
    end_token_ids: [151_643],
    canvas_slots: SLOTS,
    prefix_tokens: 768,
    suffix_tokens: 256,
    reveal_threshold: 0.9,
    ...(attention === 'block-causal' && { block_size: SLOTS }),
  };
  const startMs = processorMs();
  const denoiser = await SingleStreamDenoiser.load({
    modules: { simd: compile('simd'), relaxed: compile('relaxed') },
    config: parseSingleStreamConfig({ ...SHAPE, diffusion }),
    openWeights: async () => fileStream(),
  });
  const loadMs = processorMs() - startMs;
  const ids = Array.from({ length: CONTEXT_TOKENS }, (_, i) => (i * 7919) % 150_000);
  const canvas = Array(SLOTS).fill(151_665);
  const half = CONTEXT_TOKENS / 2;
  const stream: Stream =
    attention === 'bidirectional'
      ? { left: ids.slice(0, half), canvas, right: ids.slice(half) }
      : { left: ids, canvas, right: [] };
  const readStartMs = processorMs();
  while (denoiser.read(stream.left));
  const readMs = attention === 'bidirectional' ? 0 : processorMs() - readStartMs;
  const stepMs = sample(runs, () => denoiser.evaluate(stream));
  const { memoryBytes } = denoiser;
  return {
    attention,
    wasmMebibytes: memoryBytes / MEBIBYTE,
    residentMebibytes: process.memoryUsage().rss / MEBIBYTE,
    loadMs,
    readMs,
    stepMs,
  };
}

if (import.meta.main) {
  const chosen = process.argv[3] as CheckpointRow['attention'] | undefined;
  const rows: CheckpointRow[] = [];
  for (const attention of chosen ? [chosen] : (['bidirectional', 'block-causal'] as const)) {
    rows.push(await benchAttention(attention, Number(process.argv[2] ?? 3)));
  }
  console.log(`Qwen2.5-0.5B's shape, 4-bit, ${CONTEXT_TOKENS} tokens of context, ${SLOTS} slots; CPU ms, one core`);
  for (const { attention, wasmMebibytes, residentMebibytes, loadMs, readMs, stepMs } of rows) {
    console.log(
      `${attention.padEnd(14)} step ${stepMs.toFixed(0).padStart(6)}  reading ${readMs.toFixed(0).padStart(6)}  loading ` +
        `${loadMs.toFixed(0).padStart(6)}  WASM ${wasmMebibytes.toFixed(0)} MiB, process ${residentMebibytes.toFixed(0)} MiB`,
    );
  }
  console.log(JSON.stringify({ node: process.version, rows }));
}
