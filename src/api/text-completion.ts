/** Answers in the shape of OpenAI's text completions, which Inception and Mistral vary in their choices only. */
import type { Context } from 'hono';
import type { Completion, Engine } from '../engine/types.ts';
import { respond } from './answer.ts';
import type { CompletionCall } from './completion.ts';
import { OPENAI_EVENTS } from './event-stream.ts';
import type { Piece } from './pieces.ts';
import { usageOf } from './usage.ts';

type FinishReason = Completion['finishReason'] | null;

/** What one dialect makes of a choice: of a finished one, and of one chunk of a stream. */
export interface ChoiceShape {
  whole(index: number, text: string, finishReason: FinishReason): object;
  chunk(index: number, text: string, finishReason: FinishReason): object;
}

/** Runs the call and answers it. */
export function answer(c: Context, engine: Engine, call: CompletionCall, shape: ChoiceShape): Promise<Response> {
  const header = {
    id: `cmpl-${crypto.randomUUID()}`,
    object: 'text_completion',
    created: Math.floor(Date.now() / 1000),
    model: engine.model.id,
  };
  return respond(c, engine, call, {
    whole: (finished) => ({
      ...header,
      choices: finished.map(({ index, prompt, completion: { text, finishReason } }) =>
        shape.whole(index, call.echo ? prompt.text + text : text, finishReason),
      ),
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

async function* chunks(
  pieces: AsyncIterable<Piece>,
  header: object,
  call: CompletionCall,
  shape: ChoiceShape,
): AsyncGenerator<object, void> {
  const usage = call.includeUsage ? { usage: null } : {};
  const completions: Completion[] = [];
  for await (const { index, text, finished } of pieces) {
    if (finished) completions.push(finished.completion);
    yield { ...header, choices: [shape.chunk(index, text, finished?.completion.finishReason ?? null)], ...usage };
  }
  if (call.includeUsage) yield { ...header, choices: [], usage: usageOf(completions, call.n) };
}
