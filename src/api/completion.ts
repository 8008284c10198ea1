/** A completion request free of its dialect, and the engine calls that answer it. */
import type { Completion, Engine, Frame, GenerateRequest } from '../engine/types.ts';
import { ApiError } from './errors.ts';
import { MAX_CHOICES } from './schema.ts';

/** What a dialect makes of its request. Choice `i` of prompt `p` has index `p * n + i` and seed `seed + i`. */
export interface CompletionCall {
  prompts: readonly string[];
  n: number;
  seed: number;
  /** The prompt is put before each text. */
  echo: boolean;
  stream: boolean;
  diffusing: boolean;
  includeUsage: boolean;
  decoding: Omit<GenerateRequest, 'prefix' | 'seed'>;
}

/** Validated fields that every dialect has under the same name. */
export interface DecodingParams {
  suffix: string;
  max_tokens: number;
  temperature: number;
  top_p: number;
  n: number;
  seed?: number | undefined;
  stop: readonly string[];
  stream: boolean;
  stream_options?: { include_usage: boolean } | undefined;
  diffusing: boolean;
  max_steps?: number | undefined;
  reveal_threshold?: number | undefined;
  edit_threshold?: number | undefined;
}

/**
 * Checks what no single field shows, and gathers the call.
 * @throws ApiError 400 for nothing to complete, too many choices, or a canvas stream without a stream.
 */
export function toCall(prompt: string | readonly string[], params: DecodingParams, echo = false): CompletionCall {
  const prompts = typeof prompt === 'string' ? [prompt] : prompt;
  if (params.suffix === '' && prompts.includes('')) {
    throw new ApiError(400, 'prompt: is empty and there is no suffix either.', {
      param: 'prompt',
      code: 'invalid_parameter',
    });
  }
  if (prompts.length * params.n > MAX_CHOICES) {
    throw new ApiError(400, `n: at most ${MAX_CHOICES} choices over all prompts.`, {
      param: 'n',
      code: 'invalid_parameter',
    });
  }
  if (params.diffusing && !params.stream) {
    throw new ApiError(400, 'diffusing: needs stream: true.', { param: 'diffusing', code: 'invalid_parameter' });
  }
  return {
    prompts,
    n: params.n,
    seed: params.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]!,
    echo,
    stream: params.stream,
    diffusing: params.diffusing,
    includeUsage: params.stream_options?.include_usage ?? false,
    decoding: {
      suffix: params.suffix,
      maxTokens: params.max_tokens,
      stop: params.stop,
      temperature: params.temperature,
      topP: params.top_p,
      ...(params.max_steps !== undefined && { maxSteps: params.max_steps }),
      ...(params.reveal_threshold !== undefined && { revealThreshold: params.reveal_threshold }),
      ...(params.edit_threshold !== undefined && { editThreshold: params.edit_threshold }),
    },
  };
}

/** One denoising step of a choice, or its end. */
export type ChoiceEvent =
  | { type: 'frame'; index: number; prompt: string; frame: Frame }
  | { type: 'end'; index: number; prompt: string; completion: Completion };

/** Computes the choices of a call one after the other: there is one thread. Throws the signal's reason after an abort. */
export async function* generateChoices(
  engine: Engine,
  call: CompletionCall,
  signal: AbortSignal,
): AsyncGenerator<ChoiceEvent, void> {
  // A longer completion than the model can write ends with finish_reason `length`, as any that meets its bound.
  const maxTokens = Math.min(call.decoding.maxTokens, engine.model.maxOutputTokens);
  for (const [p, prompt] of call.prompts.entries()) {
    for (let i = 0; i < call.n; i++) {
      signal.throwIfAborted();
      const index = p * call.n + i;
      const request = { ...call.decoding, maxTokens, prefix: prompt, seed: (call.seed + i) >>> 0 };
      const frames = new CompletionCapture(engine.generate(request, signal));
      for await (const frame of frames) yield { type: 'frame', index, prompt, frame };
      yield { type: 'end', index, prompt, completion: frames.completion! };
    }
  }
}

/** Iterates frames with `for await`, which would drop the completion that the generator returns. */
class CompletionCapture {
  completion?: Completion;
  readonly #frames: AsyncGenerator<Frame, Completion>;

  constructor(frames: AsyncGenerator<Frame, Completion>) {
    this.#frames = frames;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Frame, void> {
    this.completion = yield* this.#frames;
  }
}
