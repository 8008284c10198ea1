/**
 * Repacks the tensors of `model.safetensors` into kernel layout while they arrive, block of rows by block of rows. A file has the
 * scales of a matrix behind its weights and they are packed together, so that one matrix at a time is held as it came.
 */

import { type DenoiserConfig, GROUP_SIZE } from './config.ts';
import type { KernelExports, Pointer } from './kernels.ts';
import { type MemoryPlan, PACK_ROWS } from './memory.ts';
import { type Dtype, type RowSink, readSafetensors, SafetensorsError, type TensorInfo } from './safetensors.ts';

/** What the file must say about a tensor, and where it goes. */
interface ExpectedTensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  open(): RowSink;
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
  await readSafetensors(source, (tensors) => {
    const names = new Set(tensors.map(({ name }) => name));
    const missing = [...expected.keys()].filter((name) => !names.has(name));
    if (missing.length > 0) {
      throw new SafetensorsError(`weights: tensor '${missing[0]}' is missing (${missing.length} in all)`);
    }
    return tensors.map((tensor) => check(tensor, expected.get(tensor.name)).open);
  });
}

function check({ name, dtype, shape }: TensorInfo, expected: ExpectedTensor | undefined): ExpectedTensor {
  if (expected === undefined) throw new SafetensorsError(`weights: tensor '${name}' is not of this model`);
  if (dtype !== expected.dtype) {
    throw new SafetensorsError(`weights: tensor '${name}' has dtype ${dtype}, expected ${expected.dtype}`);
  }
  if (shape.length !== expected.shape.length || shape.some((size, axis) => size !== expected.shape[axis])) {
    throw new SafetensorsError(`weights: tensor '${name}' has shape [${shape}], expected [${expected.shape}]`);
  }
  return expected;
}

function expectedTensors(
  config: DenoiserConfig,
  kernels: KernelExports,
  plan: MemoryPlan,
  memory: WebAssembly.Memory,
): ReadonlyMap<string, ExpectedTensor> {
  const { hiddenSize, ffnSize, headDim, vocabSize } = config;
  const queryWidth = config.heads * headDim;
  const keyWidth = config.kvHeads * headDim;
  const staging = new Uint8Array(memory.buffer, plan.staging, plan.stagingBytes);
  const expected = new Map<string, ExpectedTensor>();

  /** A tensor that is one row, handed over in the staging buffer. */
  const row = (name: string, dtype: Dtype, shape: number[], rowBytes: number, accept: () => void) => {
    expected.set(name, { dtype, shape, open: () => ({ rowBytes, buffer: staging.subarray(0, rowBytes), accept }) });
  };
  const vector = (name: string, size: number, target: Pointer) => {
    row(name, 'F32', [size], 4 * size, () => {
      new Uint8Array(memory.buffer, target).set(staging.subarray(0, 4 * size));
    });
  };
  /** Two tensors, weights and scales, that `pack` takes block by block: `rows` rows from row `first` on. */
  const matrix = (
    weights: { name: string; dtype: Dtype; shape: [number, number]; rowBytes: number },
    scales: { name: string; shape: [number, number] },
    pack: (weights: Pointer, scales: Pointer, rows: number, first: number) => void,
  ) => {
    const { rowBytes } = weights;
    const scaleBytes = 2 * scales.shape[1];
    const blockRows = Math.floor(plan.stagingBytes / (rowBytes + scaleBytes) / PACK_ROWS) * PACK_ROWS;
    let held = new Uint8Array();
    expected.set(weights.name, {
      ...weights,
      open: () => {
        held = new Uint8Array(weights.shape[0] * rowBytes);
        return { rowBytes, buffer: held, accept: () => {} };
      },
    });
    expected.set(scales.name, {
      dtype: 'BF16',
      shape: scales.shape,
      open: () => {
        if (held.length === 0) throw new SafetensorsError(`weights: tensor '${scales.name}' lies before its weights`);
        const behindScales = blockRows * scaleBytes;
        return {
          rowBytes: scaleBytes,
          buffer: staging.subarray(0, behindScales),
          accept: (first, rows) => {
            staging.set(held.subarray(first * rowBytes, (first + rows) * rowBytes), behindScales);
            pack(plan.staging + behindScales, plan.staging, rows, first);
            if (first + rows === scales.shape[0]) held = new Uint8Array();
          },
        };
      },
    });
  };
  /** Becomes the outputs [firstOutput, firstOutput + n) of the packed matrix `target` of `outputs` outputs and k inputs. */
  const linear = (name: string, n: number, k: number, target: Pointer, outputs = n, firstOutput = 0) => {
    matrix(
      { name: `${name}.weight_packed`, dtype: 'I32', shape: [n, k / 8], rowBytes: k / 2 },
      { name: `${name}.weight_scale`, shape: [n, k / GROUP_SIZE] },
      (weights, scales, rows, first) => kernels.packU4(weights, scales, rows, k, outputs, firstOutput + first, target),
    );
    row(`${name}.weight_shape`, 'I64', [2], 16, () => {
      const [fileN, fileK] = new BigInt64Array(memory.buffer, plan.staging, 2);
      if (fileN !== BigInt(n) || fileK !== BigInt(k)) {
        throw new SafetensorsError(`weights: '${name}.weight_shape' is ${fileN} × ${fileK}, expected ${n} × ${k}`);
      }
    });
  };

  matrix(
    { name: 'model.embed_tokens.weight', dtype: 'I8', shape: [vocabSize, hiddenSize], rowBytes: hiddenSize },
    { name: 'model.embed_tokens.weight_scale', shape: [vocabSize, 1] },
    (weights, scales, rows, first) =>
      kernels.packU7(weights, scales, rows, hiddenSize, vocabSize, first, plan.embedding),
  );
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
