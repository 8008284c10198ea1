/** A completion request as the page makes it, and as the API gets it. */
import type { Decoding } from '../../../src/engine/types.ts';

/** How to decode; what is undefined is left to the service. */
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
  /** Not read where decoding is autoregressive. */
  suffix: string;
  stop: readonly string[];
  decoding: Decoding;
  /** Answer what an editor can show. */
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
