/** What the files of a model tell its users: its size, its quantization, its training data. */
import * as z from 'zod';
import type { StoredModel } from '../engine/types.ts';
import { fileOf, type Manifest, WEIGHTS } from './manifest.ts';

const count = z.int().positive();

/** Hugging Face's key names; a file without them still makes a model, whose engine checks what it needs. */
const shape = z.object({
  hidden_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: count,
  head_dim: count,
  intermediate_size: count,
  vocab_size: count,
  tie_word_embeddings: z.boolean(),
  attention_bias: z.boolean(),
  /** Absent in the models of this project, which normalize queries and keys. */
  qk_norm: z.boolean().default(true),
});

/** Of compressed-tensors: https://github.com/vllm-project/compressed-tensors */
const quantization = z.object({
  quantization_config: z.object({
    config_groups: z.record(z.string(), z.object({ weights: z.object({ num_bits: count }) })),
  }),
});

/** @param config parsed JSON of config.json */
export function storedModelOf(manifest: Manifest, config: unknown): StoredModel {
  const shapes = shape.safeParse(config);
  const quantized = quantization.safeParse(config);
  const bits = quantized.success
    ? Object.values(quantized.data.quantization_config.config_groups).map(({ weights }) => weights.num_bits)
    : [];
  return {
    size: manifest.files.reduce((sum, { size }) => sum + size, 0),
    digest: fileOf(manifest, WEIGHTS).sha256,
    ...(shapes.success && { parameters: parametersOf(shapes.data) }),
    // The layers have the fewest bits and by far the most weights.
    ...(bits.length > 0 && { bits: Math.min(...bits) }),
    languages: manifest.languages ?? [],
  };
}

/** Trained numbers of a transformer of the Qwen family. */
function parametersOf(config: z.output<typeof shape>): number {
  const { hidden_size, num_hidden_layers, intermediate_size, vocab_size, head_dim, tie_word_embeddings } = config;
  const queries = config.num_attention_heads * head_dim;
  const keysAndValues = 2 * config.num_key_value_heads * head_dim;
  const attention = hidden_size * (2 * queries + keysAndValues);
  const mlp = 3 * hidden_size * intermediate_size;
  const biases = config.attention_bias ? queries + keysAndValues : 0;
  const norms = 2 * hidden_size + (config.qk_norm ? 2 * head_dim : 0);
  const embeddings = (tie_word_embeddings ? 1 : 2) * vocab_size * hidden_size;
  return embeddings + num_hidden_layers * (attention + mlp + biases + norms) + hidden_size;
}
