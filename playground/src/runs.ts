/** Runs of a decoder that are recorded as they go. */
import { isSingleLine } from '../../src/api/editor/lines.ts';
import type { Recording } from './canvas/recording.ts';
import type { Ready } from './place.ts';
import { complete, type Result } from './service/completions.ts';
import type { CompletionRequest, DecodingChoices } from './service/request.ts';

export interface AtCursor {
  prefix: string;
  suffix: string;
}

/** What the second and later candidates are drawn at, where the first is greedy and they would all be the same. */
const CANDIDATE_TEMPERATURE = 0.7;

/** A completion as an editor asks for it; later variants have other seeds. */
export function ghostRequest(
  model: string,
  cursor: AtCursor,
  choices: DecodingChoices,
  variant: number,
): CompletionRequest {
  const others = {
    seed: (choices.seed + variant) % 2 ** 32,
    temperature: Math.max(choices.temperature, CANDIDATE_TEMPERATURE),
  };
  return { ...choices, ...(variant > 0 && others), ...cursor, model, stop: [], decoding: 'diffusion', editor: true };
}

/** The same request for both decoders; the autoregressive one reads no suffix, so that the end of the line has to end both. */
export function raceRequests(
  model: string,
  cursor: AtCursor,
  choices: DecodingChoices,
): [CompletionRequest, CompletionRequest] {
  const stop = isSingleLine(cursor) ? ['\n'] : [];
  const shared = { ...choices, ...cursor, model, stop, editor: false };
  return [
    { ...shared, decoding: 'diffusion' },
    { ...shared, suffix: '', decoding: 'autoregressive' },
  ];
}

/** Runs a request to its end. */
export async function record(
  { answerer }: Ready,
  request: CompletionRequest,
  signal: AbortSignal,
): Promise<Recording & { result: Result }> {
  const steps: Recording['steps'][number][] = [];
  const run = complete(answerer, request, signal);
  for (let next = await run.next(); ; next = await run.next()) {
    if (next.done) return { decoding: request.decoding, steps, result: next.value };
    steps.push(next.value);
  }
}
