/**
 * Recent completions, for a user who types the beginning of a completion that was shown: its rest answers the next
 * request without a step. The model saw less text for it than it would see now, so only requests with `reuse` are
 * answered this way.
 */

import { detachedText } from '../detached-text.ts';
import type { Completion, EmittedToken, GenerateRequest } from './types.ts';

/** Two or three for each client that is served at a time. */
const MAX_GIVEN = 32;
/** Bound of all prefixes and suffixes together: 2 MB as UTF-16. */
const MAX_CHARACTERS = 2 ** 20;
/**
 * The least rest of a completion that was cut off at `maxTokens`, as a share of its tokens: a shorter one is computed
 * again.
 */
const LEAST_REST_SHARE = 0.5;

interface StoredCompletion {
  readonly prefix: string;
  readonly suffix: string;
  /** All other settings that the completion depends on. */
  readonly decoding: string;
  readonly completion: Completion;
}

export class CompletionCache {
  /** Oldest first. */
  #stored: StoredCompletion[] = [];

  /** Keeps a completion if its rest could answer a later request. */
  store(request: GenerateRequest, completion: Completion): void {
    const decoding = decodingOf(request);
    if (decoding === undefined || completion.text === '' || completion.tokens === undefined) return;
    const [prefix, suffix] = [detachedText(request.prefix), detachedText(request.suffix)];
    this.#stored.push({ prefix, suffix, decoding, completion });
    let characters = 0;
    const kept = this.#stored.slice(-MAX_GIVEN).findLastIndex((given) => {
      characters += given.prefix.length + given.suffix.length;
      return characters > MAX_CHARACTERS;
    });
    this.#stored = this.#stored.slice(-MAX_GIVEN).slice(kept + 1);
  }

  /** The rest of the newest completion whose beginning has been typed since. */
  lookup(request: GenerateRequest): Completion | undefined {
    const decoding = decodingOf(request);
    if (decoding === undefined) return undefined;
    for (const given of this.#stored.toReversed()) {
      if (given.decoding !== decoding || given.suffix !== request.suffix) continue;
      if (!request.prefix.startsWith(given.prefix)) continue;
      const typed = request.prefix.slice(given.prefix.length);
      if (given.completion.text.length > typed.length && given.completion.text.startsWith(typed)) {
        const rest = restOf(given.completion, typed.length);
        if (rest !== undefined) return rest;
      }
    }
    return undefined;
  }
}

/** Undefined where randomness or a time limit decides, or where more than the text is asked for. */
function decodingOf(request: GenerateRequest): string | undefined {
  const { temperature, deadlineMs, maxDenoisingMs, showCanvas, alternatives, logitBias, prefixTokens, reuse } = request;
  if (reuse !== true || temperature > 0 || deadlineMs !== undefined || maxDenoisingMs !== undefined) return undefined;
  if (showCanvas || alternatives || logitBias || prefixTokens) return undefined;
  const { prefix: _p, uncutPrefix: _u, suffix: _s, seed: _seed, topP: _topP, keepAlive: _k, ...decoding } = request;
  return JSON.stringify(Object.entries(decoding).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Undefined when too little is left. */
function restOf(completion: Completion, typed: number): Completion | undefined {
  const tokens: EmittedToken[] = [];
  let end = 0;
  for (const token of completion.tokens!) {
    end += token.text.length;
    // The typed text may end within a token.
    if (end > typed) tokens.push({ ...token, text: token.text.slice(-(end - typed)) });
  }
  if (completion.finishReason === 'length' && tokens.length < LEAST_REST_SHARE * completion.tokens!.length) {
    return undefined;
  }
  const { promptTokens, truncatedTokens } = completion.usage;
  return {
    text: completion.text.slice(typed),
    finishReason: completion.finishReason,
    ...(completion.ending && { ending: completion.ending }),
    confidence: tokens.reduce((sum, { logProbability }) => sum + logProbability, 0) / tokens.length,
    tokens,
    usage: {
      promptTokens,
      cachedTokens: promptTokens,
      truncatedTokens,
      completionTokens: tokens.length,
      steps: 0,
      slotEvaluations: 0,
      cpuMs: 0,
      queueMs: 0,
      prefillMs: 0,
    },
  };
}
