/**
 * POST /v1/completions: OpenAI's legacy completions, https://platform.openai.com/docs/api-reference/completions
 * Tabby's clients use the same path; DeepSeek's FIM (POST /beta/completions) is the same request under another.
 */
import type { Context } from 'hono';
import * as z from 'zod';
import type { ModelCatalog } from '../../engine/catalog.ts';
import { engineFor } from '../completion/answer.ts';
import { invalid, toCall } from '../completion/completion.ts';
import { readJson } from '../completion/json-body.ts';
import { wholeNumber } from '../completion/limits.ts';
import type { LogProbs } from '../completion/log-probs.ts';
import { refusedFields, refusedSamplers } from '../completion/refused.ts';
import {
  checkBody,
  decodingFields,
  editorInAddress,
  localModelField,
  logitBiasField,
  MAX_LOG_PROBS,
  promptField,
} from '../completion/schema.ts';
import { biasesOf, promptsOf } from '../completion/token-ids.ts';
import { promptText } from './fim-markers.ts';
import { isTabby, tabbyCompletion } from './tabby.ts';
import { answer, type ChoiceShape } from './text-completion.ts';

/** OpenAI's bound. */
const MAX_BEST_OF = 20;

export const completionsRequest = z.object({
  ...decodingFields,
  ...refusedFields,
  ...refusedSamplers,
  model: localModelField,
  /** Without one the text begins a document. */
  prompt: promptField.default(''),
  echo: z.boolean().default(false),
  /** 0 counts as absent. */
  best_of: wholeNumber({ min: 0, max: MAX_BEST_OF }).optional(),
  logit_bias: logitBiasField,
  logprobs: z
    .union([z.int().min(0).max(MAX_LOG_PROBS), z.literal(false)], {
      error: `must be a whole number from 0 to ${MAX_LOG_PROBS}; true, as chats have it, says no number`,
    })
    .optional()
    .describe('Log-probabilities of the tokens, and of this number of most probable tokens at each position.'),
});

type Params = z.output<typeof completionsRequest>;

const choice = (index: number, text: string, finishReason: string | null, logProbs: LogProbs | null = null) => ({
  text,
  index,
  logprobs: logProbs,
  finish_reason: finishReason,
});

/** Full answers and chunks share one shape. */
const shape: ChoiceShape = { whole: choice, chunk: choice };

/** Answers OpenAI's completion request, or Tabby's. */
export function completions(models: ModelCatalog) {
  return async function completions(c: Context): Promise<Response> {
    const body = await readJson(c);
    if (isTabby(body)) return tabbyCompletion(c, models, body);
    const params = checkBody(body, completionsRequest);
    params.editor ||= editorInAddress(c);
    const { n, echo, logprobs, suffix } = params;
    const options = { keep: n, logProbs: typeof logprobs === 'number' };
    const fields = { ...params, n: choicesOf(params) };
    checkLogProbs(params);
    const engine = await engineFor(c, models, params.model || models.default.id);
    const { vocabulary } = engine;
    const prompts = promptsOf(params.prompt, { vocabulary, suffix, promptOf: promptText(suffix, params.stop) });
    const logitBias = biasesOf(params.logit_bias, vocabulary);
    const call = toCall(prompts, fields, { echo, logitBias, alternatives: logprobs || 0 });
    return answer(c, engine, call, shape, options);
  };
}

/** Choices to compute for a prompt. Throws ApiError 400 when they are fewer than asked for, or in a stream. */
function choicesOf({ n, best_of, stream }: Params): number {
  if (!best_of) return n;
  if (best_of < n) throw invalid('best_of', `must be at least n, which is ${n}.`);
  if (best_of > n && stream) throw invalid('best_of', 'needs stream: false; which is best shows at the end.');
  return best_of;
}

/** Throws ApiError 400 for log-probabilities that are not known: of prompts, and of tokens not yet settled. */
function checkLogProbs({ logprobs, echo, stream }: Params): void {
  if (typeof logprobs !== 'number') return;
  const refused = (message: string) => invalid('logprobs', message, 'unsupported_parameter');
  if (stream) throw refused('needs stream: false; a token can be edited until its canvas is done.');
  if (echo) throw refused('needs echo: false; the prompt has no probabilities.');
}
