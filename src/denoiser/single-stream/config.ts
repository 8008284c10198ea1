/**
 * `config.json` of a public diffusion checkpoint of the Qwen2 or Qwen3 family, as `training/export/convert.py` writes
 * it: the key names of Hugging Face, and a `diffusion` block: its attention, and which rows predict which slots.
 *
 * Context and canvas are one stream of tokens at consecutive positions. `bidirectional`: every token sees every other
 * one (Dream, arXiv 2508.15487), so that nothing of the context can be kept from one step to the next. `block-causal`:
 * tokens see their block and all blocks before it (BD3-LM, arXiv 2503.09573; Fast-dLLM v2, arXiv 2509.26328), so that
 * whole blocks on the left are computed once.
 */

import * as z from 'zod';
import {
  ConfigError,
  checkPositions,
  count,
  parseConfigJson,
  probability,
  shapeKeys,
  shapeOf,
  type TransformerShape,
} from '../transformer/shape.ts';

const id = z.int().nonnegative();

const schema = z.object({
  ...shapeKeys,
  model_type: z.enum(['qwen2', 'qwen3']),
  diffusion: z.object({
    attention: z.enum(['bidirectional', 'block-causal']),
    /** Tokens of a block; block-causal only. */
    block_size: count.optional(),
    /** Whether a row predicts the token at its own position or the next one. */
    logits: z.enum(['slot', 'shifted']),
    mask_token_id: id,
    /** Tokens that end a text, the first one also begins one that has no beginning. */
    end_token_ids: z.array(id).min(1),
    /**
     * Tokens that announce left text, right text and the middle, for a model that has learned to fill in and sees no
     * right context.
     */
    fim_token_ids: z.object({ prefix: id, suffix: id, middle: id }).optional(),
    canvas_slots: count,
    prefix_tokens: count,
    suffix_tokens: z.int().nonnegative(),
    reveal_threshold: probability,
  }),
});

/** Shapes and limits; lengths in tokens. `maxPositions` are those of the longest context with its canvases. */
export interface SingleStreamConfig extends TransformerShape {
  readonly diffusion: {
    readonly attention: 'bidirectional' | 'block-causal';
    /** 0 where there are no blocks. */
    readonly blockSize: number;
    readonly isShifted: boolean;
    readonly maskTokenId: number;
    readonly endTokenIds: readonly number[];
    readonly fimTokenIds: { readonly prefix: number; readonly suffix: number; readonly middle: number } | undefined;
    readonly canvasSlots: number;
    readonly prefixTokens: number;
    readonly suffixTokens: number;
    readonly revealThreshold: number;
    /** Tokens that a completion may have: as many as the context on its left may grow by. */
    readonly maxOutputTokens: number;
  };
}

/** Output beyond the prompt for which there is room, if the model has the positions. */
const OUTPUT_CANVASES = 8;

/** Whether a parsed `config.json` is of this family. */
export function isSingleStream(json: unknown): boolean {
  return schema.pick({ model_type: true }).safeParse(json).success;
}

/** Parsed `config.json` → checked shapes. Throws ConfigError that names every key at fault. */
export function parseSingleStreamConfig(json: unknown): SingleStreamConfig {
  const c = parseConfigJson(schema, json);
  const d = c.diffusion;
  checkPositions(d.prefix_tokens + d.suffix_tokens + d.canvas_slots, c);
  const wrong = contradiction(c);
  if (wrong) throw new ConfigError(`config.json: ${wrong}`);
  const room = c.max_position_embeddings - d.prefix_tokens - d.suffix_tokens;
  const maxOutputTokens = Math.min(OUTPUT_CANVASES, Math.floor(room / d.canvas_slots)) * d.canvas_slots;
  return {
    ...shapeOf(c, d.prefix_tokens + d.suffix_tokens + maxOutputTokens),
    diffusion: {
      attention: d.attention,
      blockSize: d.block_size ?? 0,
      isShifted: d.logits === 'shifted',
      maskTokenId: d.mask_token_id,
      endTokenIds: d.end_token_ids,
      fimTokenIds: d.fim_token_ids,
      canvasSlots: d.canvas_slots,
      prefixTokens: d.prefix_tokens,
      suffixTokens: d.suffix_tokens,
      revealThreshold: d.reveal_threshold,
      maxOutputTokens,
    },
  };
}

/** What no single key shows. */
function contradiction({ vocab_size, diffusion: d }: z.output<typeof schema>): string | undefined {
  if ((d.attention === 'block-causal') !== (d.block_size !== undefined)) {
    return 'block_size belongs to block-causal attention, and only to it';
  }
  if (d.block_size !== undefined && d.canvas_slots > d.block_size) {
    return `canvas_slots ${d.canvas_slots} do not fit a block of ${d.block_size}`;
  }
  const ids = [d.mask_token_id, ...d.end_token_ids, ...Object.values(d.fim_token_ids ?? {})];
  const unknown = ids.find((token) => token >= vocab_size);
  return unknown === undefined ? undefined : `token ${unknown} is not one of vocab_size ${vocab_size}`;
}
