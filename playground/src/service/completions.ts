/** Completions of the API: whole, or with every step of their canvas. */
import type { Ending, SlotView } from '../../../src/engine/types.ts';
import type { Answerer } from './answerer.ts';
import { eventsOf } from './events.ts';
import { type ErrorBody, Problem, problemOf } from './problem.ts';
import { bodyOf, type CompletionRequest } from './request.ts';

/** The state after one pass of the network. */
export interface Step {
  /** The completion so far. */
  text: string;
  block: number;
  /** Processor time so far; 0 on platforms without a running clock. */
  cpuMs: number;
  slots: readonly SlotView[];
}

/** The cost of a completion. */
export interface Cost {
  steps: number;
  slotEvaluations: number;
  cpuMs: number;
  /** Waiting for the first turn in the service. */
  queueMs: number;
  /** From the call to the end of the answer. */
  totalMs: number;
  promptTokens: number;
  cachedTokens: number;
  completionTokens: number;
}

export interface Result {
  text: string;
  /** Why the text ended; undefined if the service does not tell. */
  endedBy: Ending['by'] | undefined;
  /** How sure the model is of the text, from 0 to 1; undefined if it decided nothing. */
  confidence: number | undefined;
  cost: Cost;
}

interface UsageBody {
  prompt_tokens: number;
  completion_tokens: number;
  cached_input_tokens: number;
  quicksilver: {
    steps: number;
    slot_evaluations: number;
    cpu_ms: number;
    /** Absent in services of earlier versions. */
    queue_ms?: number;
    confidence: number | null;
  };
}

/** A whole answer, or a chunk of one. */
interface AnswerBody extends ErrorBody {
  choices?: {
    text: string;
    ended_by?: Ending['by'];
    canvas?: { block: number; cpu_ms: number; slots: readonly SlotView[] };
  }[];
  usage?: UsageBody | null;
}

const NOT_QUICKSILVER = 'Is this a Quicksilver service?';

/** Throws Problem if the service refuses, TypeError if it does not answer. */
export async function complete(answerer: Answerer, request: CompletionRequest, signal: AbortSignal): Promise<Result> {
  const startMs = performance.now();
  const response = await post(answerer, bodyOf(request), signal);
  const { choices, usage, error } = (await response.json()) as AnswerBody;
  // What fails late has already said that it succeeds.
  if (error) throw problemOf(500, { error });
  const [choice] = choices ?? [];
  if (choice === undefined || !usage)
    throw new Problem('The answer is no answer', `It has no text. ${NOT_QUICKSILVER}`);
  return resultOf(choice.text, choice.ended_by, usage, performance.now() - startMs);
}

/** Yields each step when it arrives. Throws Problem if the service refuses, TypeError if it does not answer. */
export async function* denoise(
  answerer: Answerer,
  request: CompletionRequest,
  signal: AbortSignal,
): AsyncGenerator<Step, Result> {
  const startMs = performance.now();
  const streamed = { stream: true, diffusing: 'canvas', stream_options: { include_usage: true } };
  const response = await post(answerer, { ...bodyOf(request), ...streamed }, signal);
  let text = '';
  let endedBy: Result['endedBy'];
  for await (const event of eventsOf(response.body!)) {
    const { choices = [], usage, error } = event as AnswerBody;
    if (error) throw problemOf(500, { error });
    for (const choice of choices) {
      text = choice.text;
      endedBy = choice.ended_by ?? endedBy;
      if (choice.canvas) yield { ...choice.canvas, text, cpuMs: choice.canvas.cpu_ms };
    }
    if (usage) return resultOf(text, endedBy, usage, performance.now() - startMs);
  }
  throw new Problem('The answer is no answer', `The stream ended without its usage. ${NOT_QUICKSILVER}`);
}

async function post(answerer: Answerer, body: object, signal: AbortSignal): Promise<Response> {
  const response = await answerer.fetch('/v1/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal,
  });
  if (!response.ok || response.body === null) throw await refusal(response);
  return response;
}

function resultOf(text: string, endedBy: Result['endedBy'], usage: UsageBody, totalMs: number): Result {
  const { steps, slot_evaluations, cpu_ms, queue_ms = 0, confidence } = usage.quicksilver;
  return {
    text,
    endedBy,
    confidence: confidence === null ? undefined : Math.exp(confidence),
    cost: {
      steps,
      slotEvaluations: slot_evaluations,
      cpuMs: cpu_ms,
      queueMs: queue_ms,
      totalMs,
      promptTokens: usage.prompt_tokens,
      cachedTokens: usage.cached_input_tokens,
      completionTokens: usage.completion_tokens,
    },
  };
}

export interface ModelInfo {
  id: string;
  /** Of all its files; undefined where the service does not tell. */
  sizeBytes: number | undefined;
  /** Of the training data, in lower case; empty where the service does not tell. */
  languages: readonly string[];
  canvasWidths: readonly number[];
  revealThreshold: number;
  editThreshold: number;
}

interface ModelList {
  data?: {
    id: string;
    languages?: string[];
    quicksilver?: { canvas_widths: number[]; reveal_threshold: number; edit_threshold: number; size_bytes?: number };
  }[];
}

/** The diffusion models of an answerer, at least one; the first is its default. Throws as `complete` does. */
export async function modelsOf(answerer: Answerer): Promise<[ModelInfo, ...ModelInfo[]]> {
  const response = await answerer.fetch('/v1/models', {});
  if (!response.ok) throw await refusal(response);
  const { data = [] } = (await response.json().catch(() => ({}))) as ModelList;
  const [first, ...others] = data.flatMap(({ id, languages = [], quicksilver }): ModelInfo[] => {
    if (quicksilver === undefined) return [];
    const { canvas_widths, reveal_threshold, edit_threshold, size_bytes } = quicksilver;
    return [
      {
        id,
        sizeBytes: size_bytes,
        languages,
        canvasWidths: canvas_widths,
        revealThreshold: reveal_threshold,
        editThreshold: edit_threshold,
      },
    ];
  });
  if (first === undefined) {
    throw new Problem('No denoiser there', 'What answers at this address is not a Quicksilver service.', ['settings']);
  }
  return [first, ...others];
}

async function refusal(response: Response): Promise<Problem> {
  const body: unknown = await response.json().catch(() => ({}));
  return problemOf(response.status, typeof body === 'object' && body !== null ? body : {});
}
