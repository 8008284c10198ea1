/**
 * The interface between the HTTP dialects and the engines that generate text.
 *
 * Dialects (src/api) know only these types; they never see canvases or kernels, and only ids of tokens.
 */

import type { ConfidenceScale } from '../denoiser/three-stream/config.ts';

export type { ConfidenceScale };

/** One completion to generate: text on the left of the cursor, text on its right, and how to decode. */
export interface GenerateRequest {
  prefix: string;
  /** Token ids that `prefix` is the text of, all of them text: the model reads these, where there are any. */
  prefixTokens?: readonly number[];
  /** The text that `prefix` was cut from, where a caller has cut it: the model does not read it, its n-grams do. */
  uncutPrefix?: string;
  /** Text to the right of the cursor; the empty string asks for a plain continuation. */
  suffix: string;
  /**
   * Upper bound of emitted tokens, at most `model.maxOutputTokens`. 0 emits nothing: the text around the cursor is
   * prefilled into the cache for the next request.
   */
  maxTokens: number;
  /** Stop strings: the text ends before the first one found. */
  stop: readonly string[];
  /**
   * Says where the text ends for a reason of the caller's, for example because an editor would not show more of it: a
   * length in UTF-16 units, or undefined while it may continue. Called with beginnings of the text; its result must not
   * change as the text grows.
   */
  ends?: (text: string) => number | undefined;
  /** 0 is greedy decoding; the choice of token is sampled above 0. */
  temperature: number;
  /** Nucleus of the probability mass to sample from, in (0, 1]. */
  topP: number;
  /** Unsigned 32-bit integer. The same seed and request give the same text. */
  seed: number;
  /** Penalties on the logits of tokens that have been written, as in OpenAI's API, in [-2, 2]; none when absent. */
  presencePenalty?: number;
  frequencyPenalty?: number;
  /** Added to the logits of tokens, by their ids. */
  logitBias?: ReadonlyMap<number, number>;
  /** Number of most probable tokens to report for each emitted token. */
  alternatives?: number;
  /** Denoising steps the whole request may take. */
  maxSteps?: number;
  /**
   * Milliseconds from the call on, queueing and prefill included, after which the request ends as if its steps were
   * used up: after at least one step, and at most one step late. The clock of the deployed Workers runtime advances
   * only with I/O (https://developers.cloudflare.com/workers/runtime-apis/performance/), so that the deadline can pass
   * unnoticed there; `maxSteps` is the limit that always works.
   */
  deadlineMs?: number;
  /** The same from the first denoising step on. */
  maxDenoisingMs?: number;
  /** Confidence at which a slot is revealed, in (0, 1]; the model's own when absent. */
  revealThreshold?: number;
  /** Probability at which a revealed token is edited, in (0, 1]; the model's own when absent. */
  editThreshold?: number;
  /** Slots of each canvas, one of `model.diffusion.canvasWidths`; the engine's choice when absent. */
  canvasWidth?: number;
  /**
   * Passes over a revealed slot after which it is frozen: its token, keys and values stay, and it is not computed any
   * more. At least 1; infinity computes all slots at each step. The engine's own when absent.
   */
  freezeAfter?: number;
  /**
   * The request may be answered by the rest of an earlier completion with the same settings, when its beginning has
   * been typed since. That takes no step, and can differ from what the model would generate for the longer prefix.
   */
  reuse?: boolean;
  /**
   * A text that is not in the cache may be answered from the tokens next to the cursor, by a model with a near window;
   * the rest is read between requests, for those that follow. The answer then depends on what the cache has.
   */
  nearFirst?: boolean;
  /**
   * Called with work that goes on after the request, for those that follow: the platform has to keep the request's
   * context alive until it settles. Each work is given to one request.
   */
  keepAlive?: (work: Promise<void>) => void;
  /** `diffusion` when absent. */
  decoding?: Decoding;
  /** Whether frames have a `canvas`. */
  showCanvas?: boolean;
}

/**
 * - `diffusion`: canvases are denoised.
 * - `autoregressive`: the same weights as a next-token model, from left to right: the baseline of diffusion. Each frame
 *   is one token on the leftmost undecided slot. It only reads the prefix (`suffix` has to be empty) and has no
 *   thresholds.
 */
export type Decoding = 'diffusion' | 'autoregressive';

/** The state of a completion after one denoising step. */
export interface Frame {
  /** The whole completion so far, with the current canvas; mask slots are left out. */
  text: string;
  /**
   * The part of `text` that will not change any more. It only grows from frame to frame, is whole UTF-8 and never ends
   * in a partial stop string, so that what it gained since the last frame can be sent as a delta.
   */
  settled: string;
  /** With `showCanvas`. */
  canvas?: CanvasView;
}

/** A canvas after a step, slot by slot: the visible state of denoising. */
export interface CanvasView {
  /** Number of the step in its completion, from 1 on. */
  step: number;
  /** Number of the canvas in its completion, from 0 on. */
  block: number;
  /** Milliseconds of processor time so far, prefill included; 0 where the clock advances only with I/O. */
  cpuMs: number;
  /** One for each slot of the canvas. */
  slots: readonly SlotView[];
}

export interface SlotView {
  /** `mask`: undecided. `end`: decided as the end of the text. `dropped`: after the end, not computed any more. */
  state: 'mask' | 'token' | 'end' | 'dropped';
  /** How this step changed the slot; absent when it did not. */
  change?: 'reveal' | 'edit' | 'remask' | 'drop' | undefined;
  /**
   * The decided token; for a mask the best token at the moment. Whole characters: empty while bytes of one are missing.
   */
  text: string;
  /** Probability of `text`: for a decided token as of its reveal or last edit. 0 without a prediction. */
  confidence: number;
}

export interface Usage {
  /** Prefix and suffix tokens that the model saw, after truncation. */
  promptTokens: number;
  /** Part of `promptTokens` whose keys and values came from the prefix cache. */
  cachedTokens: number;
  /** Tokens of prefix and suffix that did not fit the context and were cut, from the side far from the cursor. */
  truncatedTokens: number;
  completionTokens: number;
  /** Denoiser passes over a canvas. */
  steps: number;
  /** Slots computed, summed over the steps: the cost figure that is comparable between samplers. */
  slotEvaluations: number;
  cpuMs: number;
  /** Time in the queue before the first turn, where the engine has a queue of its own. */
  queueMs?: number;
  /** Part of `cpuMs` in which keys and values of the context were computed, where the engine knows it. */
  prefillMs?: number;
}

export interface Completion {
  text: string;
  finishReason: 'stop' | 'length';
  /** Why the text ended, in more detail than `finishReason`, if the engine knows it. */
  ending?: Ending;
  usage: Usage;
  /**
   * Mean log-probability (natural logarithm) of the tokens of `text`. For a text that is empty on purpose, the
   * log-probability of the token that ended it; 0 if nothing was decided.
   */
  confidence: number;
  /** Log-probability of the token that ended the text: an end token, or the first one of a stop string. */
  endLogProbability?: number;
  /** The text token by token, where the engine knows it. Together they are `text`. */
  tokens?: readonly EmittedToken[];
}

/** Why a text ended. */
export interface Ending {
  /**
   * - `end`: the model ended it
   * - `stop`: at a stop string
   * - `editor`: an editor would not show more (`GenerateRequest.ends`, src/api/editor)
   * - `unsure`: it was withheld, because the confidence was too low
   * - `max_tokens`: at the limit of tokens
   * - `budget`: at the limit of steps or of time
   */
  by: 'end' | 'stop' | 'editor' | 'unsure' | 'max_tokens' | 'budget';
  /** Which of the stop strings. */
  stop?: string;
}

export interface EmittedToken {
  /** Whole characters: the empty string while bytes of one are missing. */
  text: string;
  /** The token's name where it is no whole character: `bytes:\xe2\x9c`. */
  bytes?: string;
  /** Natural logarithm of its probability over the vocabulary, as of its reveal or last edit. */
  logProbability: number;
  /**
   * The most probable tokens in its place, best first, if requested. If it is none of them, it is added as the last; it
   * has the name that `labelOf` gives.
   */
  alternatives?: readonly Alternative[];
}

export interface Alternative {
  /** Its text; `bytes:\xe2\x9c` for bytes that are no whole characters, and `<|name|>` for what ends a text. */
  name: string;
  logProbability: number;
}

/** The token ids that a request may name. */
export interface Vocabulary {
  /** Whether a token has bytes of text. */
  isText(id: number): boolean;
  /** Whether a token ends a completion. */
  isEnd(id: number): boolean;
  /** Text of tokens; bytes that are not UTF-8 become U+FFFD. */
  decode(ids: readonly number[]): string;
  /** Tokens of a text, never one that ends it. */
  encode(text: string): number[];
  /** The bytes of a token; none for one that ends a text. */
  bytesOf(id: number): Uint8Array;
}

export interface ModelInfo {
  id: string;
  /** Unix time, in seconds. */
  created: number;
  /** Tokens of prefix, suffix and canvas together. */
  contextLength: number;
  /**
   * Tokens on each side of the cursor that the model sees; text further away is cut. Absent if the engine does not
   * report it.
   */
  window?: { prefixTokens: number; suffixTokens: number };
  /** What is known of the stored model; absent if it does not come from a store. */
  stored?: StoredModel;
  maxOutputTokens: number;
  /** What requests can choose in denoising, and the defaults; absent where the engine does not publish them. */
  diffusion?: {
    /** Widths that a request may ask for, ascending. */
    canvasWidths: readonly number[];
    revealThreshold: number;
    editThreshold: number;
    /** How probably a completion is right; absent where nobody has measured it. */
    confidence?: ConfidenceScale;
  };
}

/** A model as its files describe it. */
export interface StoredModel {
  /** Bytes of all its files. */
  size: number;
  /** SHA-256 of the weights, 64 hexadecimal digits. */
  digest: string;
  /**
   * Number of parameters, and the bits in which most of them are stored; absent if the configuration does not say it.
   */
  parameters?: number;
  bits?: number;
  /** Languages of the training data, by their lower-case names; empty if unknown. */
  languages: readonly string[];
}

/** A model that is ready to generate. One engine serves many requests concurrently and schedules them itself. */
export interface Engine {
  readonly model: ModelInfo;
  readonly vocabulary: Vocabulary;
  /** Requests that wait for their first turn, where the engine has a queue of its own. */
  readonly waiting?: number;
  /** Requests that have not ended, waiting ones included, where the engine has a queue of its own. */
  readonly underWay?: number;
  /** Settles when nothing is left to read between requests (`nearFirst`). */
  readonly readAhead?: Promise<void>;
  /**
   * Whether another engine may have to answer instead. That is known with the first frame: nothing is sent before it.
   */
  readonly decidesLate?: boolean;
  /**
   * Generates one completion, yielding a frame after each denoising step and returning the completion.
   *
   * Ending the iteration early (`return()`) or aborting `signal` frees the engine for the next request. After an abort
   * the generator throws `signal.reason`; it throws EngineBusy before its first frame when too many wait. The engine
   * yields to the event loop between steps.
   */
  generate(request: GenerateRequest, signal: AbortSignal): AsyncGenerator<Frame, Completion>;
}

/** What an engine is made from; see `createEngine` in create.ts. */
export interface EngineParts {
  model: Pick<ModelInfo, 'id' | 'created' | 'stored'>;
  /** Compiled kernels; a probe picks relaxed SIMD where the machine runs it. */
  kernels: KernelModules;
  /** Parsed JSON of config.json. */
  config: unknown;
  /** Parsed JSON of tokenizer.json. */
  tokenizer: unknown;
  /**
   * Opens model.safetensors. The stream fails at its end when the bytes are not those of the manifest, so it must be
   * read to its end before the engine is handed out; called once. The engine takes ownership of its chunks and detaches
   * their buffers.
   */
  openWeights(): Promise<ReadableStream<Uint8Array>>;
  limits?: EngineLimits;
}

export interface KernelModules {
  relaxed: WebAssembly.Module;
  simd: WebAssembly.Module;
}

export interface EngineLimits {
  /** Bound of all cached keys and values. */
  cacheBytes?: number;
  /** Bound of all memory of the model's kernels, weights included; cached keys and values have what is left of it. */
  memoryBytes?: number;
  /** Requests that are active at a time, if there is room for what they hold; the others wait. */
  maxConcurrent?: number;
  /** Requests that may wait for their turn; one more is refused with EngineBusy. */
  maxWaiting?: number;
  /** Requests whose steps share a pass; 1 computes each in its own pass. Completions do not depend on it. */
  requestsPerPass?: number;
  /**
   * Tokens that a pass guesses from n-grams of the text, besides the slot that it is for; 0 guesses none. Completions
   * do not depend on it.
   */
  draftTokens?: number;
}

/** The signature of `createEngine` in create.ts. Rejects when the parts do not fit together or the weights fail. */
export type CreateEngine = (parts: EngineParts) => Promise<Engine>;

/** The signature of `describeModel` in create.ts. Throws ConfigError for a configuration that no model has. */
export type DescribeModel = (config: unknown) => Omit<ModelInfo, 'id' | 'created' | 'stored'>;
