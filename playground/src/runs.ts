/** Requests of the page, and recording of their runs. */
import { isSingleLine } from '../../src/api/editor/lines.ts';
import type { Recording } from './canvas/recording.ts';
import type { Ready } from './place.ts';
import { complete, type Result } from './service/completions.ts';
import type { CompletionRequest, DecodingChoices } from './service/request.ts';

export interface AtCursor {
  prefix: string;
  suffix: string;
}

/** Temperature of the later candidates if the first is greedy, because greedy ones would all be the same. */
const CANDIDATE_TEMPERATURE = 0.7;

/** A completion request as from an editor; later variants have other seeds. */
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

/** The same request for both decoders. The autoregressive one has no suffix, so both stop at the line end. */
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
