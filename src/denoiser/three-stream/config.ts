/** `config.json`: the shapes of the denoiser, in the key names of Hugging Face's Qwen3 plus a `diffusion` block. */

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

/** For a model that names none. Chosen from a curve of quality against cost (`npm run bench:quality`). */
const DEFAULT_CANVAS_WIDTH = 2;

const configSchema = z.object({
  ...shapeKeys,
  model_type: z.literal('quicksilver'),
  head_dim: z.literal(64),
  tie_word_embeddings: z.literal(true),
  attention_bias: z.literal(false),
  qk_norm: z.boolean().default(true),
  diffusion: z.object({
    shifted: z.boolean().default(false),
    suffix_order: z.enum(['backward', 'forward']).default('backward'),
    ends_before_suffix: z.boolean().default(false),
    keeps_rows: z.boolean().default(false),
    canvas_slots: count,
    canvas_widths: z.array(count).min(1).optional(),
    canvas_width: count.optional(),
    prefix_tokens: count,
    suffix_tokens: count,
    reveal_threshold: probability,
    edit_threshold: probability,
    max_edits_per_slot: z.int().nonnegative(),
    context_ngrams: z.object({ bias: z.number(), length: z.number(), share: z.number(), count: z.number() }).optional(),
    confidence: z
      .object({
        bias: z.number(),
        mean: z.number(),
        odds: z.number(),
        open: z.number().default(0),
        least_shown: probability,
      })
      .optional(),
  }),
});

/**
 * How probably a completion is right, as a logistic function of the probabilities of its tokens:
 * 1 / (1 + exp(−(bias + mean · mean of their logarithms + odds · ln(p / (1 − p))))), p being the product of theirs
 * and that of the token that ended it; `open` is added if no token ended it. Fitted on held-out files
 * (training/evaluation/editor_places.py).
 */
export interface ConfidenceScale {
  readonly bias: number;
  readonly mean: number;
  readonly odds: number;
  readonly open: number;
  /** Below it an editor shows nothing, unless a request says otherwise. */
  readonly leastShown: number;
}

/**
 * The weight λ of what followed the same tokens elsewhere in the text (diffusion/context-ngrams.ts), a logistic
 * function of the longest match: 1 / (1 + exp(−(bias + length · ln(its tokens) + share · (share of the most frequent
 * next token) + count · ln(number of matches of this length)))). Fitted on held-out files
 * (training/evaluation/ngram_weights.py).
 */
export interface NgramWeights {
  readonly bias: number;
  readonly length: number;
  readonly share: number;
  readonly count: number;
}

/** Shapes and limits of a denoiser; lengths in tokens. */
export interface DenoiserConfig extends TransformerShape {
  readonly diffusion: {
    /**
     * Whether a row predicts the slot after its token, as a language model does. Then the last known token is the first
     * row of a canvas, and the token at the cursor is completed.
     */
    readonly isShifted: boolean;
    /** How the suffix stream reads: from its end, or from the cursor on. */
    readonly suffixOrder: 'backward' | 'forward';
    /** Whether a completion ends where the model would write the beginning of the suffix, instead of its end token. */
    readonly endsBeforeSuffix: boolean;
    /**
     * Whether what has been written on canvases of one slot stays as their rows were computed, with the suffix in view.
     * Otherwise it is read again, as a part of the prefix.
     */
    readonly keepsRows: boolean;
    /** Slots of the widest canvas. */
    readonly canvasSlots: number;
    /** Widths of canvas the model was trained on, ascending; the last is canvasSlots. */
    readonly canvasWidths: readonly number[];
    /** The one that the service opens unless a request says otherwise. */
    readonly canvasWidth: number;
    readonly prefixTokens: number;
    readonly suffixTokens: number;
    readonly revealThreshold: number;
    readonly editThreshold: number;
    readonly maxEditsPerSlot: number;
    /** Whether n-grams of the text are mixed into the predictions, and with what weights. */
    readonly ngramWeights?: NgramWeights;
    readonly confidence?: ConfidenceScale;
  };
}

/** Tokens of output that fit after a full prefix, a multiple of the canvas. */
export function maxOutputTokens({ maxPositions, diffusion }: DenoiserConfig): number {
  const { prefixTokens, canvasSlots } = diffusion;
  return Math.floor((maxPositions - 1 - prefixTokens) / canvasSlots) * canvasSlots;
}

/**
 * What is read first of a text that no context has, in tokens: a quarter of the window of `small`. The tokens before
 * the cursor are whole steps of its window (src/engine/prompt.ts), here and below, so that both move together.
 */
const NEAR: NearWindow = { prefixTokens: 256, suffixTokens: 64 };
/** What is read where memory is too short for near windows: with the markers and a short output six pages. */
const NARROW: NearWindow = { prefixTokens: 128, suffixTokens: 31 };
/** A window of less than this many times the near one is read as a whole. */
const NEAR_SHARE = 3;

/** A near window: tokens next to the cursor on both sides. */
export interface NearWindow {
  readonly prefixTokens: number;
  readonly suffixTokens: number;
}

/**
 * The near windows of a model, widest first, if it has any: its window is wide, and its suffix stream reads from the
 * cursor on, so that what is read of it first is the beginning of the whole.
 */
export function nearWindows({ diffusion }: DenoiserConfig): readonly NearWindow[] {
  const { prefixTokens, suffixTokens, suffixOrder } = diffusion;
  const isWide = prefixTokens + suffixTokens >= NEAR_SHARE * (NEAR.prefixTokens + NEAR.suffixTokens);
  return suffixOrder === 'forward' && isWide ? [NEAR, NARROW] : [];
}

/** Parsed `config.json` → checked shapes. Throws ConfigError that names every key at fault. */
export function parseConfig(json: unknown): DenoiserConfig {
  const c = parseConfigJson(configSchema, json);
  const d = c.diffusion;
  // The marker, the text and one canvas on either side.
  checkPositions(1 + Math.max(d.prefix_tokens, d.suffix_tokens) + d.canvas_slots, c);
  const widths = [...new Set(d.canvas_widths ?? [d.canvas_slots])].sort((a, b) => a - b);
  if (widths.at(-1) !== d.canvas_slots) {
    throw new ConfigError(
      `config.json: the widest of canvas_widths is ${widths.at(-1)}, canvas_slots is ${d.canvas_slots}`,
    );
  }
  if (d.canvas_width !== undefined && !widths.includes(d.canvas_width)) {
    throw new ConfigError(`config.json: canvas_width is ${d.canvas_width}, canvas_widths has ${widths.join(', ')}`);
  }
  if (d.keeps_rows && !(d.shifted && widths.includes(1))) {
    throw new ConfigError('config.json: keeps_rows is for shifted models with canvases of one slot');
  }
  return {
    ...shapeOf(c),
    diffusion: {
      isShifted: d.shifted,
      suffixOrder: d.suffix_order,
      endsBeforeSuffix: d.ends_before_suffix,
      keepsRows: d.keeps_rows,
      canvasSlots: d.canvas_slots,
      canvasWidths: widths,
      canvasWidth: d.canvas_width ?? widths.findLast((width) => width <= DEFAULT_CANVAS_WIDTH) ?? widths[0]!,
      prefixTokens: d.prefix_tokens,
      suffixTokens: d.suffix_tokens,
      revealThreshold: d.reveal_threshold,
      editThreshold: d.edit_threshold,
      maxEditsPerSlot: d.max_edits_per_slot,
      ...(d.context_ngrams && { ngramWeights: d.context_ngrams }),
      ...(d.confidence && {
        confidence: {
          bias: d.confidence.bias,
          mean: d.confidence.mean,
          odds: d.confidence.odds,
          open: d.confidence.open,
          leastShown: d.confidence.least_shown,
        },
      }),
    },
  };
}
