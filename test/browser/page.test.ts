/** The page against a service that says what a script says. */

import axe from 'axe-core';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApp } from '../../src/app.ts';
import { gatewayOf } from '../../src/backend/gateway.ts';
import { ModelCatalog } from '../../src/engine/catalog.ts';
import { ModelUnavailable } from '../../src/engine/provider.ts';
import type { CanvasView, Engine, GenerateRequest, SlotView } from '../../src/engine/types.ts';
import { chromiumPath, explainSkip, launch } from '../../support/chromium.ts';
import { keysOf } from '../middleware/support.ts';
import { catalogOf, scriptedEngine, unavailableModel, usage } from '../support/scripted-engine.ts';
import { answerWith, builtAssets, code, ghost, ORIGIN, open, type Visit, write, written } from './visit.ts';

const path = chromiumPath();
if (path === undefined) explainSkip();

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

/** Says `require()`, with another seed `require(2)` and so on; autoregressively `require`. */
function engine(): Engine & { requests: GenerateRequest[] } {
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
        usage: { ...usage, cpuMs: 6, cachedTokens: 3 },
      };
    },
  };
}

describe.skipIf(path === undefined)('the page', () => {
  let browser: Browser;
  let visit: Visit;

  beforeAll(async () => {
    browser = await launch(path!);
  });
  afterAll(() => browser?.close());

  /** Opens the page in front of a service; by default one that says what the script says. */
  async function visitor(
    app = appOf(engine()),
    options: Parameters<typeof open>[1] = {},
    before?: (path: string) => Promise<void>,
  ) {
    visit = await open(browser, options);
    await answerWith(visit.page, app, before);
    await visit.page.goto(ORIGIN);
    return visit.page;
  }

  const appOf = (made: Engine) => createApp(catalogOf(made), gatewayOf([]), {}, { assets: builtAssets });
  const problem = () => visit.page.locator('.problem');

  /** To be called at the end of each test, so that no complaint goes unnoticed. */
  async function leave() {
    const { complaints, context } = visit;
    await context.close();
    expect(complaints).toEqual([]);
  }

  it('should show ghost text for what is typed, and write it at Tab', async () => {
    const made = engine();
    const page = await visitor(appOf(made));
    await write(page, 'const fs = ');
    await ghost(page).waitFor();
    expect(await ghost(page).textContent()).toBe('require()');
    expect(await written(page)).toBe('const fs = ');
    expect(made.requests.at(-1)).toMatchObject({ prefix: 'const fs = ', suffix: '', showCanvas: true, maxTokens: 32 });
    await page.keyboard.press('Tab');
    expect(await written(page)).toBe('const fs = require()');
    await leave();
  });

  it('should show other candidates at Alt-] and Alt-[, and dismiss at Escape', async () => {
    const page = await visitor();
    await write(page, 'x = ');
    await ghost(page).waitFor();
    const shows = async (text: string) =>
      page.waitForFunction((wanted) => {
        const root = document.querySelector('#editor')!.shadowRoot!;
        return root.querySelector('.cm-ghost')?.textContent === wanted;
      }, text);
    await page.keyboard.press('Alt+]');
    await shows('require(2)');
    expect(await page.locator('#status').textContent()).toContain('Candidate 2 of 2');
    await page.keyboard.press('Alt+]');
    await shows('require(3)');
    await page.keyboard.press('Alt+[');
    await shows('require(2)');
    await page.keyboard.press('Escape');
    expect(await ghost(page).count()).toBe(0);
    expect(await written(page)).toBe('x = ');
    await leave();
  });

  it('should keep what is left of the ghost text while it is typed', async () => {
    const page = await visitor();
    await write(page, 'x = ');
    await ghost(page).waitFor();
    await page.keyboard.type('req');
    expect(await ghost(page).textContent()).toBe('uire()');
    await leave();
  });

  it('should ask once for several keys, and cancel the open request at the next', async () => {
    const made = engine();
    const gate = Promise.withResolvers<void>();
    let held = true;
    const page = await visitor(appOf(made), {}, async (asked) => {
      if (asked === '/v1/completions' && held) await gate.promise;
    });
    await write(page, 'first');
    await page.waitForRequest((request) => request.url().endsWith('/v1/completions'));
    const given = page.waitForEvent('requestfailed');
    // The page's clock is stopped while the keys are pressed: on a busy machine they would be further apart than the
    // pause.
    await page.clock.install();
    await page.clock.pauseAt(Date.now() + 1000);
    await page.keyboard.type(' second');
    await given;
    await page.clock.resume();
    held = false;
    gate.resolve();
    await ghost(page).waitFor();
    expect(made.requests.at(-1)!.prefix).toBe('first second');
    expect(made.requests.filter(({ prefix }) => prefix.startsWith('first ')).map(({ prefix }) => prefix)).toEqual([
      'first second',
    ]);
    await leave();
  });

  it('should leave the editor at Tab when there is nothing to accept', async () => {
    const page = await visitor();
    await write(page, 'x');
    await ghost(page).waitFor();
    await page.keyboard.press('Escape');
    await page.keyboard.press('Tab');
    expect(await code(page).evaluate((content) => content.matches(':focus'))).toBe(false);
    await leave();
  });

  it('should show what a completion cost', async () => {
    const page = await visitor();
    await write(page, 'x = ');
    await ghost(page).waitFor();
    const metric = (name: string) => page.locator(`[data-metric="${name}"] dd`).textContent();
    expect(await metric('CPU')).toBe('6.0 ms');
    expect(await metric('Steps')).toBe('2');
    expect(await metric('Slot evaluations')).toBe('64');
    expect(await metric('Cached')).toBe('3 / 5');
    expect(await metric('Confidence')).toBe('90 %');
    expect(await metric('Total')).toMatch(/ms$/);
    await leave();
  });

  it('should show a race step by step under the scrubber', async () => {
    const made = engine();
    const page = await visitor(appOf(made));
    await write(page, 'x = ');
    await ghost(page).waitFor();
    await page.locator('#race').click();
    await expect.poll(() => made.requests.at(-1)?.decoding).toBe('autoregressive');
    const lane = (name: string) => page.locator(`.lane[aria-label="${name}"]`);
    await lane('Autoregressive').locator('.slot').first().waitFor();
    expect(made.requests.at(-1)).toMatchObject({ decoding: 'autoregressive', suffix: '', prefix: 'x = ' });
    const scrubber = page.locator('#scrubber');
    const states = (name: string) =>
      lane(name)
        .locator('.slot')
        .evaluateAll((slots) =>
          slots.map((slot) => (slot as HTMLElement).dataset.change ?? (slot as HTMLElement).dataset.state),
        );
    const scrubTo = async (step: number) => {
      await scrubber.fill(String(step));
      expect(await scrubber.getAttribute('aria-valuetext')).toContain(`pass ${step} of 3`);
    };
    await scrubTo(0);
    expect(await states('Diffusion')).toEqual(['mask', 'mask', 'mask', 'mask']);
    await scrubTo(1);
    expect(await states('Diffusion')).toEqual(['reveal', 'mask', 'mask', 'mask']);
    expect(await states('Autoregressive')).toEqual(['reveal', 'mask', 'mask', 'mask']);
    await scrubTo(2);
    expect(await states('Diffusion')).toEqual(['token', 'reveal', 'reveal', 'drop']);
    expect(await lane('Diffusion').locator('.lane-text').textContent()).toBe('require[');
    expect(await lane('Diffusion').locator('.lane-clock').textContent()).toBe('4.0 ms');
    await scrubTo(3);
    expect(await states('Diffusion')).toEqual(['token', 'edit', 'end', 'dropped']);
    expect(await states('Autoregressive')).toEqual(['token', 'reveal', 'mask', 'mask']);
    expect(await lane('Diffusion').locator('.slot').nth(1).getAttribute('aria-label')).toBe(
      '2: "()" (95 %), edited in this step',
    );
    await page.locator('#clock').selectOption('cpu');
    expect(await page.locator('#scrubber-text').textContent()).toBe('6.0 of 6.0 ms');
    await leave();
  });

  it('should race again when a control moved just before settles, and ask for no completion in its place', async () => {
    let answers = Promise.resolve();
    const page = await visitor(appOf(engine()), {}, () => answers);
    await write(page, 'x = ');
    await ghost(page).waitFor();
    let release = () => {};
    answers = new Promise((resolve) => {
      release = resolve;
    });
    const bodies: { editor?: boolean; temperature: number }[] = [];
    page.on('request', (request) => bodies.push(request.postDataJSON()));
    await page.evaluate(() => {
      const temperature = document.querySelector<HTMLInputElement>('#temperature')!;
      temperature.value = '0.5';
      temperature.dispatchEvent(new InputEvent('input', { bubbles: true }));
      document.querySelector<HTMLButtonElement>('#race')!.click();
    });
    // Long enough for the control to settle while the race waits for its answers, and for a key stroke to be answered.
    await page.waitForTimeout(800);
    release();
    await expect.poll(() => page.locator('.lane.is-empty').count()).toBe(0);
    expect(bodies.length).toBeGreaterThan(1);
    expect(bodies.filter(({ editor, temperature }) => editor || temperature !== 0.5)).toEqual([]);
    await leave();
  });

  it('should ask as its controls say, and again when they change', async () => {
    const made = engine();
    const page = await visitor(appOf(made));
    await write(page, 'x = ');
    await ghost(page).waitFor();
    const before = made.requests.length;
    await page.locator('#revealThreshold').fill('0.9');
    await page.locator('#editThreshold').fill('1');
    await page.locator('#temperature').fill('0.5');
    await page.locator('#maxSteps').fill('3');
    await page.locator('#maxTokens').fill('8');
    await page.locator('#seed').fill('7');
    await page.locator('#canvas-width').selectOption('8');
    await expect.poll(() => made.requests.length).toBeGreaterThan(before);
    await expect
      .poll(() => made.requests.at(-1))
      .toMatchObject({
        ...{
          revealThreshold: 0.9,
          editThreshold: 1,
          temperature: 0.5,
          maxSteps: 3,
          maxTokens: 8,
          seed: 7,
          canvasWidth: 8,
        },
      });
    await leave();
  });

  it('should write the request as programs send it, without the key, and copy it', async () => {
    const page = await visitor(undefined, { permissions: ['clipboard-read', 'clipboard-write'] });
    await write(page, "it's");
    await ghost(page).waitFor();
    const snippet = page.locator('#snippet');
    expect(await snippet.textContent()).toContain(`curl ${ORIGIN}/v1/completions`);
    expect(await snippet.textContent()).toContain("it'\\''s");
    await page.locator('#tab-typescript').click();
    expect(await snippet.textContent()).toContain("import OpenAI from 'openai';");
    await page.keyboard.press('ArrowRight');
    expect(await snippet.textContent()).toContain('client.completions.create(');
    await page.locator('#copy').click();
    await expect.poll(() => page.evaluate(() => navigator.clipboard.readText())).toBe(await snippet.textContent());
    await leave();
  });

  it('should answer with the selected model, also on the next visit, and show the download size for the browser', async () => {
    const named = (id: string, size: number) => {
      const made = engine();
      Object.assign(made.model, { id, stored: { size, digest: 'ab'.repeat(32), languages: [] } });
      return made;
    };
    const [large, little] = [named('large', 52_000_000), named('little', 3_840_974)];
    const page = await visitor(createApp(catalogOf(large, little), gatewayOf([]), {}, { assets: builtAssets }));
    await ghost(page).waitFor();
    const model = page.locator('#model');
    expect(await model.locator('option').allTextContents()).toEqual(['large', 'little']);
    expect(little.requests).toEqual([]);
    await model.selectOption('little');
    await expect.poll(() => little.requests.length).toBeGreaterThan(0);
    await expect.poll(() => page.locator('#snippet').textContent()).toContain('"model": "little"');
    const before = large.requests.length;
    await page.reload();
    await ghost(page).waitFor();
    expect(await model.inputValue()).toBe('little');
    expect(large.requests).toHaveLength(before);
    await page.locator('input[value="browser"]').check({ force: true });
    await expect.poll(() => model.locator('option').allTextContents()).toEqual(['large · 52.0 MB', 'little · 3.8 MB']);
    await leave();
  });

  it('should offer no choice with one model', async () => {
    const page = await visitor();
    await ghost(page).waitFor();
    expect(await page.locator('#model').isVisible()).toBe(false);
    expect(await page.locator('#model-chip').isVisible()).toBe(true);
    await leave();
  });

  it('should say that a key is needed or was refused, and keep the right one only in local storage', async () => {
    const { keys, texts } = await keysOf('laptop');
    const key = texts[0]!;
    const page = await visitor(createApp(catalogOf(engine()), gatewayOf([]), { keys }, { assets: builtAssets }));
    await problem().waitFor();
    expect(await problem().textContent()).toContain('A key is needed');
    const enter = async (entered: string) => {
      await page.locator('#open-settings').click();
      await page.locator('#api-key').fill(entered);
      await page.locator('#save-settings').click();
    };
    await enter('qs_wrong');
    await expect.poll(() => problem().textContent()).toContain('The key was refused');
    await enter(key);
    await ghost(page).waitFor();
    expect(await problem().count()).toBe(0);
    expect(await page.evaluate(() => JSON.stringify({ ...localStorage }))).toContain(key);
    expect(await page.evaluate(() => document.cookie)).toBe('');
    await page.locator('#tab-curl').click();
    expect(await page.locator('#snippet').textContent()).toContain('$QUICKSILVER_API_KEY');
    expect(await page.content()).not.toContain(key);
    await leave();
  });

  it('should say that the service is down, and go on when it is back', async () => {
    let down = false;
    const page = await visitor(undefined, {}, async (asked) => {
      if (down && asked.startsWith('/v1/')) throw new Error('down');
    });
    // The race that the page begins with is over, and one change makes one request: nothing comes later than expected.
    await page.locator('.lane').last().locator('.slot').first().waitFor();
    down = true;
    await code(page).focus();
    await page.keyboard.insertText('x');
    await problem().waitFor();
    expect(await problem().textContent()).toContain('The service cannot be reached');
    expect(await problem().textContent()).toContain(ORIGIN);
    down = false;
    await problem().locator('[data-remedy="retry"]').click();
    await ghost(page).waitFor();
    expect(await problem().count()).toBe(0);
    await leave();
  });

  it('should say which weights are missing, on the service and here', async () => {
    const unavailable = new ModelUnavailable('nano', 'missing', ['model.safetensors'], {});
    const model = { ...unavailableModel('nano', unavailable), info: async () => engine().model };
    const models = new ModelCatalog([model]);
    const missing = new Map([['nano', { size: async () => null, open: async () => null }]]);
    const page = await visitor(createApp(models, gatewayOf([]), {}, { assets: builtAssets, weights: missing }));
    await problem().waitFor();
    expect(await problem().textContent()).toContain('The weights cannot be used');
    expect(await problem().textContent()).toContain('model.safetensors');
    await page.locator('input[value="browser"]').check({ force: true });
    await expect.poll(() => problem().textContent()).toContain('missing manifest.json');
    await leave();
  });

  it('should say that it is the network when an answer is slow', async () => {
    let slow = false;
    const page = await visitor(undefined, {}, async (asked) => {
      if (slow && asked === '/v1/completions') await new Promise((resolve) => setTimeout(resolve, 4500));
    });
    await ghost(page).waitFor();
    slow = true;
    await write(page, 'x');
    await expect.poll(() => page.locator('#status').textContent(), { timeout: 10_000 }).toContain('Still waiting');
    await ghost(page).waitFor();
    await leave();
  });

  it('should refuse an address to which a key would travel in the clear', async () => {
    const page = await visitor();
    await page.locator('#open-settings').click();
    await page.locator('#base-url').fill('http://service.example');
    await page.locator('#save-settings').click();
    expect(await page.locator('#settings-error').textContent()).toContain('Use https');
    expect(await page.locator('#settings').isVisible()).toBe(true);
    await leave();
  });

  it.each([
    ['dark', 1280],
    ['light', 1280],
    ['dark', 390],
  ] as const)('should be usable by everybody, %s at %i pixels, and fit the screen', async (colorScheme, width) => {
    const page = await visitor(undefined, {
      colorScheme,
      viewport: { width, height: 844 },
      hasTouch: width < 500,
      isMobile: width < 500,
    });
    await ghost(page).waitFor();
    await page.locator('#race').click();
    await page.locator('.lane[aria-label="Autoregressive"] .slot').first().waitFor();
    const { violations } = await violationsOf(page);
    expect(
      violations.map(({ id, nodes }) => [id, nodes.map(({ target, failureSummary }) => [target, failureSummary])]),
    ).toEqual([]);
    const [content, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
    expect(content).toBeLessThanOrEqual(screen!);
    await page.locator('#open-settings').click();
    expect((await violationsOf(page)).violations.map(({ id }) => id)).toEqual([]);
    await leave();
  });

  async function violationsOf(page: Visit['page']) {
    await page.evaluate(axe.source);
    return page.evaluate(() => (window as unknown as { axe: typeof axe }).axe.run());
  }
});
