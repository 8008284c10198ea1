/** A completion request free of its dialect, and the engine calls that answer it. */
import type { Completion, Decoding, Engine, Frame, GenerateRequest } from '../../engine/types.ts';
import { ApiError } from '../../http/errors.ts';
import { type EditorRules, forEditor } from '../editor/editor.ts';
import { type Cursor, isSingleLine } from '../editor/lines.ts';
import { showableEnd } from '../editor/showable.ts';
import { denoisingBound, type LengthParams, maxTokensOf } from './limits.ts';
import {
  completionWithLineEnds,
  frameWithLineEnds,
  type LineEnd,
  lineEndOf,
  readSides,
  withLineFeeds,
} from './line-ends.ts';
import { MAX_CHOICES, randomSeed } from './schema.ts';

/** A request as its dialect maps it. Choice `i` of prompt `p` has index `p * n + i` and seed `seed + i`. */
export interface CompletionCall {
  prompts: readonly PromptText[];
  n: number;
  seed: number;
  /** The prompt is put before each text. */
  echo: boolean;
  stream: boolean;
  diffusing: boolean;
  includeUsage: boolean;
  /** Applies the editor rules to each complete completion: a stream then holds back all but the last chunk. */
  editor?: EditorRules;
  /** Temperature of the choices after the first, where several greedy ones would all be the same. */
  alternativesTemperature?: number;
  /** Milliseconds that all choices may take together; each gets its share of the remaining time. */
  deadlineMs?: number;
  decoding: Omit<GenerateRequest, 'prefix' | 'prefixTokens' | 'uncutPrefix' | 'suffix' | 'seed' | 'deadlineMs'>;
}

/** A prompt as it was sent, and its text on both sides of the cursor. */
export interface PromptText extends Cursor {
  text: string;
  /** Token ids of the prefix, where it was sent as such. */
  tokens?: readonly number[];
  /** The text that the prefix was cut from, with line feeds; see GenerateRequest. */
  uncutPrefix?: string;
  /** Line ends of the file, if the prefix has other files too; taken from the text when absent. */
  lineEnd?: LineEnd;
}

interface SamplingParams extends LengthParams {
  temperature: number;
  top_p: number;
  stop: readonly string[];
  presence_penalty?: number;
  frequency_penalty?: number;
  max_steps?: number | undefined;
  t_max_predict_ms?: number | undefined;
}

/** Validated fields that every dialect has under the same name. */
export interface DecodingParams extends SamplingParams {
  suffix: string;
  n: number;
  seed?: number | undefined;
  stream: boolean;
  stream_options?: { include_usage: boolean } | undefined;
  diffusing: boolean | 'canvas';
  decoding?: Decoding;
  canvas_width?: number | undefined;
  freeze_after?: number | undefined;
  reuse?: boolean;
  deadline_ms?: number | undefined;
  reveal_threshold?: number | undefined;
  edit_threshold?: number | undefined;
  editor: boolean;
  min_confidence?: number | undefined;
}

interface CallOptions {
  echo?: boolean;
  logitBias?: ReadonlyMap<number, number>;
  /** Number of most probable tokens to report for each position. */
  alternatives?: number;
}

/**
 * Checks that involve several fields, and builds the call.
 * @throws ApiError 400 for too many choices, what only streams have without a stream, or a parameter without effect.
 */
export function toCall(
  prompts: readonly PromptText[],
  params: DecodingParams,
  { echo = false, logitBias, alternatives = 0 }: CallOptions = {},
): CompletionCall {
  if (prompts.length * params.n > MAX_CHOICES) throw invalid('n', `at most ${MAX_CHOICES} choices over all prompts.`);
  if (params.diffusing && !params.stream) throw invalid('diffusing', 'needs stream: true.');
  // As OpenAI's API does: options of a stream without a stream are a mistake of the client.
  if (params.stream_options && !params.stream) throw invalid('stream_options', 'needs stream: true.');
  if (params.min_confidence !== undefined && !params.editor) throw invalid('min_confidence', 'needs editor: true.');
  return {
    prompts,
    n: params.n,
    seed: params.seed ?? randomSeed(),
    echo,
    stream: params.stream,
    diffusing: params.diffusing !== false,
    includeUsage: params.stream_options?.include_usage ?? false,
    ...(params.editor && { editor: { minConfidence: params.min_confidence } }),
    ...(params.deadline_ms !== undefined && { deadlineMs: params.deadline_ms }),
    decoding: {
      ...samplingOf(params, prompts.length * params.n, logitBias),
      ...(alternatives > 0 && { alternatives }),
      ...(params.reveal_threshold !== undefined && { revealThreshold: params.reveal_threshold }),
      ...(params.edit_threshold !== undefined && { editThreshold: params.edit_threshold }),
      ...(params.canvas_width !== undefined && { canvasWidth: params.canvas_width }),
      ...(params.freeze_after !== undefined && { freezeAfter: params.freeze_after }),
      ...(params.reuse && { reuse: true }),
      ...(params.decoding === 'autoregressive' && { decoding: params.decoding }),
      ...(params.diffusing === 'canvas' && { showCanvas: true }),
    },
  };
}

/** Limits and sampling of a call with `n` choices; all dialects use the same field names. */
export function samplingOf(params: SamplingParams, choices: number, logitBias?: ReadonlyMap<number, number>) {
  const { stop, temperature, presence_penalty, frequency_penalty, max_steps } = params;
  return {
    maxTokens: maxTokensOf(params),
    stop,
    temperature,
    topP: params.top_p,
    ...(presence_penalty && { presencePenalty: presence_penalty }),
    ...(frequency_penalty && { frequencyPenalty: frequency_penalty }),
    ...(logitBias && logitBias.size > 0 && { logitBias }),
    ...(max_steps !== undefined && { maxSteps: max_steps }),
    ...denoisingBound(params, choices),
  };
}

export function invalid(param: string, message: string, code = 'invalid_parameter'): ApiError {
  return new ApiError(400, `${param}: ${message}`, { param, code });
}

/** The end of a choice. */
export interface FinishedChoice {
  type: 'end';
  index: number;
  prompt: PromptText;
  completion: Completion;
}

/** One denoising step of a choice, or its end. */
export type ChoiceEvent = { type: 'frame'; index: number; prompt: PromptText; frame: Frame } | FinishedChoice;

/**
 * Computes the choices of a call one after the other: there is one thread. Throws the signal's reason after an abort.
 */
export async function* generateChoices(
  engine: Engine,
  call: CompletionCall,
  signal: AbortSignal,
): AsyncGenerator<ChoiceEvent, void> {
  const startMs = performance.now();
  const choices = call.prompts.length * call.n;
  for (const [p, prompt] of call.prompts.entries()) {
    const lineEnd = prompt.lineEnd ?? lineEndOf(prompt);
    for (let i = 0; i < call.n; i++) {
      signal.throwIfAborted();
      const index = p * call.n + i;
      const cursor = readSides(prompt);
      const request = requestOf(call, { ...prompt, ...cursor }, i, engine);
      if (call.deadlineMs !== undefined) {
        const leftMs = call.deadlineMs - (performance.now() - startMs);
        request.deadlineMs = Math.max(0, leftMs) / (choices - index);
      }
      const frames = new CompletionCapture(engine.generate(request, signal));
      for await (const frame of frames) {
        yield { type: 'frame', index, prompt, frame: frameWithLineEnds(frame, lineEnd) };
      }
      const completion = withStopAsSent(frames.completion!, call.decoding.stop);
      const scale = engine.model.diffusion?.confidence;
      const shown = call.editor ? forEditor(completion, cursor, call.editor, scale) : completion;
      yield { type: 'end', index, prompt, completion: completionWithLineEnds(shown, lineEnd) };
    }
  }
}

/** The engine's request for choice `i` of a prompt. */
function requestOf(
  call: CompletionCall,
  { prefix, suffix, tokens, uncutPrefix }: PromptText,
  i: number,
  engine: Engine,
): GenerateRequest {
  const { decoding } = call;
  const stop = decoding.stop.map(withLineFeeds);
  return {
    ...decoding,
    prefix,
    ...(tokens && { prefixTokens: tokens }),
    ...(uncutPrefix !== undefined && uncutPrefix !== prefix && { uncutPrefix }),
    stop,
    suffix,
    // A longer completion than the model can write ends with finish_reason `length`, as any that meets its bound.
    maxTokens: Math.min(decoding.maxTokens, engine.model.maxOutputTokens),
    seed: (call.seed + i) >>> 0,
    ...(i > 0 && call.alternativesTemperature !== undefined && { temperature: call.alternativesTemperature }),
    // What would be cut off need not be computed. Another key follows soon, so the first answer in a file may be of
    // less text.
    ...(call.editor && {
      nearFirst: true,
      ...(isSingleLine({ prefix, suffix }) && { stop: [...stop, '\n'] }),
      ends: (text: string) => showableEnd(text, { prefix, suffix }),
    }),
  };
}

/**
 * The completion with its stop string as the client wrote it. If it ended at a line end that the request did not ask
 * for, the editor rules ended it.
 */
function withStopAsSent(completion: Completion, stops: readonly string[]): Completion {
  const found = completion.ending?.stop;
  if (found === undefined) return completion;
  const sent = stops.find((stop) => withLineFeeds(stop) === found);
  return { ...completion, ending: sent === undefined ? { by: 'editor' } : { by: 'stop', stop: sent } };
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
