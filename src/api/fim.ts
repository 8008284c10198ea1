/**
 * POST /v1/fim/completions: fill in the middle, the path that Inception and Mistral share.
 *
 * Inception's clients read `choices[].text`, Mistral's read `message.content` and, in a stream, `delta.content`; each
 * choice carries both. Unlike Inception, whose defaults are a presence penalty of 1.5 and stops at blank lines, nothing
 * is applied that the request does not ask for.
 */
import type { Context } from 'hono';
import * as z from 'zod';
import type { ModelProvider } from '../engine/provider.ts';
import { engineFor } from './answer.ts';
import { toCall } from './completion.ts';
import { decodingFields, editorInAddress, promptField, readBody, unsupportedFields } from './schema.ts';
import { answer, type ChoiceShape } from './text-completion.ts';

export const fimRequest = z.object({
  ...decodingFields,
  ...unsupportedFields,
  prompt: promptField,
  /** Mistral's name of `seed`. */
  random_seed: z.int().optional(),
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
export function fim(models: ModelProvider) {
  return async function fim(c: Context): Promise<Response> {
    const params = await readBody(c, fimRequest);
    params.editor ||= editorInAddress(c);
    const call = toCall(params.prompt, { ...params, seed: params.random_seed ?? params.seed });
    return answer(c, await engineFor(c, models, params.model), call, shape);
  };
}
