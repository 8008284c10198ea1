/** Answers in the shape of OpenAI's text completions, which Inception and Mistral vary in their choices only. */
import type { Context } from 'hono';
import type { Completion, Engine } from '../../engine/types.ts';
import { OPENAI_EVENTS } from '../../http/event-stream.ts';
import { respond } from '../completion/answer.ts';
import { canvasOf } from '../completion/canvas.ts';
import type { CompletionCall, FinishedChoice } from '../completion/completion.ts';
import { type LogProbs, logProbsOf } from '../completion/log-probs.ts';
import type { Piece } from '../completion/pieces.ts';
import { usageOf } from '../completion/usage.ts';

/** Long enough to distinguish models, and short enough to be read aloud. */
const FINGERPRINT_DIGITS = 12;

type FinishReason = Completion['finishReason'] | null;

/** How one dialect writes a choice: a finished one, and one chunk of a stream. */
export interface ChoiceShape {
  whole(index: number, text: string, finishReason: FinishReason, logProbs: LogProbs | null): object;
  chunk(index: number, text: string, finishReason: FinishReason): object;
}

/** What only a whole answer can have. */
export interface WholeOptions {
  /** Choices of each prompt that are answered: of the `n` of the call those with the highest confidence. */
  keep?: number;
  /** Whether the choices have the log-probabilities of their tokens. */
  logProbs?: boolean;
}

/** Runs the call and answers it. */
export function answer(
  c: Context,
  engine: Engine,
  call: CompletionCall,
  shape: ChoiceShape,
  { keep = call.n, logProbs = false }: WholeOptions = {},
): Promise<Response> {
  const header = {
    id: `cmpl-${crypto.randomUUID()}`,
    object: 'text_completion',
    created: Math.floor(Date.now() / 1000),
    model: engine.model.id,
    // Other weights have another one.
    ...(engine.model.stored && { system_fingerprint: `fp_${engine.model.stored.digest.slice(0, FINGERPRINT_DIGITS)}` }),
  };
  return respond(c, engine, call, {
    whole: (finished) => ({
      ...header,
      choices: mostConfident(finished, call.n, keep).map(({ prompt, completion }, index) => {
        const { text, finishReason } = completion;
        const tokens = logProbs ? logProbsOf(completion) : null;
        return {
          ...shape.whole(index, call.echo ? prompt.text + text : text, finishReason, tokens),
          ...endOf(completion),
        };
      }),
      usage: usageOf(
        finished.map(({ completion }) => completion),
        call.n,
      ),
    }),
    items: (pieces) => chunks(pieces, header, call, shape),
    stream: OPENAI_EVENTS,
    error: (error) => error.toBody(),
  });
}

/** Why a choice ended, and at which stop string, under vLLM's name, if the engine reports it. */
function endOf({ ending }: Completion) {
  return ending && { stop_reason: ending.stop ?? null, ended_by: ending.by };
}

/**
 * Of each `n` choices, which are those of one prompt, the `keep` most confident ones; all in their order when all are
 * kept.
 */
function mostConfident(choices: readonly FinishedChoice[], n: number, keep: number): readonly FinishedChoice[] {
  if (keep === n) return choices;
  const prompts = Map.groupBy(choices, ({ index }) => Math.floor(index / n));
  return [...prompts.values()].flatMap((ofPrompt) =>
    ofPrompt.toSorted((a, b) => b.completion.confidence - a.completion.confidence).slice(0, keep),
  );
}

async function* chunks(
  pieces: AsyncIterable<Piece>,
  header: object,
  call: CompletionCall,
  shape: ChoiceShape,
): AsyncGenerator<object, void> {
  const usage = call.includeUsage ? { usage: null } : {};
  const completions: Completion[] = [];
  for await (const { index, text, canvas, finished } of pieces) {
    if (finished) completions.push(finished.completion);
    const choice = shape.chunk(index, text, finished?.completion.finishReason ?? null);
    const more = { ...(finished && endOf(finished.completion)), ...(canvas && { canvas: canvasOf(canvas) }) };
    yield { ...header, choices: [{ ...choice, ...more }], ...usage };
  }
  if (call.includeUsage) yield { ...header, choices: [], usage: usageOf(completions, call.n) };
}
