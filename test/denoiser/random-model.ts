/**
 * A small model of random weights: as numbers for the reference, and written in the real file format for the runtime.
 */

import { type DenoiserConfig, parseConfig } from '../../src/denoiser/three-stream/config.ts';
import { mulberry32 } from '../../support/seeded-random.ts';
import { specialTokens } from '../tokenizer/sample-tokenizer.ts';

export const SAMPLE_CONFIG = {
  architectures: ['QuicksilverForMaskedDiffusion'],
  model_type: 'quicksilver',
  hidden_size: 96,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 64,
  intermediate_size: 160,
  vocab_size: 272,
  rms_norm_eps: 1e-6,
  rope_theta: 10_000,
  tie_word_embeddings: true,
  hidden_act: 'silu',
  attention_bias: false,
  max_position_embeddings: 256,
  diffusion: {
    canvas_slots: 12,
    prefix_tokens: 160,
    suffix_tokens: 80,
    reveal_threshold: 0.9,
    edit_threshold: 0.9,
    max_edits_per_slot: 2,
  },
};

/** A linear layer of integers -8…7 and a scale for every 32 along k. */
export interface Linear {
  n: number;
  k: number;
  values: Int8Array; // (n, k)
  scales: Float32Array; // (n, k/32), bfloat16 values
}

export interface Layer {
  inputNorm: Float32Array;
  qNorm: Float32Array;
  kNorm: Float32Array;
  postAttentionNorm: Float32Array;
  q: Linear;
  k: Linear;
  v: Linear;
  o: Linear;
  gate: Linear;
  up: Linear;
  down: Linear;
}

export interface Model {
  config: DenoiserConfig;
  embedding: { values: Int8Array; scales: Float32Array }; // (vocabulary, hidden), (vocabulary)
  layers: Layer[];
  finalNorm: Float32Array;
}

/** A tensor of the file, in the file's bytes. */
export interface FileTensor {
  name: string;
  dtype: string;
  shape: number[];
  bytes: Uint8Array;
}

export function randomModel(seed: number, json = SAMPLE_CONFIG): Model {
  const config = parseConfig(json);
  const random = mulberry32(seed);
  const integers = (count: number, low: number, high: number) =>
    Int8Array.from({ length: count }, () => low + Math.floor(random() * (high - low + 1)));
  const around = (count: number, center: number) =>
    Float32Array.from({ length: count }, () => toBfloat16(center * (0.7 + 0.6 * random())));
  // Integers spread evenly over -8…7 have a standard deviation of 4.6: outputs are about as large as inputs.
  const linear = (n: number, k: number): Linear => ({
    n,
    k,
    values: integers(n * k, -8, 7),
    scales: around((n * k) / 32, 1 / (4.6 * Math.sqrt(k))),
  });
  // Of full precision: products of bfloat16 and small integers would often lie right between two activations.
  const norm = (size: number) => Float32Array.from({ length: size }, () => 0.7 + 0.6 * random());
  const { hiddenSize, ffnSize, headDim, vocabSize } = config;
  const queryWidth = config.heads * headDim;
  const keyWidth = config.kvHeads * headDim;
  return {
    config,
    embedding: { values: integers(vocabSize * hiddenSize, -63, 63), scales: around(vocabSize, 0.02) },
    layers: Array.from({ length: config.layers }, () => ({
      inputNorm: norm(hiddenSize),
      qNorm: norm(headDim),
      kNorm: norm(headDim),
      postAttentionNorm: norm(hiddenSize),
      q: linear(queryWidth, hiddenSize),
      k: linear(keyWidth, hiddenSize),
      v: linear(keyWidth, hiddenSize),
      o: linear(hiddenSize, queryWidth),
      gate: linear(ffnSize, hiddenSize),
      up: linear(ffnSize, hiddenSize),
      down: linear(hiddenSize, ffnSize),
    })),
    finalNorm: norm(hiddenSize),
  };
}

/** Token ids of text, none of them special. */
export function randomIds(seed: number, count: number, vocabSize = SAMPLE_CONFIG.vocab_size): number[] {
  const random = mulberry32(seed);
  const reserved = new Set(Object.values(specialTokens));
  return Array.from({ length: count }, () => {
    let id = 0;
    do id = Math.floor(random() * vocabSize);
    while (reserved.has(id));
    return id;
  });
}

/** The tensors of a model in the order of its file. */
export function fileTensors(model: Model): FileTensor[] {
  const { hiddenSize, vocabSize } = model.config;
  const { values, scales } = model.embedding;
  return [
    { name: 'model.embed_tokens.weight', dtype: 'I8', shape: [vocabSize, hiddenSize], bytes: bytesOf(values) },
    { name: 'model.embed_tokens.weight_scale', dtype: 'BF16', shape: [vocabSize, 1], bytes: bfloat16Bytes(scales) },
    ...model.layers.flatMap((layer, index) => {
      const name = `model.layers.${index}`;
      return [
        vectorTensor(`${name}.input_layernorm.weight`, layer.inputNorm),
        vectorTensor(`${name}.post_attention_layernorm.weight`, layer.postAttentionNorm),
        vectorTensor(`${name}.self_attn.q_norm.weight`, layer.qNorm),
        vectorTensor(`${name}.self_attn.k_norm.weight`, layer.kNorm),
        ...linearTensors(`${name}.self_attn.q_proj`, layer.q),
        ...linearTensors(`${name}.self_attn.k_proj`, layer.k),
        ...linearTensors(`${name}.self_attn.v_proj`, layer.v),
        ...linearTensors(`${name}.self_attn.o_proj`, layer.o),
        ...linearTensors(`${name}.mlp.gate_proj`, layer.gate),
        ...linearTensors(`${name}.mlp.up_proj`, layer.up),
        ...linearTensors(`${name}.mlp.down_proj`, layer.down),
      ];
    }),
    vectorTensor('model.norm.weight', model.finalNorm),
  ];
}

function vectorTensor(name: string, values: Float32Array): FileTensor {
  return { name, dtype: 'F32', shape: [values.length], bytes: bytesOf(values) };
}

function linearTensors(name: string, { n, k, values, scales }: Linear): FileTensor[] {
  const packed = new Uint8Array((n * k) / 2);
  for (let i = 0; i < packed.length; i++) packed[i] = (values[2 * i]! + 8) | ((values[2 * i + 1]! + 8) << 4);
  return [
    { name: `${name}.weight_packed`, dtype: 'I32', shape: [n, k / 8], bytes: packed },
    { name: `${name}.weight_scale`, dtype: 'BF16', shape: [n, k / 32], bytes: bfloat16Bytes(scales) },
    { name: `${name}.weight_shape`, dtype: 'I64', shape: [2], bytes: bytesOf(BigInt64Array.of(BigInt(n), BigInt(k))) },
  ];
}

function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function toBfloat16(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer);
  bits[0]! &= 0xffff0000;
  return new Float32Array(bits.buffer)[0]!;
}

function bfloat16Bytes(values: Float32Array): Uint8Array {
  return bytesOf(Uint16Array.from(new Uint32Array(values.slice().buffer), (bits) => bits >>> 16));
}
