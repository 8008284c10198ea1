/** Requests of the page, and recording of their runs. */
import { isBlank, isSingleLine, lastLine } from '../../src/api/editor/lines.ts';
import type { CanvasSettings } from './canvas/opening.ts';
import type { Recording } from './canvas/recording.ts';
import { percent } from './figures.ts';
import type { Ready } from './place.ts';
import { denoise, type ModelInfo, type Result } from './service/completions.ts';
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

/** Choices of a race: all of them known, so that the page can say what it shows. */
type RaceChoices = DecodingChoices & { canvasWidth: number; revealThreshold: number; editThreshold: number };

/** What the user has chosen, else what was written down for this model in this code, else what the model does. */
export function raceChoices(
  model: ModelInfo,
  settings: CanvasSettings | undefined,
  choices: DecodingChoices,
  canvasWidth: number,
): RaceChoices {
  const { revealThreshold, editThreshold } = settings?.model === model.id ? settings : model;
  return {
    ...{ ...choices, canvasWidth },
    revealThreshold: choices.revealThreshold ?? revealThreshold,
    editThreshold: choices.editThreshold ?? editThreshold,
  };
}

/**
 * One canvas at the cursor by both decoders, which end by the same rule, as `raceRules` says. The autoregressive one
 * has no suffix.
 */
export function raceRequests(
  model: string,
  cursor: AtCursor,
  choices: RaceChoices,
): [CompletionRequest, CompletionRequest] {
  const stop = isOfOneLine(cursor) ? ['\n'] : [];
  const shared = { ...choices, ...cursor, maxTokens: choices.canvasWidth, model, stop, editor: false };
  return [
    { ...shared, decoding: 'diffusion' },
    { ...shared, suffix: '', decoding: 'autoregressive' },
  ];
}

/** Whether the canvas is a part of a line, or a line of its own. */
function isOfOneLine(cursor: AtCursor): boolean {
  return isSingleLine(cursor) || isBlank(lastLine(cursor.prefix));
}

/** What is shown, and the rule by which both end, in words. */
export function raceRules(
  cursor: AtCursor,
  model: string,
  { canvasWidth, revealThreshold, editThreshold }: RaceChoices,
): string {
  const line = isOfOneLine(cursor) ? 'at the end of the line, ' : '';
  const edits = editThreshold < 1 ? `edits them from ${percent(editThreshold)} on` : 'never edits them';
  return (
    `${model} fills slots from ${percent(revealThreshold)} on, and ${edits}. ` +
    `Both stop by one rule: ${line}at an end token, or after ${canvasWidth} tokens.`
  );
}

/** Runs a request to its end. */
export async function record(
  { answerer }: Pick<Ready, 'answerer'>,
  request: CompletionRequest,
  signal: AbortSignal,
): Promise<Recording & { result: Result }> {
  const steps: Recording['steps'][number][] = [];
  const run = denoise(answerer, request, signal);
  for (let next = await run.next(); ; next = await run.next()) {
    if (next.done) return { decoding: request.decoding, steps, result: next.value };
    steps.push(next.value);
  }
}
