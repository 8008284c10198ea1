/** The page against the whole service with a key: the bundled model, there and in the browser. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { newKey } from '../../src/middleware/api-keys.ts';
import { chromiumPath, explainSkip, launch } from '../../support/chromium.ts';
import { MODELS } from '../../support/models-folder.ts';
import { type Service, serve } from '../../support/serving.ts';
import { open, type Visit, write } from './visit.ts';

const path = chromiumPath();
if (path === undefined) explainSkip();

/** Loading the model on a machine that does other things as well. */
const LOAD_MS = 45_000;

const WEIGHTS = '**/models/nano/model.safetensors';

describe.skipIf(path === undefined)('the page in front of the service', () => {
  let browser: Browser;
  let service: Service;
  let key: string;
  let folder: string;
  let visit: Visit;

  beforeAll(async () => {
    const made = await newKey('visitor');
    key = made.key;
    folder = await mkdtemp(join(tmpdir(), 'quicksilver-browser-'));
    await writeFile(join(folder, 'key.env'), `API_KEYS=${made.line}\n`);
    [service, browser] = await Promise.all([serve(MODELS, ['--env-file', join(folder, 'key.env')]), launch(path!)]);
  });

  afterAll(async () => {
    await browser?.close();
    await service?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  afterEach(async () => {
    await visit.context.close();
    expect(visit.complaints).toEqual([]);
  });

  async function visitor(options: Parameters<typeof open>[1] = {}): Promise<Page> {
    visit = await open(browser, options);
    const { page, context } = visit;
    await context.addInitScript((secret) => {
      if (localStorage.length === 0) localStorage.setItem('quicksilver-playground', JSON.stringify({ key: secret }));
    }, key);
    await page.goto(service.url);
    await chip(page, 'nano');
    return page;
  }

  const chip = (page: Page, text: string) =>
    expect.poll(() => page.locator('#model-chip').textContent(), { timeout: LOAD_MS }).toBe(text);

  const move = (page: Page, place: 'service' | 'browser') =>
    page.locator(`input[name="place"][value="${place}"]`).check({ force: true });

  /** Races, and gives what both decoders said with every token that they decided on. */
  async function race(page: Page): Promise<string[]> {
    const asked = page.locator('.lane-counts').last();
    await page.locator('#race').click();
    await expect.poll(() => asked.textContent(), { timeout: LOAD_MS }).toContain('slot evaluations');
    const said = await page.locator('.lane').evaluateAll((lanes) =>
      lanes.map((lane) => {
        const slots = [...lane.querySelectorAll('.slot')].map((slot) => slot.getAttribute('aria-label'));
        return `${lane.querySelector('.lane-text')!.textContent} | ${slots.join(' ')}`;
      }),
    );
    expect(said[0]).not.toMatch(/^ \|/);
    return said;
  }

  /** Types something, so that the canvas is empty before the race. */
  async function clear(page: Page, text: string): Promise<void> {
    await write(page, text);
    await expect.poll(() => page.locator('.lane.is-empty').count(), { timeout: LOAD_MS }).toBe(1);
  }

  /** Copies are stored concurrently with the loading, and may follow it: three files and the manifest. */
  const allKept = (page: Page) =>
    expect
      .poll(() => page.evaluate(async () => (await (await caches.open('quicksilver-weights')).keys()).length))
      .toBe(4);

  it('should say in the browser what the service says, greedily and from a seed', async () => {
    const page = await visitor();
    const said: Record<string, string[][]> = { service: [], browser: [] };
    for (const place of ['service', 'browser'] as const) {
      await move(page, place);
      await chip(page, place === 'browser' ? 'nano · here' : 'nano');
      for (const temperature of ['0', '1']) {
        await page.locator('#temperature').fill(temperature);
        await page.locator('#seed').fill('7');
        await clear(page, 'const fs = ');
        said[place]!.push(await race(page));
      }
    }
    expect(said.browser).toEqual(said.service);
    const [greedy, drawn] = said.service!;
    expect(drawn).not.toEqual(greedy);
  });

  it('should show how far the weights are, keep them, and not ask for them again', async () => {
    const page = await visitor();
    const loading = page.locator('#loading');
    await page.route(WEIGHTS, async (route) => {
      await loading.waitFor({ state: 'visible' });
      expect(await page.locator('#loading-text').textContent()).toMatch(/Fetching the weights/);
      await route.continue();
    });
    await move(page, 'browser');
    await chip(page, 'nano · here');
    expect(await loading.isVisible()).toBe(false);
    expect(await page.locator('#loading-text').textContent()).toMatch(/: (\d+\.\d) of \1 MB$/);

    await page.unroute(WEIGHTS);
    await allKept(page);
    const asked: string[] = [];
    page.on('request', (request) => asked.push(new URL(request.url()).pathname));
    await page.reload();
    await chip(page, 'nano · here');
    expect(asked).toContain('/models/nano/manifest.json');
    expect(asked).not.toContain('/models/nano/model.safetensors');
  });

  it('should fetch weights again that are damaged where they are kept', async () => {
    const page = await visitor();
    await move(page, 'browser');
    await chip(page, 'nano · here');
    const damage = () =>
      page.evaluate(async () => {
        const cache = await caches.open('quicksilver-weights');
        let count = 0;
        for (const request of await cache.keys()) {
          if (!request.url.includes('/weights/')) continue;
          const bytes = new Uint8Array(await (await cache.match(request))!.arrayBuffer());
          bytes[bytes.length - 1]! ^= 1;
          await cache.put(request, new Response(bytes));
          count++;
        }
        return count;
      });
    await allKept(page);
    expect(await damage()).toBe(3);
    await page.reload();
    await chip(page, 'nano · here');
    expect(await page.locator('.problem').count()).toBe(0);
  });

  it('should say that weights which the service lacks are missing', async () => {
    const page = await visitor();
    await page.route('**/models/nano/**', (route) =>
      route.fulfill({
        status: 503,
        json: {
          error: {
            message: "The model 'nano' is not available: missing model.safetensors.",
            code: 'model_unavailable',
          },
        },
      }),
    );
    await move(page, 'browser');
    const problem = page.locator('.problem');
    await expect.poll(() => problem.textContent()).toContain('missing model.safetensors');
    await page.unroute('**/models/nano/**');
    await problem.locator('[data-remedy="retry"]').click();
    await chip(page, 'nano · here');
    expect(await problem.count()).toBe(0);
  });

  it('should work without a network once the model is in the browser', async () => {
    const page = await visitor({ serviceWorkers: 'allow' });
    await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
    await move(page, 'browser');
    await chip(page, 'nano · here');
    await clear(page, 'const fs = ');
    const before = await race(page);
    await allKept(page);
    await visit.context.setOffline(true);
    await page.reload();
    await chip(page, 'nano · here');
    await clear(page, 'const fs = ');
    expect(await race(page)).toEqual(before);
  });
});
