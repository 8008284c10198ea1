/** Completions of the API with every step of their canvas. */
import type { SlotView } from '../../../src/engine/types.ts';
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
  /** From the call to the end of the answer. */
  totalMs: number;
  promptTokens: number;
  cachedTokens: number;
  completionTokens: number;
}

export interface Result {
  text: string;
  finishReason: 'stop' | 'length';
  /** Geometric mean of the probabilities of the tokens; undefined when there are none. */
  confidence: number | undefined;
  cost: Cost;
}

interface Chunk extends ErrorBody {
  choices?: {
    text: string;
    finish_reason: Result['finishReason'] | null;
    canvas?: { block: number; cpu_ms: number; slots: readonly SlotView[] };
  }[];
  usage?: {
    prompt_tokens: number;
    completion_tokens: number;
    cached_input_tokens: number;
    quicksilver: { steps: number; slot_evaluations: number; cpu_ms: number; confidence: number | null };
  } | null;
}

/** Yields each step when it arrives. Throws Problem if the service refuses, TypeError if it does not answer. */
export async function* complete(
  answerer: Answerer,
  request: CompletionRequest,
  signal: AbortSignal,
): AsyncGenerator<Step, Result> {
  const startMs = performance.now();
  const response = await answerer.fetch('/v1/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      ...bodyOf(request),
      stream: true,
      diffusing: 'canvas',
      stream_options: { include_usage: true },
    }),
    signal,
  });
  if (!response.ok || response.body === null) throw await refusal(response);
  let text = '';
  let finishReason: Result['finishReason'] = 'stop';
  for await (const event of eventsOf(response.body)) {
    const { choices = [], usage, error } = event as Chunk;
    if (error) throw problemOf(500, { error });
    for (const choice of choices) {
      text = choice.text;
      finishReason = choice.finish_reason ?? finishReason;
      if (choice.canvas) yield { ...choice.canvas, text, cpuMs: choice.canvas.cpu_ms };
    }
    if (usage) return resultOf(text, finishReason, usage, performance.now() - startMs);
  }
  throw new Problem('The answer is no answer', 'The stream ended without its usage. Is this a Quicksilver service?');
}

function resultOf(
  text: string,
  finishReason: Result['finishReason'],
  usage: NonNullable<Chunk['usage']>,
  totalMs: number,
): Result {
  const { steps, slot_evaluations, cpu_ms, confidence } = usage.quicksilver;
  return {
    text,
    finishReason,
    confidence: confidence === null ? undefined : Math.exp(confidence),
    cost: {
      steps,
      slotEvaluations: slot_evaluations,
      cpuMs: cpu_ms,
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
  canvasWidths: readonly number[];
  revealThreshold: number;
  editThreshold: number;
}

interface ModelList {
  data?: {
    id: string;
    quicksilver?: { canvas_widths: number[]; reveal_threshold: number; edit_threshold: number; size_bytes?: number };
  }[];
}

/** The diffusion models of an answerer, at least one; the first is its default. Throws as `complete` does. */
export async function modelsOf(answerer: Answerer): Promise<[ModelInfo, ...ModelInfo[]]> {
  const response = await answerer.fetch('/v1/models', {});
  if (!response.ok) throw await refusal(response);
  const { data = [] } = (await response.json().catch(() => ({}))) as ModelList;
  const [first, ...others] = data.flatMap(({ id, quicksilver }): ModelInfo[] => {
    if (quicksilver === undefined) return [];
    const { canvas_widths, reveal_threshold, edit_threshold, size_bytes } = quicksilver;
    return [
      {
        id,
        sizeBytes: size_bytes,
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
