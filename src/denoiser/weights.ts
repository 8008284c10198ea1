/**
 * Repacks the tensors of `model.safetensors` into kernel layout while they arrive. A tensor is never held whole: blocks of
 * its rows pass through the staging buffer. Weights and their scales are separate tensors and are packed separately.
 */

import { type DenoiserConfig, GROUP_SIZE } from './config.ts';
import type { KernelExports, Pointer } from './kernels.ts';
import { type MemoryPlan, PACK_ROWS } from './memory.ts';
import { type Dtype, type RowSink, readSafetensors, SafetensorsError, type TensorInfo } from './safetensors.ts';

/** What the file must say about a tensor, and what becomes of its rows. */
interface ExpectedTensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly rowBytes: number;
  /** Called with blocks of rows in the staging buffer. */
  store(first: number, rows: number): void;
}

/** Reads all weights of a model. Throws SafetensorsError, naming the tensor, and what the stream fails with. */
export async function loadWeights(
  source: ReadableStream<Uint8Array>,
  config: DenoiserConfig,
  kernels: KernelExports,
  plan: MemoryPlan,
  memory: WebAssembly.Memory,
): Promise<void> {
  const expected = expectedTensors(config, kernels, plan, memory);
  const staging = new Uint8Array(memory.buffer, plan.staging, plan.stagingBytes);
  await readSafetensors(source, (tensors) => {
    const names = new Set(tensors.map(({ name }) => name));
    const missing = [...expected.keys()].filter((name) => !names.has(name));
    if (missing.length > 0) {
      throw new SafetensorsError(`weights: tensor '${missing[0]}' is missing (${missing.length} in all)`);
    }
    return tensors.map((tensor) => sinkOf(tensor, expected.get(tensor.name), staging));
  });
}

function sinkOf(
  { name, dtype, shape }: TensorInfo,
  expected: ExpectedTensor | undefined,
  staging: Uint8Array,
): RowSink {
  if (expected === undefined) throw new SafetensorsError(`weights: tensor '${name}' is not of this model`);
  if (dtype !== expected.dtype) {
    throw new SafetensorsError(`weights: tensor '${name}' has dtype ${dtype}, expected ${expected.dtype}`);
  }
  if (shape.length !== expected.shape.length || shape.some((size, axis) => size !== expected.shape[axis])) {
    throw new SafetensorsError(`weights: tensor '${name}' has shape [${shape}], expected [${expected.shape}]`);
  }
  const { rowBytes, store } = expected;
  // The packing kernels take whole panels of rows; a tensor of fewer rows is not one of theirs.
  const rows = Math.max(1, Math.floor(staging.length / rowBytes / PACK_ROWS) * PACK_ROWS);
  return { rowBytes, buffer: staging.subarray(0, rows * rowBytes), accept: store };
}

function expectedTensors(
  config: DenoiserConfig,
  kernels: KernelExports,
  plan: MemoryPlan,
  memory: WebAssembly.Memory,
): ReadonlyMap<string, ExpectedTensor> {
  const { staging } = plan;
  const { hiddenSize, ffnSize, headDim, vocabSize } = config;
  const queryWidth = config.heads * headDim;
  const keyWidth = config.kvHeads * headDim;
  const expected = new Map<string, ExpectedTensor>();

  const vector = (name: string, size: number, target: Pointer) => {
    expected.set(name, {
      ...{ dtype: 'F32', shape: [size], rowBytes: 4 * size },
      store: () => new Uint8Array(memory.buffer).copyWithin(target, staging, staging + 4 * size),
    });
  };
  /** Outputs [row, row + n) of the packed matrix `target` of `rowsOfTarget` outputs and k inputs. */
  const linear = (name: string, n: number, k: number, target: Pointer, rowsOfTarget = n, row = 0) => {
    expected.set(`${name}.weight_packed`, {
      ...{ dtype: 'I32', shape: [n, k / 8], rowBytes: k / 2 },
      store: (first, rows) => kernels.packU4(staging, 0, rows, k, rowsOfTarget, row + first, target),
    });
    expected.set(`${name}.weight_scale`, {
      ...{ dtype: 'BF16', shape: [n, k / GROUP_SIZE], rowBytes: (2 * k) / GROUP_SIZE },
      store: (first, rows) => kernels.packU4(0, staging, rows, k, rowsOfTarget, row + first, target),
    });
    expected.set(`${name}.weight_shape`, {
      ...{ dtype: 'I64', shape: [2], rowBytes: 16 },
      store: () => {
        const [outputs, inputs] = new BigInt64Array(memory.buffer, staging, 2);
        if (outputs !== BigInt(n) || inputs !== BigInt(k)) {
          throw new SafetensorsError(`weights: '${name}.weight_shape' is ${outputs} × ${inputs}, expected ${n} × ${k}`);
        }
      },
    });
  };

  expected.set('model.embed_tokens.weight', {
    ...{ dtype: 'I8', shape: [vocabSize, hiddenSize], rowBytes: hiddenSize },
    store: (first, rows) => kernels.packU7(staging, 0, rows, hiddenSize, vocabSize, first, plan.embedding),
  });
  expected.set('model.embed_tokens.weight_scale', {
    ...{ dtype: 'BF16', shape: [vocabSize, 1], rowBytes: 2 },
    store: (first, rows) => kernels.packU7(0, staging, rows, hiddenSize, vocabSize, first, plan.embedding),
  });
  for (const [index, layer] of plan.layers.entries()) {
    const name = `model.layers.${index}`;
    const attention = `${name}.self_attn`;
    const qkvRows = queryWidth + 2 * keyWidth;
    vector(`${name}.input_layernorm.weight`, hiddenSize, layer.inputNorm);
    vector(`${name}.post_attention_layernorm.weight`, hiddenSize, layer.postAttentionNorm);
    vector(`${attention}.q_norm.weight`, headDim, layer.qNorm);
    vector(`${attention}.k_norm.weight`, headDim, layer.kNorm);
    linear(`${attention}.q_proj`, queryWidth, hiddenSize, layer.qkv, qkvRows, 0);
    linear(`${attention}.k_proj`, keyWidth, hiddenSize, layer.qkv, qkvRows, queryWidth);
    linear(`${attention}.v_proj`, keyWidth, hiddenSize, layer.qkv, qkvRows, queryWidth + keyWidth);
    linear(`${attention}.o_proj`, hiddenSize, queryWidth, layer.output);
    linear(`${name}.mlp.gate_proj`, ffnSize, hiddenSize, layer.gateUp, 2 * ffnSize, 0);
    linear(`${name}.mlp.up_proj`, ffnSize, hiddenSize, layer.gateUp, 2 * ffnSize, ffnSize);
    linear(`${name}.mlp.down_proj`, hiddenSize, ffnSize, layer.down);
  }
  vector('model.norm.weight', hiddenSize, plan.finalNorm);
  return expected;
}
