/**
 * What llama.cpp's clients ask a server besides /infill: POST /completion, its tokens, and the properties of the
 * server. https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
 */
import type { Context } from 'hono';
import * as z from 'zod';
import type { ModelCatalog } from '../../engine/catalog.ts';
import type { Vocabulary } from '../../engine/types.ts';
import { ApiError } from '../../http/errors.ts';
import { keepAliveOf } from '../../http/keep-alive.ts';
import { engineFor, respond } from '../completion/answer.ts';
import { invalid } from '../completion/completion.ts';
import { DEFAULT_MAX_TOKENS } from '../completion/limits.ts';
import { neutral, nothing } from '../completion/refused.ts';
import { editorInAddress, localModelField, promptField, readBody } from '../completion/schema.ts';
import { promptsOf } from '../completion/token-ids.ts';
import { promptText } from './fim-markers.ts';
import { llamaCall, llamaFields, llamaFormat } from './infill.ts';

export const completionRequest = z.object({
  ...llamaFields,
  prompt: promptField.default(''),
  image_data: neutral(nothing, 'images are not supported'),
  editor: z.boolean().default(false),
});

/** Text, token ids, or a list of both. */
const content = z.union([z.string(), z.array(z.union([z.string(), z.int().min(0)]))]);

export const tokenizeRequest = z.object({
  model: localModelField,
  content: content.default(''),
  /** This model has no token that begins every text. */
  add_special: z.boolean().default(false).describe('Without effect.'),
  parse_special: z.boolean().default(true).describe('Without effect: the name of a special token is text.'),
  with_pieces: z.boolean().default(false),
});

export const detokenizeRequest = z.object({
  model: localModelField,
  tokens: z.array(z.int().min(0)).default([]),
});

/** POST /completion and /completions: the text is continued; fill-in-the-middle markers in it are interpreted. */
export function llamaCompletion(models: ModelCatalog) {
  return async function llamaCompletion(c: Context): Promise<Response> {
    const params = await readBody(c, completionRequest);
    params.editor ||= editorInAddress(c);
    const engine = await engineFor(c, models, params.model || models.default.id);
    const { vocabulary } = engine;
    const prompts = promptsOf(params.prompt, { vocabulary, suffix: '', promptOf: promptText('', params.stop) });
    return respond(c, engine, llamaCall(prompts, params, engine), llamaFormat(params, engine));
  };
}

/** POST /tokenize: the ids of a text, with the text of each, or its bytes where they are no whole characters. */
export function tokenize(models: ModelCatalog) {
  return async function tokenize(c: Context): Promise<Response> {
    const { model, content, with_pieces } = await readBody(c, tokenizeRequest);
    const { vocabulary } = await engineFor(c, models, model || models.default.id);
    const ids = [content].flat().flatMap((part) => (typeof part === 'string' ? vocabulary.encode(part) : [part]));
    checkIds(ids, 'content', vocabulary);
    const tokens = with_pieces ? ids.map((id) => ({ id, piece: pieceOf(vocabulary.bytesOf(id)) })) : ids;
    return c.json({ tokens });
  };
}

/** POST /detokenize: the text of token ids; ids that end a text have none. */
export function detokenize(models: ModelCatalog) {
  return async function detokenize(c: Context): Promise<Response> {
    const { model, tokens } = await readBody(c, detokenizeRequest);
    const { vocabulary } = await engineFor(c, models, model || models.default.id);
    checkIds(tokens, 'tokens', vocabulary);
    return c.json({ content: vocabulary.decode(tokens.filter((id) => vocabulary.isText(id))) });
  };
}

function checkIds(ids: readonly number[], param: string, vocabulary: Vocabulary): void {
  const at = ids.findIndex((id) => !vocabulary.isText(id) && !vocabulary.isEnd(id));
  if (at >= 0) throw invalid(`${param}.${at}`, `${ids[at]} is not the id of a token of text.`);
}

function pieceOf(bytes: Uint8Array): string | number[] {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return [...bytes];
  }
}

/** GET /props: the defaults of requests, including the model. */
export function props(models: ModelCatalog) {
  return async function props(c: Context): Promise<Response> {
    const model = await models.default.info(keepAliveOf(c));
    const params = {
      n_predict: DEFAULT_MAX_TOKENS,
      max_tokens: DEFAULT_MAX_TOKENS,
      seed: -1,
      temperature: 0,
      top_p: 1,
    };
    return c.json({
      default_generation_settings: { id: 0, n_ctx: model.contextLength, is_processing: false, params },
      total_slots: 1,
      model_alias: model.id,
      model_path: model.id,
      modalities: { vision: false, audio: false },
      chat_template: '',
      bos_token: '',
      eos_token: '<|endoftext|>',
      build_info: 'quicksilver',
      is_sleeping: false,
    });
  };
}

/** GET /slots: a request has no slot of its own here. */
export function slots(): never {
  throw new ApiError(404, 'There are no slots: requests take turns step by step. GET /metrics has what is under way.', {
    code: 'route_not_found',
  });
}
