/** `config.json`: the shapes of the denoiser, in the key names of Hugging Face's Qwen3 plus a `diffusion` block. */

import * as z from 'zod';
import { ConfigError, GROUP_SIZE, type TransformerShape } from '../transformer/shape.ts';

/** Columns of a packed weight panel. */
const PANEL_COLUMNS = 8;

const count = z.int().positive();
const probability = z.number().gt(0).max(1);

const configSchema = z.object({
  model_type: z.literal('quicksilver'),
  hidden_size: count.multipleOf(GROUP_SIZE),
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: count,
  head_dim: z.literal(64),
  intermediate_size: count.multipleOf(GROUP_SIZE),
  vocab_size: count.multipleOf(PANEL_COLUMNS),
  rms_norm_eps: z.number().positive(),
  rope_theta: z.number().positive(),
  tie_word_embeddings: z.literal(true),
  hidden_act: z.literal('silu'),
  attention_bias: z.literal(false),
  max_position_embeddings: count,
  diffusion: z.object({
    canvas_slots: count,
    canvas_widths: z.array(count).min(1).optional(),
    prefix_tokens: count,
    suffix_tokens: count,
    reveal_threshold: probability,
    edit_threshold: probability,
    max_edits_per_slot: z.int().nonnegative(),
  }),
});

/** Shapes and limits of a denoiser; lengths in tokens. */
export interface DenoiserConfig extends TransformerShape {
  /** Positions run from -(maxPositions - 1) to maxPositions - 1. */
  readonly maxPositions: number;
  readonly diffusion: {
    /** Slots of the widest canvas. */
    readonly canvasSlots: number;
    /** Widths of canvas the model was trained on, ascending; the last is canvasSlots. */
    readonly canvasWidths: readonly number[];
    readonly prefixTokens: number;
    readonly suffixTokens: number;
    readonly revealThreshold: number;
    readonly editThreshold: number;
    readonly maxEditsPerSlot: number;
  };
}

/** Parsed `config.json` → checked shapes. Throws ConfigError that names every key at fault. */
export function parseConfig(json: unknown): DenoiserConfig {
  const result = configSchema.safeParse(json);
  if (!result.success) throw new ConfigError(`config.json: ${z.prettifyError(result.error)}`);
  const c = result.data;
  if (c.num_attention_heads % c.num_key_value_heads !== 0) {
    throw new ConfigError(
      `config.json: num_attention_heads ${c.num_attention_heads} is not a multiple of num_key_value_heads ${c.num_key_value_heads}`,
    );
  }
  // The marker, the text and one canvas on either side.
  const positions = 1 + Math.max(c.diffusion.prefix_tokens, c.diffusion.suffix_tokens) + c.diffusion.canvas_slots;
  if (positions > c.max_position_embeddings) {
    throw new ConfigError(
      `config.json: context and canvas take ${positions} positions, max_position_embeddings is ${c.max_position_embeddings}`,
    );
  }
  const widths = [...new Set(c.diffusion.canvas_widths ?? [c.diffusion.canvas_slots])].sort((a, b) => a - b);
  if (widths.at(-1) !== c.diffusion.canvas_slots) {
    throw new ConfigError(
      `config.json: the widest of canvas_widths is ${widths.at(-1)}, canvas_slots is ${c.diffusion.canvas_slots}`,
    );
  }
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
    maxPositions: c.max_position_embeddings,
    diffusion: {
      canvasSlots: c.diffusion.canvas_slots,
      canvasWidths: widths,
      prefixTokens: c.diffusion.prefix_tokens,
      suffixTokens: c.diffusion.suffix_tokens,
      revealThreshold: c.diffusion.reveal_threshold,
      editThreshold: c.diffusion.edit_threshold,
      maxEditsPerSlot: c.diffusion.max_edits_per_slot,
    },
  };
}
