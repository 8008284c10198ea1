/** 100,000 unusual requests to the handlers, inside the Workers runtime; only the engine is a test double. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createApp } from '../../src/app.ts';
import { gatewayOf } from '../../src/backend/gateway.ts';
import type { GenerateRequest } from '../../src/engine/types.ts';
import { echoEngine } from '../support/echo-engine.ts';
import { PATHS, requestTo } from '../support/fuzz-requests.ts';
import { letters } from '../support/letters.ts';
import { catalogOf } from '../support/scripted-engine.ts';
import { expectWellFormed } from '../support/well-formed.ts';

const REQUESTS = 100_000;

/** The same requests each time; a failure names the request, made as small as it can be. */
const SEED = 20_261_124;

/** An answer takes less than a millisecond; one that hangs becomes a 504, which fails. */
const HANG_MS = 5_000;

/** For a machine that does much else; what hangs is found by the limit above. */
const TEST_TIMEOUT_MS = 600_000;

/** What the engine relies on: see GenerateRequest. */
function checkRequest(request: GenerateRequest): void {
  const { maxTokens, temperature, topP, seed, stop, maxSteps = 1, revealThreshold = 1, deadlineMs = 1 } = request;
  const { maxDenoisingMs = 1, logitBias = new Map(), prefixTokens = [] } = request;
  const sound =
    Number.isSafeInteger(maxTokens) &&
    maxTokens >= 0 &&
    maxTokens <= 256 &&
    temperature >= 0 &&
    Number.isFinite(temperature) &&
    topP > 0 &&
    topP <= 1 &&
    seed === seed >>> 0 &&
    stop.every((text) => typeof text === 'string' && text !== '') &&
    Number.isSafeInteger(maxSteps) &&
    maxSteps > 0 &&
    revealThreshold > 0 &&
    revealThreshold <= 1 &&
    deadlineMs >= 0 &&
    maxDenoisingMs > 0 &&
    [...logitBias].every(([id, bias]) => (letters.isText(id) || letters.isEnd(id)) && Math.abs(bias) <= 100) &&
    prefixTokens.every(letters.isText);
  if (!sound) throw new Error(`the engine was asked for ${JSON.stringify(request)}`);
}

describe('handlers', () => {
  const app = createApp(catalogOf(echoEngine(checkRequest)), gatewayOf([]), { timeLimitMs: HANG_MS });

  it('should take bodies on the paths that are fuzzed, and on no others', () => {
    const routes = app.routes.filter(({ method, path }) => method === 'POST' && path !== '/*');
    expect([...PATHS].sort()).toEqual([...new Set(routes.map(({ path }) => path))].sort());
  });

  it.each(PATHS)(
    'should answer any body to %s, in the format of its dialect',
    async (path) => {
      const property = fc.asyncProperty(requestTo(path), async ({ path, headers, body }) => {
        await expectWellFormed(path, await app.request(path, { method: 'POST', headers, body }));
      });
      await fc.assert(property, { numRuns: Math.ceil(REQUESTS / PATHS.length), seed: SEED });
    },
    TEST_TIMEOUT_MS,
  );
});
