/** An engine for the page that says what a script says, step by step, and the service around it. */
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { createApp } from '../../src/app.ts';
import { gatewayOf } from '../../src/backend/gateway.ts';
import type { CanvasView, Completion, Engine, GenerateRequest, SlotView } from '../../src/engine/types.ts';
import { launch } from '../../support/chromium.ts';
import { catalogOf, scriptedEngine, usage } from '../support/scripted-engine.ts';
import { answerWith, builtAssets, ORIGIN, open, type Visit } from './visit.ts';

const token = (text: string, confidence: number, change?: SlotView['change']): SlotView => ({
  state: 'token',
  text,
  confidence,
  change,
});
const mask = (text: string, confidence: number): SlotView => ({ state: 'mask', text, confidence });
const dropped: SlotView = { state: 'dropped', text: '', confidence: 0, change: 'drop' };

/** Two tokens of noise and an end, then a wrong token that is put right. */
const STEPS: SlotView[][] = [
  [token('require', 0.9, 'reveal'), mask('(', 0.4), mask('', 0.1), mask('', 0.1)],
  [
    token('require', 0.9),
    token('[', 0.6, 'reveal'),
    { state: 'end', text: '', confidence: 0.8, change: 'reveal' },
    dropped,
  ],
  [
    token('require', 0.9),
    token('()', 0.95, 'edit'),
    { state: 'end', text: '', confidence: 0.8 },
    { ...dropped, change: undefined },
  ],
];

const LEFT_TO_RIGHT: SlotView[][] = [
  [token('req', 0.5, 'reveal'), mask('', 0), mask('', 0), mask('', 0)],
  [token('req', 0.5), token('uire', 0.9, 'reveal'), mask('', 0), mask('', 0)],
];

const view = (slots: SlotView[], index: number): CanvasView => ({
  step: index + 1,
  block: 0,
  cpuMs: 2 * (index + 1),
  slots,
});

/**
 * Says `require()`, with another seed `require(2)` and so on; autoregressively `require`. `ending` replaces what it
 * ends with.
 */
export function engine(ending: Partial<Completion> = {}): Engine & { requests: GenerateRequest[] } {
  const { model, vocabulary } = scriptedEngine();
  const requests: GenerateRequest[] = [];
  return {
    model,
    vocabulary,
    requests,
    async *generate(request, signal) {
      requests.push(request);
      const isDiffusion = request.decoding !== 'autoregressive';
      for (const [index, slots] of (isDiffusion ? STEPS : LEFT_TO_RIGHT).entries()) {
        signal.throwIfAborted();
        const text = slots.map((slot) => (slot.state === 'token' ? slot.text : '')).join('');
        yield { text, settled: '', ...(request.showCanvas && { canvas: view(slots, index) }) };
      }
      const last = isDiffusion ? `require(${request.seed > 1 ? request.seed : ''})` : 'require';
      return {
        text: last,
        finishReason: 'stop',
        confidence: Math.log(0.9),
        usage: { ...usage, cpuMs: 6, cachedTokens: 3, queueMs: 2 },
        ...(isDiffusion && ending),
      };
    },
  };
}

export const appOf = (...engines: Engine[]) =>
  createApp(catalogOf(...engines), gatewayOf([]), {}, { assets: builtAssets });

/** Opens pages in one browser, each in a context of its own, and fails a test at which a page complained. */
export function visits(path: string | undefined) {
  let browser: Browser;
  let visit: Visit | undefined;

  beforeAll(async () => {
    browser = await launch(path!);
  });
  afterAll(() => browser?.close());
  afterEach(async () => {
    await visit?.context.close();
    expect(visit?.complaints ?? []).toEqual([]);
    visit = undefined;
  });

  return {
    /** Opens the page in front of a service; by default one that says what the script says. */
    async visitor(
      app = appOf(engine()),
      options: Parameters<typeof open>[1] = {},
      before?: (path: string) => Promise<void>,
    ): Promise<Page> {
      visit = await open(browser, options);
      await answerWith(visit.page, app, before);
      await visit.page.goto(ORIGIN);
      return visit.page;
    },
  };
}
