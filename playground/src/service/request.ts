/** A completion request of the page, and its body for the API. */
import type { Decoding } from '../../../src/engine/types.ts';

/** Decoding settings; undefined ones are the defaults of the service. */
export interface DecodingChoices {
  maxTokens: number;
  temperature: number;
  seed: number;
  revealThreshold: number | undefined;
  editThreshold: number | undefined;
  maxSteps: number | undefined;
  canvasWidth: number | undefined;
}

export interface CompletionRequest extends DecodingChoices {
  model: string;
  prefix: string;
  /** Ignored by autoregressive decoding. */
  suffix: string;
  stop: readonly string[];
  decoding: Decoding;
  /** Return only what an editor can show. */
  editor: boolean;
}

/** The body for POST /v1/completions. */
export function bodyOf(request: CompletionRequest): Record<string, unknown> {
  const { model, prefix, suffix, maxTokens, temperature, seed, stop, decoding, editor } = request;
  const denoising = {
    suffix,
    max_steps: request.maxSteps,
    reveal_threshold: request.revealThreshold,
    edit_threshold: request.editThreshold,
    canvas_width: request.canvasWidth,
  };
  const body = {
    model,
    prompt: prefix,
    ...(decoding === 'diffusion' ? denoising : { decoding }),
    max_tokens: maxTokens,
    temperature,
    seed,
    ...(stop.length > 0 && { stop }),
    ...(editor && { editor }),
  };
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined));
}
