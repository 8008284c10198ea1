/**
 * The converted checkpoints of test/golden: tiny models of Qwen's families, under any of the attentions that the
 * runtime knows.
 */

import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { readJson } from '../golden-files.ts';

export type Attention = 'bidirectional' | 'block-causal';
export type Logits = 'slot' | 'shifted';

export interface ConfigJson {
  vocab_size: number;
  diffusion: Record<string, unknown>;
}

export const checkpoints = new URL('../../golden/checkpoints/', import.meta.url);

const { block } = readJson<{ block: number }>(new URL('qwen.json', checkpoints));

export function configOf(family: string, attention: Attention, logits: Logits): ConfigJson {
  const json: ConfigJson = readJson(new URL(`${family}/config.json`, checkpoints));
  const blocks = attention === 'block-causal' && { block_size: block };
  return { ...json, diffusion: { ...json.diffusion, attention, logits, ...blocks } };
}

export const weightsOf = (family: string) => async () =>
  Readable.toWeb(createReadStream(new URL(`${family}/model.safetensors`, checkpoints))) as ReadableStream<Uint8Array>;
