/**
 * POST /v1/fim/completions: fill in the middle, the path that Inception and Mistral share.
 *
 * Inception's clients read `choices[].text`, Mistral's read `message.content` and, in a stream, `delta.content`; each
 * choice has both. Inception's defaults (a presence penalty of 1.5 and stops at blank lines) are not applied unless the
 * request has them.
 */
import type { Context } from 'hono';
import * as z from 'zod';
import type { ModelCatalog } from '../../engine/catalog.ts';
import { engineFor } from '../completion/answer.ts';
import { toCall } from '../completion/completion.ts';
import { neutral, refusedFields, refusedSamplers } from '../completion/refused.ts';
import {
  decodingFields,
  editorInAddress,
  localModelField,
  logitBiasField,
  looseStopField,
  promptField,
  readBody,
  seedField,
} from '../completion/schema.ts';
import { biasesOf, promptsOf } from '../completion/token-ids.ts';
import { answer, type ChoiceShape } from './text-completion.ts';

export const fimRequest = z.object({
  ...decodingFields,
  ...refusedFields,
  ...refusedSamplers,
  model: localModelField,
  stop: looseStopField,
  prompt: promptField,
  logit_bias: logitBiasField,
  logprobs: neutral(z.literal(false), 'log-probabilities have no place in these answers; ask /v1/completions'),
  best_of: neutral(z.literal(1), 'only 1 is supported; use n'),
  /** Mistral's name of `seed`. */
  random_seed: seedField.optional(),
});

const shape: ChoiceShape = {
  whole: (index, text, finishReason) => ({
    index,
    text,
    message: { role: 'assistant', content: text },
    finish_reason: finishReason,
  }),
  chunk: (index, text, finishReason) => ({ index, text, delta: { content: text }, finish_reason: finishReason }),
};

/** Answers a fill-in-the-middle request of either dialect. */
export function fim(models: ModelCatalog) {
  return async function fim(c: Context): Promise<Response> {
    const params = await readBody(c, fimRequest);
    params.editor ||= editorInAddress(c);
    const { suffix } = params;
    const engine = await engineFor(c, models, params.model || models.default.id);
    const { vocabulary } = engine;
    const promptOf = (text: string) => ({ text, prefix: text, suffix });
    const call = toCall(
      promptsOf(params.prompt, { vocabulary, suffix, promptOf }),
      { ...params, seed: params.random_seed ?? params.seed },
      { logitBias: biasesOf(params.logit_bias, vocabulary) },
    );
    return answer(c, engine, call, shape);
  };
}
