/** The page in front of a service that says what a script says. */
import axe from 'axe-core';
import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { createApp } from '../../src/app.ts';
import { gatewayOf } from '../../src/backend/gateway.ts';
import { ModelCatalog } from '../../src/engine/catalog.ts';
import { ModelUnavailable } from '../../src/engine/provider.ts';
import { chromiumPath, explainSkip } from '../../support/chromium.ts';
import { keysOf } from '../middleware/support.ts';
import { catalogOf, unavailableModel } from '../support/scripted-engine.ts';
import { appOf, engine, visits } from './scripted.ts';
import { builtAssets, code, figuresOf, ghost, ORIGIN, write } from './visit.ts';

const path = chromiumPath();
if (path === undefined) explainSkip();

describe.skipIf(path === undefined)('the page', () => {
  const { visitor } = visits(path);
  const problem = (page: Page) => page.locator('.problem');

  it('should show what a completion cost', async () => {
    const page = await visitor();
    await write(page, 'x = ');
    await ghost(page).waitFor();
    const figures = await figuresOf(page);
    expect(figures).toMatchObject({ CPU: '6.0 ms', Queue: '2.0 ms', Steps: '2', Slots: '64' });
    expect(figures).toMatchObject({ Cached: '3 / 5', Sure: '90 %' });
    const [total, transfer, pause] = ['Total', 'Transfer', 'Pause'].map((name) => Number.parseFloat(figures[name]!));
    expect(Math.abs(total! - 6 - 2 - transfer!)).toBeLessThanOrEqual(1);
    expect(pause).toBeGreaterThan(0);
  });

  it('should clear the figures of an editor that is emptied', async () => {
    const page = await visitor();
    await write(page, 'x = ');
    await ghost(page).waitFor();
    await page.keyboard.press('ControlOrMeta+a');
    await page.keyboard.press('Delete');
    await expect.poll(async () => new Set(Object.values(await figuresOf(page)))).toEqual(new Set(['–']));
    expect(await ghost(page).count()).toBe(0);
    expect(await page.locator('#status').textContent()).toBe('Nothing is written here.');
  });

  it.each([
    ['nothing to add', { ending: { by: 'end' }, text: '' }, 'Nothing to add here.'],
    ['not being sure', { confidence: Math.log(0.0001) }, 'Not sure enough to show anything (under 1\u00a0%).'],
  ] as const)('should call %s by its name', async (_, ending, status) => {
    const page = await visitor(appOf(engine(ending)));
    await write(page, 'x = ');
    await expect.poll(() => page.locator('#status').textContent()).toBe(status);
    expect(await ghost(page).count()).toBe(0);
  });

  it('should ask as its controls say, and again when they change', async () => {
    const made = engine();
    const page = await visitor(appOf(made));
    await write(page, 'x = ');
    await ghost(page).waitFor();
    const before = made.requests.length;
    await page.locator('#decoding-panel summary').click();
    await page.locator('#revealThreshold').fill('0.9');
    await page.locator('#editThreshold').fill('1');
    await page.locator('#temperature').fill('0.5');
    await page.locator('#maxSteps').fill('3');
    await page.locator('#maxTokens').fill('8');
    await page.locator('#seed').fill('7');
    await page.locator('#canvas-width').selectOption('8');
    await expect.poll(() => made.requests.length).toBeGreaterThan(before);
    await expect
      .poll(() => made.requests.findLast(({ showCanvas }) => !showCanvas))
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
    // The stage shows the model with the widest canvases, which is another matter.
    const answered = ({ requests }: typeof little) => requests.filter(({ showCanvas }) => !showCanvas).length;
    expect(answered(little)).toBe(0);
    await model.selectOption('little');
    await expect.poll(() => answered(little)).toBeGreaterThan(0);
    await expect.poll(() => page.locator('#snippet').textContent()).toContain('"model": "little"');
    const before = answered(large);
    await page.reload();
    await ghost(page).waitFor();
    expect(await model.inputValue()).toBe('little');
    expect(answered(large)).toBe(before);
    await page.locator('input[value="browser"]').check({ force: true });
    await expect.poll(() => model.locator('option').allTextContents()).toEqual(['large · 52.0 MB', 'little · 3.8 MB']);
  });

  it('should offer no choice with one model', async () => {
    const page = await visitor();
    await ghost(page).waitFor();
    expect(await page.locator('#model').isVisible()).toBe(false);
    expect(await page.locator('#model-chip').isVisible()).toBe(true);
  });

  it('should say that a key is needed or was refused, and keep the right one only in local storage', async () => {
    const { keys, texts } = await keysOf('laptop');
    const key = texts[0]!;
    const page = await visitor(createApp(catalogOf(engine()), gatewayOf([]), { keys }, { assets: builtAssets }));
    await problem(page).waitFor();
    expect(await problem(page).textContent()).toContain('A key is needed');
    const enter = async (entered: string) => {
      await page.locator('#open-settings').click();
      await page.locator('#api-key').fill(entered);
      await page.locator('#save-settings').click();
    };
    await enter('qs_wrong');
    await expect.poll(() => problem(page).textContent()).toContain('The key was refused');
    await enter(key);
    await ghost(page).waitFor();
    expect(await problem(page).count()).toBe(0);
    expect(await page.evaluate(() => JSON.stringify({ ...localStorage }))).toContain(key);
    expect(await page.evaluate(() => document.cookie)).toBe('');
    await page.locator('#tab-curl').click();
    expect(await page.locator('#snippet').textContent()).toContain('$QUICKSILVER_API_KEY');
    expect(await page.content()).not.toContain(key);
  });

  it('should say that the service is down, and go on when it is back', async () => {
    let down = false;
    const page = await visitor(undefined, {}, async (asked) => {
      if (down && asked.startsWith('/v1/')) throw new Error('down');
    });
    // What the page begins with is over, and one change makes one request: nothing comes later than expected.
    await ghost(page).waitFor();
    down = true;
    await code(page).focus();
    await page.keyboard.insertText('x');
    await problem(page).waitFor();
    expect(await problem(page).textContent()).toContain('The service cannot be reached');
    expect(await problem(page).textContent()).toContain(ORIGIN);
    down = false;
    await problem(page).locator('[data-remedy="retry"]').click();
    await ghost(page).waitFor();
    expect(await problem(page).count()).toBe(0);
  });

  it('should say which weights are missing, on the service and here', async () => {
    const unavailable = new ModelUnavailable('nano', 'missing', ['model.safetensors'], {});
    const model = { ...unavailableModel('nano', unavailable), info: async () => engine().model };
    const models = new ModelCatalog([model]);
    const missing = new Map([['nano', { size: async () => null, open: async () => null }]]);
    const page = await visitor(createApp(models, gatewayOf([]), {}, { assets: builtAssets, weights: missing }));
    await problem(page).waitFor();
    expect(await problem(page).textContent()).toContain('The weights cannot be used');
    expect(await problem(page).textContent()).toContain('model.safetensors');
    await page.locator('input[value="browser"]').check({ force: true });
    await expect.poll(() => problem(page).textContent()).toContain('missing manifest.json');
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
  });

  it('should refuse an address to which a key would travel in the clear', async () => {
    const page = await visitor();
    await page.locator('#open-settings').click();
    await page.locator('#base-url').fill('http://service.example');
    await page.locator('#save-settings').click();
    expect(await page.locator('#settings-error').textContent()).toContain('Use https');
    expect(await page.locator('#settings').isVisible()).toBe(true);
  });

  it.each([
    ['dark', 1280],
    ['light', 1280],
    ['dark', 390],
    ['light', 390],
  ] as const)('should be usable by everybody, %s at %i pixels, and fit the screen', async (colorScheme, width) => {
    const page = await visitor(undefined, {
      colorScheme,
      viewport: { width, height: 844 },
      hasTouch: width < 500,
      isMobile: width < 500,
    });
    await ghost(page).waitFor();
    await page.locator('#decoding-panel summary').click();
    const { violations } = await violationsOf(page);
    expect(
      violations.map(({ id, nodes }) => [id, nodes.map(({ target, failureSummary }) => [target, failureSummary])]),
    ).toEqual([]);
    const [content, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
    expect(content).toBeLessThanOrEqual(screen!);
    await page.locator('#open-settings').click();
    expect((await violationsOf(page)).violations.map(({ id }) => id)).toEqual([]);
  });

  async function violationsOf(page: Page) {
    await page.evaluate(axe.source);
    return page.evaluate(() => (window as unknown as { axe: typeof axe }).axe.run());
  }
});
