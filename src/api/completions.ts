/**
 * POST /v1/completions: OpenAI's legacy completions, https://platform.openai.com/docs/api-reference/completions
 * Tabby's clients use the same path; DeepSeek's FIM (POST /beta/completions) is the same request under another.
 */
import type { Context } from 'hono';
import * as z from 'zod';
import type { ModelProvider } from '../engine/provider.ts';
import { engineFor } from './answer.ts';
import { toCall } from './completion.ts';
import { promptText } from './fim-markers.ts';
import { checkBody, decodingFields, editorInAddress, promptField, readJson, unsupportedFields } from './schema.ts';
import { isTabby, tabbyCompletion } from './tabby.ts';
import { answer, type ChoiceShape } from './text-completion.ts';

const schema = z.object({
  ...decodingFields,
  ...unsupportedFields,
  prompt: promptField,
  echo: z.boolean().default(false),
});

const choice = (index: number, text: string, finishReason: string | null) => ({
  text,
  index,
  logprobs: null,
  finish_reason: finishReason,
});

/** Full answers and chunks share one shape. */
const shape: ChoiceShape = { whole: choice, chunk: choice };

/** Answers OpenAI's completion request, or Tabby's. */
export function completions(models: ModelProvider) {
  return async function completions(c: Context): Promise<Response> {
    const body = await readJson(c);
    if (isTabby(body)) return tabbyCompletion(c, models, body);
    const params = checkBody(body, schema);
    params.editor ||= editorInAddress(c);
    const call = toCall(params.prompt, params, { echo: params.echo, promptOf: promptText(params.suffix) });
    return answer(c, await engineFor(c, models, params.model), call, shape);
  };
}
