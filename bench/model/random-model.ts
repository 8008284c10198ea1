/**
 * Models of random weights in the real file format, written to a folder: speed, memory and loading do not depend on the
 * values of weights. `small` has the shape of the bundled model of that name; `large` has 120 million parameters, the
 * most that an isolate should hold.
 */

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { type DenoiserConfig, parseConfig } from '../../src/denoiser/three-stream/config.ts';
import { MODEL_FOLDER } from '../engine.ts';

export type RandomModel = 'nano-random' | 'small' | 'large';

const SHAPES = {
  'nano-random': { hidden_size: 256, layers: 6, heads: 4, kvHeads: 2, intermediate_size: 704, vocab_size: 4096 },
  small: { hidden_size: 576, layers: 27, heads: 9, kvHeads: 3, intermediate_size: 992, vocab_size: 15_616 },
  large: { hidden_size: 768, layers: 12, heads: 12, kvHeads: 4, intermediate_size: 2816, vocab_size: 32_768 },
} as const;

const BUFFER_BYTES = 2 ** 20;
/** Scales of an embedding row and of a group of weights, as in a trained model, in bfloat16. */
const EMBEDDING_SCALE_BITS = 0x3a80; // 2^-10
const GROUP_SCALE_BITS = 0x3c00; // 2^-7

interface Tensor {
  name: string;
  dtype: 'I8' | 'I32' | 'I64' | 'BF16' | 'F32';
  shape: number[];
  /** Fills bytes with the content of the tensor. */
  fill: (bytes: Buffer) => void;
}

/** `config.json` of a random model: that of the bundled one in another shape. */
export async function randomConfig(model: RandomModel): Promise<Record<string, unknown>> {
  const { layers, heads, kvHeads, ...shape } = SHAPES[model];
  const bundled = JSON.parse(await readFile(new URL('config.json', MODEL_FOLDER), 'utf8'));
  return {
    ...bundled,
    ...shape,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
  };
}

/** Writes the four files of a model to `folder`. Returns its config and its number of parameters. */
export async function writeRandomModel(
  folder: string,
  model: RandomModel,
  name: string,
): Promise<{ config: DenoiserConfig; parameters: number }> {
  await mkdir(folder, { recursive: true });
  const json = await randomConfig(model);
  const config = parseConfig(json);
  const list = tensors(config);
  await writeFile(join(folder, 'config.json'), JSON.stringify(json));
  await copyFile(fileURLToPath(new URL('tokenizer.json', MODEL_FOLDER)), join(folder, 'tokenizer.json'));
  const weights = await writeTensors(join(folder, 'model.safetensors'), list);
  const others = ['config.json', 'tokenizer.json'].map(async (path) => {
    const content = await readFile(join(folder, path));
    return { path, size: content.length, sha256: createHash('sha256').update(content).digest('hex') };
  });
  const files = [...(await Promise.all(others)), { path: 'model.safetensors', ...weights }];
  await writeFile(join(folder, 'manifest.json'), JSON.stringify({ name, created: 1, files }));
  const parameters = list.reduce((sum, { name: tensor, shape }) => {
    if (!/weight(_packed)?$/.test(tensor)) return sum;
    return sum + shape.reduce((a, b) => a * b, 1) * (tensor.endsWith('_packed') ? 8 : 1);
  }, 0);
  return { config, parameters };
}

function tensors({ hiddenSize, ffnSize, headDim, heads, kvHeads, layers, vocabSize }: DenoiserConfig): Tensor[] {
  const linear = (name: string, n: number, k: number): Tensor[] => [
    { name: `${name}.weight_packed`, dtype: 'I32', shape: [n, k / 8], fill: fillRandom },
    { name: `${name}.weight_scale`, dtype: 'BF16', shape: [n, k / 32], fill: fillHalves(GROUP_SCALE_BITS) },
    {
      name: `${name}.weight_shape`,
      dtype: 'I64',
      shape: [2],
      fill: (bytes) => {
        bytes.writeBigInt64LE(BigInt(n));
        bytes.writeBigInt64LE(BigInt(k), 8);
      },
    },
  ];
  const ones = (name: string, size: number): Tensor => ({ name, dtype: 'F32', shape: [size], fill: fillOnes });
  return [
    { name: 'model.embed_tokens.weight', dtype: 'I8', shape: [vocabSize, hiddenSize], fill: fillSevenBits },
    {
      name: 'model.embed_tokens.weight_scale',
      dtype: 'BF16',
      shape: [vocabSize, 1],
      fill: fillHalves(EMBEDDING_SCALE_BITS),
    },
    ...Array.from({ length: layers }, (_, index) => {
      const layer = `model.layers.${index}`;
      return [
        ones(`${layer}.input_layernorm.weight`, hiddenSize),
        ones(`${layer}.post_attention_layernorm.weight`, hiddenSize),
        ones(`${layer}.self_attn.q_norm.weight`, headDim),
        ones(`${layer}.self_attn.k_norm.weight`, headDim),
        ...linear(`${layer}.self_attn.q_proj`, heads * headDim, hiddenSize),
        ...linear(`${layer}.self_attn.k_proj`, kvHeads * headDim, hiddenSize),
        ...linear(`${layer}.self_attn.v_proj`, kvHeads * headDim, hiddenSize),
        ...linear(`${layer}.self_attn.o_proj`, hiddenSize, heads * headDim),
        ...linear(`${layer}.mlp.gate_proj`, ffnSize, hiddenSize),
        ...linear(`${layer}.mlp.up_proj`, ffnSize, hiddenSize),
        ...linear(`${layer}.mlp.down_proj`, hiddenSize, ffnSize),
      ];
    }).flat(),
    ones('model.norm.weight', hiddenSize),
  ];
}

const ELEMENT_BYTES = { I8: 1, BF16: 2, I32: 4, F32: 4, I64: 8 } as const;

async function writeTensors(path: string, list: readonly Tensor[]): Promise<{ size: number; sha256: string }> {
  const header: Record<string, unknown> = {};
  let end = 0;
  const sizes = list.map(({ name, dtype, shape }) => {
    const size = shape.reduce((product, length) => product * length, ELEMENT_BYTES[dtype]);
    header[name] = { dtype, shape, data_offsets: [end, end + size] };
    end += size;
    return size;
  });
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const hash = createHash('sha256');
  const file: WriteStream = createWriteStream(path);
  const write = async (bytes: Buffer) => {
    hash.update(bytes);
    if (!file.write(bytes)) await once(file, 'drain');
  };
  await write(length);
  await write(text);
  for (const [index, { fill }] of list.entries()) {
    for (let left = sizes[index]!; left > 0; left -= BUFFER_BYTES) {
      const bytes = Buffer.alloc(Math.min(left, BUFFER_BYTES));
      fill(bytes);
      await write(bytes);
    }
  }
  file.end();
  await finished(file);
  return { size: 8 + text.length + end, sha256: hash.digest('hex') };
}

let state = 1;
function nextBits(): number {
  // xorshift32 (Marsaglia 2003)
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return state;
}

function fillRandom(bytes: Buffer): void {
  for (let at = 0; at < bytes.length; at += 4) bytes.writeInt32LE(nextBits(), at);
}

/** int8 in [-63, 63]. */
function fillSevenBits(bytes: Buffer): void {
  for (let at = 0; at < bytes.length; at++) bytes.writeInt8(nextBits() % 64, at);
}

function fillOnes(bytes: Buffer): void {
  for (let at = 0; at < bytes.length; at += 4) bytes.writeFloatLE(1, at);
}

function fillHalves(bits: number): (bytes: Buffer) => void {
  return (bytes) => {
    for (let at = 0; at < bytes.length; at += 2) bytes.writeUInt16LE(bits, at);
  };
}
