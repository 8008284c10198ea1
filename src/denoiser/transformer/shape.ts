/** The shape of a transformer of the Qwen family: the keys of `config.json` that both stream layouts share, checked. */

import * as z from 'zod';

/** The model's `config.json` is damaged or describes a network these kernels do not run. */
export class ConfigError extends Error {
  override name = 'ConfigError';
}

/** Weights that share a scale, along the input of a linear layer. */
export const GROUP_SIZE = 32;
/** Columns of a packed weight panel. */
const PANEL_COLUMNS = 8;
/** The largest head that the kernels take. */
const MAX_HEAD_DIM = 256;

export const count = z.int().positive();
export const probability = z.number().gt(0).max(1);

/** The keys of Hugging Face's Qwen2 and Qwen3. A stream layout replaces those it knows more of. */
export const shapeKeys = {
  hidden_size: count.multipleOf(GROUP_SIZE),
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: count,
  head_dim: count.multipleOf(16).max(MAX_HEAD_DIM),
  intermediate_size: count.multipleOf(GROUP_SIZE),
  vocab_size: count.multipleOf(PANEL_COLUMNS),
  rms_norm_eps: z.number().positive(),
  rope_theta: z.number().positive(),
  max_position_embeddings: count,
  hidden_act: z.literal('silu'),
  tie_word_embeddings: z.boolean(),
  /** Biases of the projections to queries, keys and values. */
  attention_bias: z.boolean(),
  /** RMSNorm of every query and key head. */
  qk_norm: z.boolean(),
};

const shapeSchema = z.object(shapeKeys);
type ShapeKeys = z.output<typeof shapeSchema>;

/** The shape of a transformer, independent of its stream layout. */
export interface TransformerShape {
  readonly hiddenSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly ffnSize: number;
  readonly vocabSize: number;
  readonly normEps: number;
  readonly ropeTheta: number;
  /** Positions that are used run up to maxPositions - 1; where streams run backwards, down to -(maxPositions - 1). */
  readonly maxPositions: number;
  /** Whether the embedding is also the head. */
  readonly hasTiedHead: boolean;
  readonly hasBiases: boolean;
  readonly hasQkNorm: boolean;
}

/** Parses JSON by the schema of a stream layout. Throws ConfigError that names every key at fault. */
export function parseConfigJson<Schema extends z.ZodType<ShapeKeys>>(schema: Schema, json: unknown): z.output<Schema> {
  const result = schema.safeParse(json);
  if (!result.success) throw new ConfigError(`config.json: ${z.prettifyError(result.error)}`);
  const c = result.data;
  const { num_attention_heads: heads, num_key_value_heads: kvHeads } = c;
  if (heads % kvHeads !== 0) {
    throw new ConfigError(
      `config.json: num_attention_heads ${heads} is not a multiple of num_key_value_heads ${kvHeads}`,
    );
  }
  if ((heads * c.head_dim) % GROUP_SIZE !== 0) {
    throw new ConfigError(`config.json: ${heads} heads of ${c.head_dim} are not a multiple of ${GROUP_SIZE}`);
  }
  return result.data;
}

/** Throws ConfigError when context and canvas take more positions than the model has. */
export function checkPositions(needed: number, { max_position_embeddings }: ShapeKeys): void {
  if (needed <= max_position_embeddings) return;
  throw new ConfigError(
    `config.json: context and canvas take ${needed} positions, max_position_embeddings is ${max_position_embeddings}`,
  );
}

/** @param maxPositions the positions that are used, if fewer than those of the model */
export function shapeOf(c: ShapeKeys, maxPositions = c.max_position_embeddings): TransformerShape {
  return {
    hiddenSize: c.hidden_size,
    layers: c.num_hidden_layers,
    heads: c.num_attention_heads,
    kvHeads: c.num_key_value_heads,
    headDim: c.head_dim,
    ffnSize: c.intermediate_size,
    vocabSize: c.vocab_size,
    normEps: c.rms_norm_eps,
    ropeTheta: c.rope_theta,
    maxPositions,
    hasTiedHead: c.tie_word_embeddings,
    hasBiases: c.attention_bias,
    hasQkNorm: c.qk_norm,
  };
}

/** Columns of the projections: queries, keys (and as many values), and all three side by side. */
export function projectionWidths({ heads, kvHeads, headDim }: Pick<TransformerShape, 'heads' | 'kvHeads' | 'headDim'>) {
  const queryWidth = heads * headDim;
  const keyWidth = kvHeads * headDim;
  return { queryWidth, keyWidth, qkvWidth: queryWidth + 2 * keyWidth };
}
